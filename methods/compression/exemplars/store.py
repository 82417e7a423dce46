"""Exemplars in one byte buffer with their offsets, on a CPU or a GPU; saved without pickle, with a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cimbench.datasets.arrays import load_arrays, save_arrays
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore, groups_of_one_size, resized
from cimbench.datasets.stream.feed import sent
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import HEADER_BYTES, Format, Headers, Packed, read_headers
from cimbench.methods.compression.exemplars.packing import unpack

_FORMAT = 2  # 1: hidden pixels were stored, and every picture with its own tables


@dataclass(frozen=True)
class ExemplarStore:
    """n exemplars as bytes. buffer: (bytes,) uint8. lengths: (n,) int64, bytes of each. format: how to read them.

    Reading a store whose bytes, lengths and headers do not belong together raises InputError.
    """

    buffer: Tensor
    lengths: Tensor
    format: Format

    def __len__(self) -> int:
        return len(self.lengths)

    @classmethod
    def empty(cls, form: Format, device: torch.device | str = "cpu") -> ExemplarStore:
        """No exemplars."""
        return cls(torch.empty(0, dtype=torch.uint8, device=device), torch.empty(0, dtype=torch.int64), form)

    @classmethod
    def from_packed(cls, packed: Packed, form: Format) -> ExemplarStore:
        """A batch of exemplars, where it is."""
        return cls(packed.buffer, packed.headers.lengths.cpu(), form)

    @cached_property
    def starts(self) -> Tensor:
        """(n + 1,) int64: where each exemplar begins."""
        return torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])

    @cached_property
    def headers(self) -> Headers:
        """All headers, read from the bytes and checked."""
        if int(self.starts[-1]) != len(self.buffer):
            raise InputError(
                f"the memory holds {len(self.buffer)} bytes, its exemplars account for {int(self.starts[-1])}; "
                "it is damaged"
            )
        if len(self) and int(self.lengths.min()) < HEADER_BYTES:
            raise InputError(f"an exemplar of {int(self.lengths.min())} bytes has no header; the memory is damaged")
        fronts = self.starts[:-1, None] + torch.arange(HEADER_BYTES)
        headers = read_headers(self.buffer[fronts.to(self.buffer.device)].cpu(), self.format)
        if not torch.equal(headers.lengths, self.lengths):
            index = int((headers.lengths != self.lengths).long().argmax())
            raise InputError(
                f"exemplar {index} has {int(self.lengths[index])} bytes, its header says "
                f"{int(headers.lengths[index])}; the memory is damaged"
            )
        return headers

    @property
    def labels(self) -> Tensor:
        """(n,) int64, from the exemplars' own headers."""
        return self.headers.field("label")

    @property
    def shared_bytes(self) -> int:
        """Bytes that the memory holds once for all exemplars: what their codec's pictures have in common."""
        return len(self.format.codec.shared)

    def content(self, index: int) -> Tensor:
        """The bytes of one exemplar."""
        return self.buffer[int(self.starts[index]) : int(self.starts[index + 1])]

    def subset(self, indices: Tensor) -> ExemplarStore:
        """The exemplars at `indices`, in that order."""
        parts = [self.buffer[:0], *(self.content(i) for i in indices.tolist())]
        return ExemplarStore(torch.cat(parts), self.lengths[indices], self.format)

    @classmethod
    def joined(cls, stores: Sequence[ExemplarStore]) -> ExemplarStore:
        """The exemplars of one or more stores of one format, one after another, on the first one's device."""
        first = stores[0]
        buffer = torch.cat([store.buffer.to(first.buffer.device) for store in stores])
        return cls(buffer, torch.cat([store.lengths for store in stores]), first.format)

    def decoded(self, indices: Tensor) -> Tensor:
        """Reconstructions (B, 3, H, W) uint8 of exemplars of one image size, on the buffer's device."""
        return unpack(self.buffer, self.starts[indices], self.headers[indices], self.format)

    def batch(self, indices: Tensor, side: int) -> Tensor:
        """Reconstructions (B, 3, side, side) uint8, squashed where they have another size, on the buffer's device."""
        groups = groups_of_one_size(self.headers.sizes[indices])
        if len(groups) == 1:
            return resized(self.decoded(indices), side)
        images = torch.empty(len(indices), 3, side, side, dtype=torch.uint8, device=self.buffer.device)
        for group in groups:
            images[sent(group, images.device)] = resized(self.decoded(indices[group]), side)
        return images

    def images(self) -> ImageStore:
        """All reconstructions with their labels, on the CPU."""
        found: list[Tensor] = [torch.empty(0)] * len(self)
        for group in groups_of_one_size(self.headers.sizes):
            for index, image in zip(group.tolist(), self.decoded(group).cpu(), strict=True):
                found[index] = image
        return ImageStore.from_images(found, self.labels)

    @cached_property
    def digest(self) -> str:
        """sha256 over bytes, lengths, format and what is shared."""
        sha = hashlib.sha256(repr(self.format).encode())
        sha.update(self.format.codec.shared)
        for part in (self.lengths, self.buffer):
            sha.update(part.cpu().contiguous().numpy().data)
        return sha.hexdigest()

    def save(self, path: Path) -> None:
        """Write the store with its format and digest as one file, atomically."""
        shared = np.frombuffer(self.format.codec.shared, dtype=np.uint8)
        arrays = {"buffer": self.buffer.cpu().numpy(), "lengths": self.lengths.numpy(), "shared": shared}
        save_arrays(path, arrays, {"format": asdict(self.format), "version": _FORMAT, "digest": self.digest})

    @classmethod
    def load(cls, path: Path) -> ExemplarStore:
        """Read a saved store; InputError for a damaged or altered file."""
        arrays, description = load_arrays(path)
        form = description.get("format")
        if form is None or not {"buffer", "lengths"} <= arrays.keys():
            raise InputError(f"{path}: holds no exemplars; name a file that ExemplarStore.save wrote")
        if description.get("version", 1) != _FORMAT:
            raise InputError(
                f"{path}: exemplars in format {description.get('version', 1)}; they are read in format {_FORMAT}: make "
                "them anew with cimbench run"
            )
        buffer, lengths = (torch.from_numpy(arrays[name]) for name in ("buffer", "lengths"))
        store = cls(buffer, lengths, Format(**{**form, "codec": Codec(**form["codec"])}))
        shared, mine = arrays["shared"].tobytes(), store.format.codec.shared
        if shared != mine:
            raise InputError(
                f"{path}: what {store.format.codec.name} pictures share has {len(mine)} bytes by this machine's "
                f"library, {len(shared)} in the file, or others; read it with the library that wrote it"
            )
        if store.digest != description["digest"]:
            raise InputError(f"{path}: content does not match its digest; it was altered: make it again")
        return store
