"""Caltech-101 (Fei-Fei, Fergus, Perona, 2004): no official split, so one is drawn: 30 training pictures a class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError, check_at_least
from cimbench.datasets.fetching.fetch import ArchiveParameters, fetch_archive
from cimbench.datasets.progress import Advance
from cimbench.datasets.randomness import generator
from cimbench.datasets.reading.archives import UNPACKED, open_files, version_of
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.class_folders import catalogue_of, class_folders
from cimbench.datasets.reading.files import Files

_FOLDER = "101_ObjectCategories"
_BACKGROUND = "BACKGROUND_Google"  # no class of the 101


@dataclass(frozen=True, kw_only=True)
class Caltech101Parameters:
    """archive: the official zip, or the tar in it. train_per_class: drawn by `seed`; the others are for testing, at
    most test_per_class of them. leave_out: classes; Faces_easy shows the pictures of Faces again, cropped.
    """

    archive: ArchiveParameters
    train_per_class: int = 30
    test_per_class: int | None = None
    leave_out: tuple[str, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least("dataset.parameters.train_per_class", self.train_per_class, 1)
        if self.test_per_class is not None:
            check_at_least("dataset.parameters.test_per_class", self.test_per_class, 1)


def catalogue(parameters: Caltech101Parameters, folder: Path, progress: Advance) -> Catalogue:
    """The drawn pictures of every class, training pictures first."""
    archive = fetch_archive(parameters.archive, folder, progress)
    files = _pictures(open_files(archive, folder, progress), folder, progress)
    classes = class_folders(files, _FOLDER)
    unknown = [name for name in parameters.leave_out if name not in classes]
    if unknown:
        raise InputError(f"dataset.parameters.leave_out names {', '.join(unknown)}; {archive} has no such class")
    kept = {name: found for name, found in classes.items() if name not in (_BACKGROUND, *parameters.leave_out)}
    few = [name for name, found in kept.items() if len(found) <= parameters.train_per_class]
    if few:
        raise InputError(
            f"dataset.parameters.train_per_class is {parameters.train_per_class}, which leaves none for testing in "
            f"{', '.join(few[:10])}; give less, or leave these classes out"
        )
    items = []
    for label, (name, pictures) in enumerate(kept.items()):
        order = torch.randperm(len(pictures), generator=generator(parameters.seed, "training pictures", name)).tolist()
        last = None if parameters.test_per_class is None else parameters.train_per_class + parameters.test_per_class
        for test, chosen in (
            (False, order[: parameters.train_per_class]),
            (True, order[parameters.train_per_class : last]),
        ):
            items += [(pictures[place], label, test) for place in sorted(chosen)]
    items.sort(key=lambda item: item[2])
    return catalogue_of(files, tuple(kept), items, version_of(parameters.archive, archive))


def _pictures(files: Files, folder: Path, progress: Advance) -> Files:
    """The pictures' own files: in the official zip they are in a tar.gz."""
    inner = [name for name in files.names if name.rpartition("/")[2] == f"{_FOLDER}.tar.gz"]
    if not inner:
        return files
    content = files.read(inner[0])
    unpacked = folder / UNPACKED / f"{files.origin.stem}-{_FOLDER}.tar.gz"
    write_atomically(unpacked, lambda file: file.write(content))
    return open_files(unpacked, folder, progress)
