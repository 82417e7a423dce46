"""Tiny ImageNet from a zip of its original layout (Le and Yang, 2015), with its object boxes; val/ is the test set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters, fetch_archive
from cimbench.datasets.progress import Advance
from cimbench.datasets.reading.archives import open_files, version_of
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.files import Files


@dataclass(frozen=True, kw_only=True)
class TinyImageNetParameters:
    """The archive, and how many classes to take (the first of the sorted synset ids; None takes all)."""

    archive: ArchiveParameters
    classes: int | None = None


Box = tuple[int, int, int, int]


@dataclass(frozen=True)
class _Item:
    name: str  # path below the archive's folder
    label: int
    box: Box
    is_test: bool


def catalogue(parameters: TinyImageNetParameters, folder: Path, progress: Advance) -> Catalogue:
    """The train and val pictures with their boxes; InputError that lists every missing one."""
    archive = fetch_archive(parameters.archive, folder, progress)
    files = open_files(archive, folder, progress)
    place = files.without_top
    if "wnids.txt" not in place:
        raise InputError(f"{archive}: wnids.txt is missing, so this is not the layout of Tiny ImageNet; check it")
    wnids = sorted(files.text(place["wnids.txt"]).split())
    if parameters.classes is not None and not 1 <= parameters.classes <= len(wnids):
        raise InputError(f"dataset.parameters.classes is {parameters.classes}; the archive has 1 to {len(wnids)}")
    wnids = wnids[: parameters.classes]
    items = _items(files, place, wnids)
    missing = [item.name for item in items if item.name not in place]
    if missing:
        names = "\n".join(f"  {name}" for name in missing)
        raise InputError(f"{archive}: {len(missing)} listed images are not there; fetch the archive again:\n{names}")
    text = files.text(place["words.txt"]) if "words.txt" in place else ""
    words = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return Catalogue(
        origin=str(archive),
        version=version_of(parameters.archive, archive),
        class_names=tuple(f"{wnid} {words.get(wnid, '')}".split(",")[0].strip() for wnid in wnids),
        names=tuple(item.name for item in items),
        labels=torch.tensor([item.label for item in items]),
        is_test=torch.tensor([item.is_test for item in items]),
        boxes=torch.tensor([item.box for item in items]),
        content=lambda index: files.read(place[items[index].name]),
    )


def _items(files: Files, place: dict[str, str], wnids: list[str]) -> list[_Item]:
    items: list[_Item] = []
    for label, wnid in enumerate(wnids):
        for (name,), box in _rows(files, place, f"train/{wnid}/{wnid}_boxes.txt", 1):
            items.append(_Item(f"train/{wnid}/images/{name}", label, box, False))
    position = {wnid: label for label, wnid in enumerate(wnids)}
    for (name, wnid), box in _rows(files, place, "val/val_annotations.txt", 2):
        if wnid in position:
            items.append(_Item(f"val/images/{name}", position[wnid], box, True))
    return items


def _rows(files: Files, place: dict[str, str], name: str, words: int) -> Iterator[tuple[list[str], Box]]:
    """Of each line the words before the box, and the box: the file's inclusive corners as XYXY with exclusive ends."""
    if name not in place:
        raise InputError(f"{files.origin}: {name} is missing; fetch the archive again")
    for number, line in enumerate(files.text(place[name]).splitlines()):
        if not line.strip():
            continue
        before, corners = line.split("\t")[:words], line.split("\t")[words:]
        try:
            x0, y0, x1, y1 = map(int, corners)
        except ValueError as error:
            raise InputError(
                f"{files.origin}: {name}, line {number + 1} is {line!r}; it should end with four whole numbers: "
                "get the archive from its official source"
            ) from error
        yield before, (x0, y0, x1 + 1, y1 + 1)
