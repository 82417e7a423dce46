"""One stored exemplar as bytes: a header, the pixels of the box, and the small image; and back.

Layout (little endian): image height, width, small height, small width, box x0, y0, x1, y1 (uint16 each), label, bytes
of the crop, bytes of the small image (uint32 each), then crop and small image, as uint8 RGB rows ("raw") or JPEG.
A box over the whole image needs no small image, an empty box no crop: absent parts take no bytes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_jpeg, encode_jpeg

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.resampling import resized_nearest, small_side

_HEADER = struct.Struct("<8H3I")
HEADER_BYTES = _HEADER.size


@dataclass(frozen=True, kw_only=True)
class Codec:
    """How parts become bytes: name "raw" (uint8 pixels, exact) or "jpeg" at a quality of 1 to 100."""

    name: str = "raw"
    quality: int = 90

    def encode(self, part: Tensor) -> Tensor:
        """(3, h, w) uint8 -> (n,) uint8; an empty part gives no bytes."""
        if part.numel() == 0:
            return torch.empty(0, dtype=torch.uint8)
        if self.name == "raw":
            return part.permute(1, 2, 0).reshape(-1)
        encoded: Tensor = encode_jpeg(part.contiguous(), self.quality)
        return encoded

    def decode(self, content: Tensor, height: int, width: int) -> Tensor:
        """(n,) uint8 -> (3, height, width) uint8."""
        if self.name == "raw":
            return content.view(height, width, 3).permute(2, 0, 1)
        decoded: Tensor = decode_jpeg(content.contiguous(), mode=ImageReadMode.RGB)
        return decoded


class Header(NamedTuple):
    """The side information in front of the parts."""

    height: int
    width: int
    small_height: int
    small_width: int
    x0: int
    y0: int
    x1: int
    y1: int
    label: int
    crop_bytes: int
    small_bytes: int

    @property
    def length(self) -> int:
        """Bytes of the exemplar, header included."""
        return HEADER_BYTES + self.crop_bytes + self.small_bytes


def encode_exemplar(image: Tensor, box: Tensor, label: int, ratio: float, codec: Codec) -> Tensor:
    """Image (3, H, W) uint8 with box (4,) XYXY -> (n,) uint8 bytes that `decode_exemplar` reads alone."""
    height, width = image.shape[-2:]
    if max(height, width) > 0xFFFF:
        raise InputError(f"image of {height} x {width} pixels: an exemplar's side is at most 65535; reduce it first")
    x0, y0, x1, y1 = (int(corner) for corner in box)
    if not (0 <= x0 <= x1 <= width and 0 <= y0 <= y1 <= height):
        raise InputError(
            f"box {x0, y0, x1, y1} does not lie in the image of {width} x {height} pixels; give XYXY in it"
        )
    small = image[:, :0, :0]
    if (x1 - x0) * (y1 - y0) < height * width:
        small = resized_nearest(image, small_side(height, ratio), small_side(width, ratio))
    crop, rest = codec.encode(image[:, y0:y1, x0:x1]), codec.encode(small)
    header = Header(height, width, small.shape[-2], small.shape[-1], x0, y0, x1, y1, label, len(crop), len(rest))
    return torch.cat([torch.frombuffer(bytearray(_HEADER.pack(*header)), dtype=torch.uint8), crop, rest])


def read_header(content: Tensor) -> Header:
    """The header at the start of an exemplar's bytes; InputError where there are too few for one."""
    if len(content) < HEADER_BYTES:
        raise InputError(f"an exemplar of {len(content)} bytes has no header of {HEADER_BYTES}; the memory is damaged")
    return Header(*_HEADER.unpack(content[:HEADER_BYTES].numpy().tobytes()))


def decode_exemplar(content: Tensor, codec: Codec) -> Tensor:
    """The reconstruction x~ (3, H, W) uint8: the small image enlarged, the crop pasted at its place."""
    header = read_header(content)
    if len(content) != header.length:
        raise InputError(
            f"an exemplar has {len(content)} bytes, its header says {header.length}; the memory is damaged"
        )
    crop_end = HEADER_BYTES + header.crop_bytes
    if header.small_bytes:
        small = codec.decode(content[crop_end : header.length], header.small_height, header.small_width)
        image = resized_nearest(small, header.height, header.width).clone()
    else:
        image = torch.empty(3, header.height, header.width, dtype=torch.uint8)
    if header.crop_bytes:
        crop_height, crop_width = header.y1 - header.y0, header.x1 - header.x0
        crop = codec.decode(content[HEADER_BYTES:crop_end], crop_height, crop_width)
        image[:, header.y0 : header.y1, header.x0 : header.x1] = crop
    return image


def encoded_length(height: int, width: int, box: Tensor, ratio: float) -> int:
    """Bytes of a raw exemplar, without encoding it."""
    x0, y0, x1, y1 = (int(corner) for corner in box)
    crop = (x1 - x0) * (y1 - y0)
    small = small_side(height, ratio) * small_side(width, ratio) if crop < height * width else 0
    return HEADER_BYTES + 3 * (crop + small)
