"""Pictures decoded, reduced and packed once, in parallel, to the same bytes whoever prepares them; restartable."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import io
import json
import os
import shutil
import time
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cimbench.datasets.arrays import load_arrays, write_to_disk
from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.packed_store import BYTES, INDEX, open_store, put_in_place, save_index
from cimbench.datasets.images.pixels import MappedFile, OnDisk, decoded_jpeg
from cimbench.datasets.images.threads import cores
from cimbench.datasets.preparing.decode import open_rgb, reduced
from cimbench.datasets.preparing.journal import Journal, Size
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.progress import Advance, no_progress
from cimbench.datasets.reading.catalogue import Catalogue, check_classes

JOURNAL_SECONDS = 10.0  # between savings of how far a preparation has come
_SHOWN = 50  # damaged pictures that a message lists


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One picture as it is kept. size, original: (height, width) in pixels."""

    content: bytes
    size: Size
    original: Size


def packed(content: bytes | Tensor, parameters: PrepareParameters) -> Packed:
    """A picture's file, or its pixels, as it is kept. OSError where it is no whole picture, or one beyond the limit."""
    if isinstance(content, Tensor):
        picture = Image.fromarray(content.permute(1, 2, 0).contiguous().numpy())
        plain = False
    else:
        picture, plain = open_rgb(content, parameters.pixel_limit)
    original = (picture.height, picture.width)
    picture = reduced(picture, parameters.short_side)
    size = (picture.height, picture.width)
    if parameters.encoding == "raw":
        pixels = np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)).tobytes()
        return Packed(content=pixels, size=size, original=original)
    if parameters.encoding == "original" and plain and isinstance(content, bytes) and _is_readable(content, size):
        return Packed(content=content, size=size, original=original)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=parameters.quality)
    return Packed(content=file.getvalue(), size=size, original=original)


def _is_readable(content: bytes, size: Size) -> bool:
    """Whether the decoder that reads prepared pictures takes a JPEG file as Pillow did."""
    try:
        return decoded_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8)).shape[1:] == size
    except RuntimeError:
        return False


def prepare(
    catalogue: Catalogue,
    parameters: PrepareParameters,
    folder: Path,
    scratch: Path,
    progress: Advance = no_progress,
    workers: int | None = None,
) -> ImageStore:
    """The catalogue's pictures as a packed store in `folder`, the same bytes for any number of `workers`.

    What has come so far stays in `scratch` and is continued by the next call with the same catalogue and parameters.
    InputError where more pictures are damaged than parameters.damaged_limit: it lists them, and no store is made; a
    higher limit goes on from there.
    """
    identity = _identity(catalogue, parameters)
    space = scratch / f"{folder.name}.partial"
    store = _existing(folder, identity)
    if store is None:
        partial = space / identity[:16]
        with write_to_disk(partial):
            _make_room(space, partial)
            journal = _pack_all(catalogue, parameters, partial / BYTES, progress, workers or cores())
        damaged = tuple(f"{catalogue.names[place]}: {reason}" for place, reason in journal.damaged.items())
        _check_damaged(catalogue, parameters, damaged)
        _write_index(catalogue, parameters, partial, journal.table(), damaged, identity)
        with write_to_disk(folder):
            put_in_place(partial, folder)
        store = open_store(folder)
    _check_damaged(catalogue, parameters, store.damaged)
    shutil.rmtree(space, ignore_errors=True)
    return store


def _existing(folder: Path, identity: str) -> ImageStore | None:
    """The store in `folder` if it is whole and of that identity."""
    try:
        made = load_arrays(folder / INDEX)[1]["made"]
        return open_store(folder) if made.get("identity") == identity else None
    except (InputError, KeyError):  # absent, damaged or of another version: it is made again
        return None


def _make_room(space: Path, partial: Path) -> None:
    """The folder of a preparation; those of others of the same name, which nobody will continue, go."""
    partial.mkdir(parents=True, exist_ok=True)
    for other in space.iterdir():
        if other.name.partition(".")[0] != partial.name:
            shutil.rmtree(other) if other.is_dir() else other.unlink()


def _identity(catalogue: Catalogue, parameters: PrepareParameters) -> str:
    """sha256 of what decides a store's bytes, but the pictures themselves."""
    sha = hashlib.sha256(json.dumps([catalogue.version, catalogue.class_names, _made_by(parameters)]).encode())
    sha.update("\0".join(catalogue.names).encode("utf-8", "surrogateescape"))
    for part in (catalogue.labels, catalogue.is_test, catalogue.boxes):
        sha.update(part.numpy().tobytes())
    return sha.hexdigest()


def _made_by(parameters: PrepareParameters) -> dict[str, Any]:
    """The parameters that change a store; the limit only says whether there is one."""
    return {name: value for name, value in asdict(parameters).items() if name != "damaged_limit"}


