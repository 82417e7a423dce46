"""Prepared images on the disk: one run of bytes that is mapped into memory, and an index; decoded when asked for."""

from __future__ import annotations

import glob
import mmap
import os
import shutil
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimbench.datasets.arrays import load_arrays, save_arrays, write_to_disk
from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.images.image_store import ImageStore, squashed
from cimbench.datasets.images.threads import cores, single_threaded_pool

ENCODINGS = ("raw", "jpeg")
_KEPT = ("sizes", "labels", "class_names", "names", "is_test", "boxes", "damaged")
BYTES, INDEX = "images.bin", "index.npz"
CHECKED_WHOLE = 1 << 30  # bytes up to which a store is compared with its digest whenever it is opened
_MAPPED_AT_ONCE = 1 << 26  # bytes read after which pages are given back; the system maps some beside those read
_CHUNK = 1 << 22


@cache
def readers() -> ThreadPoolExecutor:
    """The threads that decode; decoding leaves Python's lock alone."""
    return single_threaded_pool(cores(), "reader")


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


@dataclass(frozen=True, kw_only=True)
class PackedStore(ImageStore):
    """Images that rest on the disk; a subset shares their bytes and copies nothing.

    pixels: (Q,) uint8, all bytes of `file`. spans: (N, 2) int64, where an image's bytes start and how many they are.
    encoding: "raw", pixels (3, H, W), or "jpeg".
    """

    file: MappedFile
    spans: Tensor
    encoding: str

    def __post_init__(self) -> None:
        if len({len(part) for part in (self.sizes, self.labels, self.spans)}) > 1:
            raise InputError(f"{len(self.labels)} labels and {len(self.spans)} spans for {len(self.sizes)} images")
        if len(self.spans) and int(self.spans.sum(1).max()) > len(self.pixels):
            raise InputError(f"spans reach to byte {int(self.spans.sum(1).max())} of {len(self.pixels)}")

    def content(self, index: int) -> Tensor:
        """The bytes of image `index`, (length,) uint8, as they are encoded."""
        start, length = self.spans[index].tolist()
        self.file.note(length)
        return self.pixels[start : start + length]

    def image(self, index: int) -> Tensor:
        """Image `index` as (3, H, W) uint8, decoded now; InputError where its bytes are not what was prepared."""
        height, width = self.sizes[index].tolist()
        if self.encoding == "raw":
            return self.content(index).view(3, height, width)
        try:
            decoded = decoded_jpeg(self.content(index))
        except RuntimeError:
            decoded = None
        if decoded is None or decoded.shape[1:] != (height, width):
            name = printable(self.names[index]) if self.names else f"image {index}"
            raise InputError(f"{self.file.path}: {name} is damaged; see `cimbench verify`, and prepare the data again")
        return decoded

    def subset(self, indices: Tensor) -> PackedStore:
        """The images at `indices`, in that order; their bytes stay where they are."""
        return replace(
            self,
            spans=self.spans[indices],
            sizes=self.sizes[indices],
            labels=self.labels[indices],
            names=tuple(self.names[i] for i in indices.tolist()) if self.names else (),
            is_test=self.is_test[indices] if len(self.is_test) else self.is_test,
            boxes=self.boxes[indices] if len(self.boxes) else self.boxes,
        )

    def resized(self, side: int) -> Tensor:
        """As of any store; decoded and squashed by several threads."""
        resized = torch.empty(len(self), 3, side, side, dtype=torch.uint8).to(memory_format=torch.channels_last)

        def place(indices: range) -> None:
            for index in indices:
                resized[index] = squashed(self.image(index), side)

        list(readers().map(place, runs(len(self))))
        return resized

    def stacked(self, indices: Tensor) -> Tensor:
        """Images of one size as (n, 3, H, W) uint8."""
        wanted = indices.tolist()
        if not wanted and self.uniform_size:
            return torch.empty(0, 3, *self.uniform_size, dtype=torch.uint8)
        pieces = readers().map(lambda run: [self.image(wanted[i]) for i in run], runs(len(wanted)))
        return torch.stack([image for piece in pieces for image in piece])

    def _content(self) -> Iterator[Tensor]:
        """Runs of bytes in the order of the images; neighbours on the disk are joined."""
        starts, ends = self.spans[:, 0], self.spans.sum(1)
        breaks = torch.nonzero(starts[1:] != ends[:-1]).flatten() + 1
        for run in torch.tensor_split(torch.arange(len(self)), breaks):
            if len(run):
                for start in range(int(starts[run[0]]), int(ends[run[-1]]), _CHUNK):
                    chunk = self.pixels[start : min(start + _CHUNK, int(ends[run[-1]]))]
                    self.file.note(len(chunk))
                    yield chunk

    def _content_kind(self) -> str:
        held = f"torch.uint8({int(self.spans[:, 1].sum())},)"
        return held if self.encoding == "raw" else f"{self.encoding} {held}{self.spans[:, 1].tolist()}"


