"""What all pictures of one codec and quality have in common, taken off each and put back before it is decoded.

A JPEG picture carries 625 bytes of tables and headers, a quarter of a picture of 64 pixels (JPEG part 1, B.5, and RFC
2435 share them likewise); a WebP picture 27, an AVIF picture 274. A memory holds them once, and counts them once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


class StrangePictureError(RuntimeError):
    """A library wrote another header than for its other pictures: without it the part could not be read again."""


@dataclass(frozen=True, kw_only=True)
class Container:
    """front: the bytes before the content, as one picture has them. end: those after it. order: of their numbers.

    height, width: places in the front and bytes of these numbers. lengths: places of four bytes each, which hold the
    content's length plus so many. own: places of bytes that each part keeps. even: a content of odd length is followed
    by a zero, which the lengths after the first one count.
    """

    front: bytes
    height: tuple[int, int]
    width: tuple[int, int]
    order: Literal["big", "little"]
    lengths: tuple[tuple[int, int], ...] = ()
    own: tuple[int, ...] = ()
    end: bytes = b""
    even: bool = False

    @property
    def shared(self) -> bytes:
        """What a memory holds once."""
        front = self._front(0, 0, bytes(len(self.own)), 0)
        return bytes(byte for place, byte in enumerate(front) if place not in self.own) + self.end

    def stripped(self, picture: bytes, height: int, width: int) -> bytes:
        """The part's own bytes; raises StrangePictureError where the rest is not what all have in common."""
        after = len(picture) - len(self.end)
        if self.lengths:
            place, more = self.lengths[0]
            after = len(self.front) + int.from_bytes(picture[place : place + 4], self.order) - more
        own = bytes(picture[place] for place in self.own)
        part = own + picture[len(self.front) : after]
        front = self._front(height, width, own, len(part) - len(own))
        if not (picture.startswith(front) and picture.endswith(self.end)):
            raise StrangePictureError(
                f"a picture of {height} x {width} pixels has another header than the codec's other pictures"
            )
        return part

    def restored(self, part: bytes, height: int, width: int) -> bytes:
        """The picture that `stripped` was given."""
        kept = len(self.own)
        length = len(part) - kept
        padding = bytes(length % 2 if self.even else 0)
        return self._front(height, width, part[:kept], length) + part[kept:] + padding + self.end

    def _front(self, height: int, width: int, own: bytes, length: int) -> bytes:
        front = bytearray(self.front)
        for (place, size), value in ((self.height, height), (self.width, width)):
            front[place : place + size] = value.to_bytes(size, self.order)
        for count, (place, more) in enumerate(self.lengths):
            padding = length % 2 if self.even and count else 0
            front[place : place + 4] = (length + more + padding).to_bytes(4, self.order)
        for place, value in zip(self.own, own, strict=False):
            front[place] = value
        return bytes(front)


def container(name: str, picture: bytes) -> Container:
    """That of codec "jpeg", "webp" or "avif", from any of its pictures; StrangePictureError for another layout."""
    found = {"jpeg": _jpeg, "webp": _webp, "avif": _avif}[name](picture)
    if len(found.front) > len(picture):
        raise StrangePictureError(f"a {name} picture of {len(picture)} bytes has another layout than is known")
    return found


def _jpeg(picture: bytes) -> Container:
    """Segments up to the start of the scan; sizes stand in the frame's header (ITU-T T.81, B.2.2)."""
    place = frame = 2
    while picture[place : place + 2] != b"\xff\xda":
        if picture[place : place + 2] == b"\xff\xc0":
            frame = place
        place += 2 + int.from_bytes(picture[place + 2 : place + 4], "big")
        if place >= len(picture) or picture[place] != 0xFF:
            raise StrangePictureError("a jpeg picture has no scan")
    start = place + 2 + int.from_bytes(picture[place + 2 : place + 4], "big")
    return Container(front=picture[:start], height=(frame + 5, 2), width=(frame + 7, 2), order="big", end=picture[-2:])


def _webp(picture: bytes) -> Container:
    """RIFF, one lossy chunk, its start code and sizes (RFC 6386, 9.1); the frame's tag is the part's own."""
    if picture[:4] + picture[8:16] != b"RIFFWEBPVP8 ":
        raise StrangePictureError("a webp picture is not one lossy chunk")
    return Container(
        front=picture[:30], height=(28, 2), width=(26, 2), order="little", lengths=((16, 10), (4, 22)),
        own=(20, 21, 22), even=True,
    )  # fmt: skip


def _avif(picture: bytes) -> Container:
    """Boxes up to the media data; the level of the AV1 stream, which follows from its size, is the part's own."""
    data, sizes, place, level = (picture.find(name) for name in (b"mdat", b"ispe", b"iloc", b"av1C"))
    if min(data, sizes, place, level) < 0:
        raise StrangePictureError("an avif picture lacks a box")
    return Container(
        front=picture[: data + 4], height=(sizes + 12, 4), width=(sizes + 8, 4), order="big",
        lengths=((place + 22, 0), (data - 4, 8)), own=(level + 5,),
    )  # fmt: skip