def _pack_all(
    catalogue: Catalogue, parameters: PrepareParameters, path: Path, progress: Advance, workers: int
) -> Journal:
    """Append what is missing to the bytes so far; the journal says of no more than is safely on the disk."""
    path.touch()
    with path.open("r+b") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's about odd files; what matters is whether they decode
        _claim(file, path)
        with contextlib.closing(Journal(path.parent.with_suffix(".journal"), path.stat().st_size)) as journal:
            file.truncate(journal.bytes)  # what came after the last journal is made again
            file.seek(journal.bytes)
            saved = time.monotonic()
            for found in _in_order(catalogue, parameters, len(journal), workers):
                if isinstance(found, Packed):
                    file.write(found.content)
                    journal.add(len(found.content), found.size, found.original)
                else:
                    journal.add_damaged(found)
                progress(len(journal), len(catalogue))
                if time.monotonic() - saved > JOURNAL_SECONDS:
                    _save(file, journal)
                    saved = time.monotonic()
            _save(file, journal)
    return journal


def _claim(file: io.BufferedRandom, path: Path) -> None:
    """Raise InputError where another process prepares the same data now."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError(f"{path.parent}: is being prepared by another process; wait for it, or stop it") from error


def _save(file: io.BufferedRandom, journal: Journal) -> None:
    file.flush()
    os.fsync(file.fileno())
    journal.save()


def _in_order(catalogue: Catalogue, parameters: PrepareParameters, start: int, workers: int) -> Iterator[Packed | str]:
    """Each picture from `start` on, or what is wrong with it: made by threads, a few ahead, given in order."""

    def one(index: int) -> Packed | str:
        try:
            content = catalogue.content(index)
        except OSError as error:
            where = f"{catalogue.origin}: {printable(catalogue.names[index])}"
            raise InputError(f"{where} cannot be read ({error.strerror}); check that it is there") from error
        try:
            return packed(content, parameters)
        except OSError as error:
            return str(error)

    with ThreadPoolExecutor(workers, thread_name_prefix="preparer") as pool:
        ahead: deque[Future[Packed | str]] = deque()
        for index in range(start, len(catalogue)):
            ahead.append(pool.submit(one, index))
            if len(ahead) > 2 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _check_damaged(catalogue: Catalogue, parameters: PrepareParameters, damaged: Sequence[str]) -> None:
    """Raise InputError where there are more than the limit says."""
    if len(damaged) <= parameters.damaged_limit:
        return
    more = f"\n  and {len(damaged) - _SHOWN} more" if len(damaged) > _SHOWN else ""
    raise InputError(
        f"{catalogue.origin}: {len(damaged)} pictures cannot be decoded, dataset.prepare.damaged_limit is "
        f"{parameters.damaged_limit}; replace them or fetch again, or raise the limit to leave them out:\n"
        + "\n".join(f"  {printable(line)}" for line in damaged[:_SHOWN])
        + more
    )


def _write_index(
    catalogue: Catalogue,
    parameters: PrepareParameters,
    partial: Path,
    table: Tensor,
    damaged: tuple[str, ...],
    identity: str,
) -> None:
    """The index over the pictures that are whole."""
    whole = torch.nonzero(table[:, 0] >= 0).flatten()
    lengths, sizes, originals = torch.split(table[whole], [1, 2, 2], 1)
    labels, is_test = catalogue.labels[whole], catalogue.is_test[whole]
    check_classes(f"{catalogue.origin}, {len(damaged)} damaged ones left out", catalogue.class_names, labels, is_test)
    spans = torch.cat([lengths.cumsum(0) - lengths, lengths], 1)
    encoding = "raw" if parameters.encoding == "raw" else "jpeg"
    store = ImageStore(
        pixels=OnDisk(MappedFile(partial / BYTES), spans, encoding),
        sizes=sizes.contiguous(),
        labels=labels,
        class_names=catalogue.class_names,
        names=tuple(catalogue.names[i] for i in whole.tolist()),
        is_test=is_test,
        boxes=scaled_boxes(catalogue.boxes[whole], originals, sizes) if len(catalogue.boxes) else catalogue.boxes,
        damaged=damaged,
    )
    save_index(partial, store, {"identity": identity, **_made_by(parameters)})


def scaled_boxes(boxes: Tensor, originals: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, 4) XYXY of pictures of one size (N, 2; height, width) on the same pictures of another.

    Edges are rounded outwards and cut at the picture's; a box of -1 stays, and one that lies outside becomes one.
    """
    width_and_height = torch.cat([sizes.flip(1)] * 2, 1)
    low, high = boxes[:, :2] * sizes.flip(1), boxes[:, 2:] * sizes.flip(1)
    corners = torch.cat([low // originals.flip(1), -(-high // originals.flip(1))], 1)
    corners = corners.clamp(min=0).minimum(width_and_height)
    empty = (corners[:, 2:] <= corners[:, :2]).any(1) | (boxes < 0).all(1)
    return torch.where(empty[:, None], -1, corners)