def decoded_jpeg(content: Tensor) -> Tensor:
    """A JPEG file's bytes (Q,) uint8 as (3, H, W) uint8 RGB; RuntimeError for one that is damaged."""
    from torchvision.io import ImageReadMode, decode_jpeg

    decoded: Tensor = decode_jpeg(content, mode=ImageReadMode.RGB)
    return decoded


def runs(count: int) -> list[range]:
    """0..count-1 in pieces of 16: one task for each."""
    return [range(start, min(start + 16, count)) for start in range(0, count, 16)]


def index_arrays(store: PackedStore) -> dict[str, Any]:
    """A packed store's index as arrays; names are one run of UTF-8, ended by zeros, which no file's name has."""
    arrays = {
        name: getattr(store, name).contiguous().numpy() for name in ("sizes", "labels", "is_test", "boxes", "spans")
    }
    names = np.frombuffer(
        "".join(f"{name}\0" for name in store.names).encode("utf-8", "surrogateescape"), dtype=np.uint8
    )
    return {**arrays, "names": names}


def save_index(folder: Path, store: PackedStore, made: Mapping[str, Any]) -> None:
    """Write the index beside the bytes; `made` says by which parameters they were prepared."""
    description = {
        "class_names": store.class_names,
        "encoding": store.encoding,
        "digest": store.digest,
        "damaged": store.damaged,
        "bytes": len(store.pixels),
        "made": dict(made),
    }
    save_arrays(folder / INDEX, index_arrays(store), description)


def save_store(store: ImageStore, folder: Path) -> None:
    """Write any store as a packed one of raw pixels, atomically: the folder is there whole or not at all."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    lengths = 3 * store.sizes.prod(1)
    with write_to_disk(folder):
        partial.mkdir(parents=True)
        with (partial / BYTES).open("wb") as file:
            for index in range(len(store)):
                file.write(store.image(index).contiguous().numpy().data)
            file.flush()
            os.fsync(file.fileno())
        packed = PackedStore(
            **{name: getattr(store, name) for name in _KEPT},
            pixels=(mapped := MappedFile(partial / BYTES)).bytes,
            file=mapped,
            spans=torch.stack([lengths.cumsum(0) - lengths, lengths], 1),
            encoding="raw",
        )
        save_index(partial, packed, {})
        put_in_place(partial, folder)


def put_in_place(partial: Path, folder: Path) -> None:
    """Rename a finished folder to its place; what was there goes, and what an earlier cut in this step left."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.old"):
        shutil.rmtree(left) if left.is_dir() else left.unlink()


def open_store(folder: Path) -> PackedStore:
    """A prepared store; InputError where it is absent, damaged, or (up to CHECKED_WHOLE bytes) of another digest."""
    arrays, description = load_arrays(folder / INDEX)
    try:
        mapped = MappedFile(folder / BYTES)
    except OSError as error:
        raise InputError(f"{folder / BYTES}: cannot be read ({error.strerror}); prepare the data again") from error
    if len(mapped.bytes) != description["bytes"]:
        raise InputError(
            f"{folder / BYTES}: has {len(mapped.bytes)} bytes instead of {description['bytes']}; delete {folder} and "
            "prepare the data again"
        )
    names = arrays.pop("names").tobytes().decode("utf-8", "surrogateescape").split("\0")[:-1]
    store = PackedStore(
        **{name: torch.from_numpy(array) for name, array in arrays.items()},
        pixels=mapped.bytes,
        file=mapped,
        class_names=tuple(description["class_names"]),
        names=tuple(names),
        encoding=description["encoding"],
        damaged=tuple(description["damaged"]),
    )
    if len(mapped.bytes) > CHECKED_WHOLE:
        store.__dict__["digest"] = description["digest"]  # `cimbench verify` reads every byte
    elif store.digest != description["digest"]:
        raise mismatch(folder)
    return store


def mismatch(folder: Path) -> InputError:
    """The error for content that is not what was prepared."""
    return InputError(f"{folder}: content does not match its digest; delete the folder and prepare the data again")


def verify_store(folder: Path) -> PackedStore:
    """A prepared store every byte of which was compared with its digest."""
    store = open_store(folder)
    expected = store.digest
    store.__dict__.pop("digest")
    if store.digest != expected:
        raise mismatch(folder)
    return store
