"""Where the pixels of a store's images lie: in memory, or in a mapped file, decoded when they are asked for."""

from __future__ import annotations

import mmap
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError

_MAPPED_AT_ONCE = 1 << 26  # bytes read after which pages are given back; the system maps some beside those read
_CHUNK = 1 << 22


class Pixels(ABC):
    """The bytes of N images. bytes: (Q,) uint8, all of them. origin: what an error names.

    encoding: "raw", bytes of (3, H, W), or "jpeg". in_threads: whether an image is worth a thread to read.
    """

    bytes: Tensor
    origin: str = "memory"
    encoding: str = "raw"
    in_threads: bool = False

    @abstractmethod
    def __len__(self) -> int:
        """The number of images."""

    @abstractmethod
    def check(self, sizes: Tensor) -> None:
        """InputError where images of these sizes (N, 2; height, width) cannot be what the bytes hold."""

    @abstractmethod
    def content(self, index: int) -> Tensor:
        """The bytes of image `index`, (length,) uint8, as they are encoded."""

    @abstractmethod
    def subset(self, indices: Tensor) -> Pixels:
        """Those of the images at `indices`, in that order."""

    @abstractmethod
    def pieces(self) -> Iterable[Tensor]:
        """The images' bytes in their order, in pieces."""

    @abstractmethod
    def kind(self) -> str:
        """What is counted into a digest before the bytes: two kinds of content with the same bytes differ in it."""

    def image(self, index: int, height: int, width: int) -> Tensor:
        """Image `index` as (3, height, width) uint8; RuntimeError where its bytes are none of that size."""
        return self.content(index).view(3, height, width)

    def rows(self) -> Tensor | None:
        """All images as (N, length) uint8 without a copy, where they are raw and equally long; None where not."""
        return None


@dataclass(frozen=True)
class InMemory(Pixels):
    """Images one after another in one run of bytes. lengths: (N,) int64, bytes of each."""

    bytes: Tensor
    lengths: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    @cached_property
    def _starts(self) -> list[int]:
        return [0, *self.lengths.cumsum(0).tolist()]

    def check(self, sizes: Tensor) -> None:
        """As declared; here every byte belongs to one image."""
        if self.bytes.dtype != torch.uint8 or self.bytes.ndim != 1:
            raise InputError(f"pixels are {self.bytes.dtype} {tuple(self.bytes.shape)}; give (Q,) uint8 bytes")
        expected = int(3 * sizes.prod(1).sum())
        if expected != len(self.bytes):
            raise InputError(f"sizes add up to {expected} bytes, the pixels have {len(self.bytes)}")
        if not torch.equal(self.lengths, 3 * sizes.prod(1)):
            raise InputError(
                f"lengths of {len(self.lengths)} images are not those of the {len(sizes)} sizes; give 3 H W"
            )

    def content(self, index: int) -> Tensor:
        """As declared; a view."""
        return self.bytes[self._starts[index] : self._starts[index + 1]]

    def subset(self, indices: Tensor) -> InMemory:
        """As declared; copied."""
        rows, lengths = self.rows(), self.lengths[indices]
        if rows is not None:
            return InMemory(rows[indices].reshape(-1), lengths)
        parts = [self.content(index) for index in indices.tolist()]
        return InMemory(torch.cat(parts) if parts else self.bytes[:0], lengths)

    def pieces(self) -> Iterable[Tensor]:
        """As declared."""
        return (self.bytes,)

    def kind(self) -> str:
        """As declared."""
        return f"{self.bytes.dtype}{tuple(self.bytes.shape)}"

    def rows(self) -> Tensor | None:
        """As declared."""
        alike = len(self) > 0 and bool((self.lengths == self.lengths[0]).all())
        return self.bytes.view(len(self), -1) if alike else None


class MappedFile:
    """A file's bytes as a tensor that is read from the disk when touched, and never kept resident for long."""

    def __init__(self, path: Path) -> None:
        self.path = path
        size = path.stat().st_size
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) if size else None
        self.bytes = torch.empty(0, dtype=torch.uint8)
        if self._map is not None:
            self.bytes = torch.frombuffer(self._map, dtype=torch.uint8)
        self._read = 0

    def note(self, count: int) -> None:
        """So many bytes were read: what was mapped is given back to the system now and then, which keeps it cached."""
        self._read += count
        if self._map is not None and self._read > _MAPPED_AT_ONCE:
            self._map.madvise(mmap.MADV_DONTNEED)
            self._read = 0


@dataclass(frozen=True)
class OnDisk(Pixels):
    """Images in one mapped file; a subset shares it and copies nothing.

    spans: (N, 2) int64, where an image's bytes start and how many they are.
    """

    file: MappedFile
    spans: Tensor
    encoding: str = "raw"
    in_threads = True

    def __len__(self) -> int:
        return len(self.spans)

    @property
    def bytes(self) -> Tensor:  # type: ignore[override]
        """All bytes of the file."""
        return self.file.bytes

    @property
    def origin(self) -> str:  # type: ignore[override]
        """The file's path."""
        return str(self.file.path)

    def check(self, sizes: Tensor) -> None:
        """As declared."""
        if len(self.spans) != len(sizes):
            raise InputError(f"{len(self.spans)} spans for {len(sizes)} images")
        if len(self.spans) and int(self.spans.sum(1).max()) > len(self.bytes):
            raise InputError(f"spans reach to byte {int(self.spans.sum(1).max())} of {len(self.bytes)}")

    def content(self, index: int) -> Tensor:
        """As declared; read when it is touched."""
        start, length = self.spans[index].tolist()
        self.file.note(length)
        return self.bytes[start : start + length]

    def image(self, index: int, height: int, width: int) -> Tensor:
        """As declared; decoded now."""
        if self.encoding == "raw":
            return super().image(index, height, width)
        decoded = decoded_jpeg(self.content(index))
        if decoded.shape[1:] != (height, width):
            raise RuntimeError(f"is of size {tuple(decoded.shape[1:])} instead of {(height, width)}")
        return decoded

    def subset(self, indices: Tensor) -> OnDisk:
        """As declared; nothing is copied."""
        return replace(self, spans=self.spans[indices])

    def pieces(self) -> Iterator[Tensor]:
        """As declared; neighbours on the disk are joined."""
        starts, ends = self.spans[:, 0], self.spans.sum(1)
        breaks = torch.nonzero(starts[1:] != ends[:-1]).flatten() + 1
        for run in torch.tensor_split(torch.arange(len(self)), breaks):
            if len(run):
                for start in range(int(starts[run[0]]), int(ends[run[-1]]), _CHUNK):
                    chunk = self.bytes[start : min(start + _CHUNK, int(ends[run[-1]]))]
                    self.file.note(len(chunk))
                    yield chunk

    def kind(self) -> str:
        """As declared; raw images on the disk are the same data as those in memory."""
        held = f"torch.uint8({int(self.spans[:, 1].sum())},)"
        return held if self.encoding == "raw" else f"{self.encoding} {held}{self.spans[:, 1].tolist()}"


def decoded_jpeg(content: Tensor) -> Tensor:
    """A JPEG file's bytes (Q,) uint8 as (3, H, W) uint8 RGB; RuntimeError for one that is damaged."""
    from torchvision.io import ImageReadMode, decode_jpeg

    decoded: Tensor = decode_jpeg(content, mode=ImageReadMode.RGB)
    return decoded
