"""Pictures decoded, reduced and packed once, in parallel, to the same bytes whoever prepares them; restartable."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from cimbench.datasets.arrays import load_arrays, save_arrays, write_to_disk
from cimbench.datasets.catalogue import Catalogue
from cimbench.datasets.decode import open_rgb, reduced
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetch import Advance, no_progress
from cimbench.datasets.packed_store import BYTES, INDEX, MappedFile, PackedStore, open_store, put_in_place, save_index
from cimbench.datasets.preparation import PrepareParameters

JOURNAL_SECONDS = 10.0  # between savings of how far a preparation has come
_SHOWN = 50  # damaged pictures that a message lists


@dataclass(frozen=True, kw_only=True)
class Packed:
    """One picture as it is kept. size, original: (height, width) in pixels."""

    content: bytes
    size: tuple[int, int]
    original: tuple[int, int]


@dataclass
class Journal:
    """How far a preparation has come: of each picture its length (-1 for a damaged one), sizes, and what was wrong."""

    lengths: list[int] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    originals: list[tuple[int, int]] = field(default_factory=list)
    damaged: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def bytes(self) -> int:
        """Of all pictures so far."""
        return sum(length for length in self.lengths if length > 0)

    def add(self, found: Packed | str) -> None:
        """The next picture, or what is wrong with it."""
        if isinstance(found, str):
            self.damaged[len(self)] = found
            length, size, original = -1, (0, 0), (0, 0)
        else:
            length, size, original = len(found.content), found.size, found.original
        self.lengths.append(length)
        self.sizes.append(size)
        self.originals.append(original)

    def save(self, path: Path) -> None:
        """Write it, atomically."""
        arrays = {
            "lengths": np.array(self.lengths, dtype=np.int64),
            "sizes": np.array(self.sizes, dtype=np.int64).reshape(-1, 2),
            "originals": np.array(self.originals, dtype=np.int64).reshape(-1, 2),
        }
        save_arrays(path, arrays, {"damaged": {str(place): reason for place, reason in self.damaged.items()}})

    @classmethod
    def load(cls, path: Path) -> Journal:
        """What `save` wrote; an empty one where there is none."""
        if not path.is_file():
            return cls()
        arrays, description = load_arrays(path)
        pairs = {name: [(int(a), int(b)) for a, b in arrays[name]] for name in ("sizes", "originals")}
        damaged = {int(place): str(reason) for place, reason in description["damaged"].items()}
        return cls(lengths=arrays["lengths"].tolist(), damaged=damaged, **pairs)


def packed(content: bytes | Tensor, parameters: PrepareParameters) -> Packed:
    """A picture's file, or its pixels, as it is kept. OSError where it is no whole picture, or one beyond the limit."""
    if isinstance(content, Tensor):
        picture = Image.fromarray(content.permute(1, 2, 0).contiguous().numpy())
        kept_as_it_is = False
    else:
        picture, kept_as_it_is = open_rgb(content, parameters.pixel_limit)
    original = (picture.height, picture.width)
    picture = reduced(picture, parameters.short_side)
    size = (picture.height, picture.width)
    if parameters.encoding == "raw":
        pixels = np.ascontiguousarray(np.asarray(picture).transpose(2, 0, 1)).tobytes()
        return Packed(content=pixels, size=size, original=original)
    if parameters.encoding == "original" and kept_as_it_is and isinstance(content, bytes):
        return Packed(content=content, size=size, original=original)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=parameters.quality)
    return Packed(content=file.getvalue(), size=size, original=original)


def prepare(
    catalogue: Catalogue,
    parameters: PrepareParameters,
    folder: Path,
    scratch: Path,
    progress: Advance = no_progress,
    workers: int | None = None,
) -> PackedStore:
    """The catalogue's pictures as a packed store in `folder`, the same bytes for any number of `workers`.

    What has come so far stays in `scratch` and is continued by the next call with the same catalogue and parameters.
    InputError where more pictures are damaged than parameters.damaged_limit: it lists them, and nothing is made.
    """
    identity = _identity(catalogue, parameters)
    if (folder / INDEX).is_file() and load_arrays(folder / INDEX)[1]["made"].get("identity") == identity:
        return open_store(folder)
    partial = scratch / f"{folder.name}-{identity[:16]}"
    journal_path = partial.with_suffix(".journal.npz")
    with write_to_disk(partial):
        partial.mkdir(parents=True, exist_ok=True)
    journal = _pack_all(catalogue, parameters, partial / BYTES, journal_path, progress, workers or _cores())
    if len(journal.damaged) > parameters.damaged_limit:
        shutil.rmtree(partial)
        journal_path.unlink()
        raise _too_many_damaged(catalogue, parameters, journal)
    _write_index(catalogue, parameters, partial, journal, identity)
    with write_to_disk(folder):
        put_in_place(partial, folder)
    journal_path.unlink()
    return open_store(folder)


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _identity(catalogue: Catalogue, parameters: PrepareParameters) -> str:
    """sha256 of what decides a store's bytes, but the pictures themselves."""
    sha = hashlib.sha256(json.dumps([catalogue.version, catalogue.class_names, asdict(parameters)]).encode())
    sha.update("\0".join(catalogue.names).encode("utf-8", "surrogateescape"))
    for part in (catalogue.labels, catalogue.is_test, catalogue.boxes):
        sha.update(part.numpy().tobytes())
    return sha.hexdigest()


