"""Prepared images on the disk, written and opened: one file of bytes and an index."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from cimbench.datasets.arrays import load_arrays, save_arrays, write_to_disk
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.pixels import MappedFile, OnDisk

BYTES, INDEX = "images.bin", "index.npz"
CHECKED_WHOLE = 1 << 30  # bytes up to which a store is compared with its digest whenever it is opened


def index_arrays(store: ImageStore, spans: Tensor) -> dict[str, Any]:
    """A store's index as arrays; names are one run of UTF-8, ended by zeros, which no file's name has."""
    arrays = {name: getattr(store, name).contiguous().numpy() for name in ("sizes", "labels", "is_test", "boxes")}
    names = np.frombuffer(
        "".join(f"{name}\0" for name in store.names).encode("utf-8", "surrogateescape"), dtype=np.uint8
    )
    return {**arrays, "spans": spans.contiguous().numpy(), "names": names}


def save_index(folder: Path, store: ImageStore, made: Mapping[str, Any]) -> None:
    """Write the index of a store beside the bytes that it reads; `made` says by which parameters they were prepared."""
    assert isinstance(store.pixels, OnDisk)
    description = {
        "class_names": store.class_names,
        "encoding": store.pixels.encoding,
        "digest": store.digest,
        "damaged": store.damaged,
        "bytes": len(store.pixels.bytes),
        "made": dict(made),
    }
    save_arrays(folder / INDEX, index_arrays(store, store.pixels.spans), description)


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
        spans = torch.stack([lengths.cumsum(0) - lengths, lengths], 1)
        save_index(partial, replace(store, pixels=OnDisk(MappedFile(partial / BYTES), spans)), {})
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


def open_store(folder: Path) -> ImageStore:
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
    spans = torch.from_numpy(arrays.pop("spans"))
    known = len(mapped.bytes) > CHECKED_WHOLE  # `cimbench verify` reads every byte
    store = ImageStore(
        **{name: torch.from_numpy(array) for name, array in arrays.items()},
        pixels=OnDisk(mapped, spans, description["encoding"]),
        class_names=tuple(description["class_names"]),
        names=tuple(names),
        damaged=tuple(description["damaged"]),
        known_digest=description["digest"] if known else "",
    )
    if store.digest != description["digest"]:
        raise mismatch(folder)
    return store


def mismatch(folder: Path) -> InputError:
    """The error for content that is not what was prepared."""
    return InputError(f"{folder}: content does not match its digest; delete the folder and prepare the data again")


def verify_store(folder: Path) -> ImageStore:
    """A prepared store every byte of which was compared with its digest."""
    store = open_store(folder)
    if store.computed_digest() != store.digest:
        raise mismatch(folder)
    return store