def _pack_all(
    catalogue: Catalogue, parameters: PrepareParameters, path: Path, journal_path: Path, progress: Advance, workers: int
) -> Journal:
    """Append what is missing to the bytes so far; the journal says of no more than is safely on the disk."""
    journal = Journal.load(journal_path)
    if not path.is_file() or path.stat().st_size < journal.bytes:
        journal = Journal()
    with write_to_disk(path), path.open("r+b" if path.is_file() else "w+b") as file:
        file.truncate(journal.bytes)  # what came after the last journal is made again
        file.seek(0, os.SEEK_END)
        saved = time.monotonic()
        for found in _in_order(catalogue, parameters, len(journal), workers):
            if isinstance(found, Packed):
                file.write(found.content)
            journal.add(found)
            progress(len(journal), len(catalogue))
            if time.monotonic() - saved > JOURNAL_SECONDS:
                _sync(file)
                journal.save(journal_path)
                saved = time.monotonic()
        _sync(file)
        journal.save(journal_path)
    return journal


def _sync(file: io.BufferedRandom) -> None:
    file.flush()
    os.fsync(file.fileno())


def _in_order(catalogue: Catalogue, parameters: PrepareParameters, start: int, workers: int) -> Iterator[Packed | str]:
    """Each picture from `start` on, or what is wrong with it: made by threads, a few ahead, given in order."""

    def one(index: int) -> Packed | str:
        try:
            return packed(catalogue.content(index), parameters)
        except OSError as error:
            return str(error)

    with ThreadPoolExecutor(workers, thread_name_prefix="preparer") as pool:
        ahead: deque[Future[Packed | str]] = deque()
        for index in range(start, len(catalogue)):
            ahead.append(pool.submit(one, index))
            if len(ahead) > 4 * workers:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _too_many_damaged(catalogue: Catalogue, parameters: PrepareParameters, journal: Journal) -> InputError:
    lines = [f"  {catalogue.names[place]}: {reason}" for place, reason in journal.damaged.items()]
    more = f"\n  and {len(lines) - _SHOWN} more" if len(lines) > _SHOWN else ""
    return InputError(
        f"{catalogue.origin}: {len(lines)} pictures cannot be decoded, dataset.prepare.damaged_limit is "
        f"{parameters.damaged_limit}; replace them or fetch again, or raise the limit to leave them out:\n"
        + "\n".join(lines[:_SHOWN])
        + more
    )


def _write_index(
    catalogue: Catalogue, parameters: PrepareParameters, partial: Path, journal: Journal, identity: str
) -> None:
    """The index over the pictures that are whole."""
    lengths = torch.tensor(journal.lengths, dtype=torch.int64)
    whole = torch.nonzero(lengths >= 0).flatten()
    lengths = lengths[whole]
    sizes = torch.tensor(journal.sizes, dtype=torch.int64).reshape(-1, 2)[whole]
    originals = torch.tensor(journal.originals, dtype=torch.int64).reshape(-1, 2)[whole]
    mapped = MappedFile(partial / BYTES)
    store = PackedStore(
        pixels=mapped.bytes,
        file=mapped,
        spans=torch.stack([lengths.cumsum(0) - lengths, lengths], 1),
        sizes=sizes,
        labels=catalogue.labels[whole],
        class_names=catalogue.class_names,
        names=tuple(catalogue.names[i] for i in whole.tolist()),
        is_test=catalogue.is_test[whole],
        boxes=scaled_boxes(catalogue.boxes[whole], originals, sizes) if len(catalogue.boxes) else catalogue.boxes,
        encoding="raw" if parameters.encoding == "raw" else "jpeg",
        damaged=tuple(f"{catalogue.names[place]}: {reason}" for place, reason in journal.damaged.items()),
    )
    save_index(partial, store, {"origin": catalogue.origin, "identity": identity, **asdict(parameters)})


def scaled_boxes(boxes: Tensor, originals: Tensor, sizes: Tensor) -> Tensor:
    """Boxes (N, 4) XYXY of pictures of one size (N, 2; height, width) on the same pictures of another.

    Edges are rounded outwards and cut at the picture's; a box of -1 stays.
    """
    width_and_height = torch.cat([sizes.flip(1)] * 2, 1)
    low, high = boxes[:, :2] * sizes.flip(1), boxes[:, 2:] * sizes.flip(1)
    corners = torch.cat([low // originals.flip(1), -(-high // originals.flip(1))], 1)
    return torch.where(boxes < 0, boxes, corners.clamp(min=0).minimum(width_and_height))
