"""Tiny ImageNet from a zip of its original layout (Le and Yang, 2015), with its object boxes; val/ is the test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cimbench.datasets.archives import open_files
from cimbench.datasets.catalogue import Catalogue
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetch import Advance, ArchiveParameters, fetch_archive
from cimbench.datasets.files import Files


@dataclass(frozen=True, kw_only=True)
class TinyImageNetParameters:
    """The archive, and how many classes to take (the first of the sorted synset ids; None takes all)."""

    archive: ArchiveParameters
    classes: int | None = None


@dataclass(frozen=True)
class _Item:
    name: str  # path below the archive's folder
    label: int
    box: tuple[int, int, int, int]
    is_test: bool


def catalogue(parameters: TinyImageNetParameters, folder: Path, progress: Advance) -> Catalogue:
    """The train and val pictures with their boxes; InputError that lists every missing one."""
    archive = fetch_archive(parameters.archive, folder, progress)
    files = open_files(archive, folder, progress)
    place = files.without_top
    if "wnids.txt" not in place:
        raise InputError(f"{archive}: wnids.txt is missing, so this is not the layout of Tiny ImageNet; check it")
    wnids = sorted(files.read(place["wnids.txt"]).decode().split())
    if parameters.classes is not None and not 1 <= parameters.classes <= len(wnids):
        raise InputError(f"dataset.parameters.classes is {parameters.classes}; the archive has 1 to {len(wnids)}")
    wnids = wnids[: parameters.classes]
    items = _items(files, place, wnids)
    missing = [item.name for item in items if item.name not in place]
    if missing:
        names = "\n".join(f"  {name}" for name in missing)
        raise InputError(f"{archive}: {len(missing)} listed images are not there; fetch the archive again:\n{names}")
    text = files.read(place["words.txt"]).decode() if "words.txt" in place else ""
    words = dict(line.split("\t", 1) for line in text.splitlines() if "\t" in line)
    return Catalogue(
        origin=str(archive),
        version=parameters.archive.checksum or str(archive.stat().st_size),
        class_names=tuple(f"{wnid} {words.get(wnid, '')}".split(",")[0].strip() for wnid in wnids),
        names=tuple(item.name for item in items),
        labels=torch.tensor([item.label for item in items]),
        is_test=torch.tensor([item.is_test for item in items]),
        boxes=torch.tensor([item.box for item in items]),
        content=lambda index: files.read(place[items[index].name]),
    )


def _box(fields: list[str]) -> tuple[int, int, int, int]:
    """The files' inclusive corners as XYXY with exclusive ends."""
    x0, y0, x1, y1 = map(int, fields)
    return x0, y0, x1 + 1, y1 + 1


def _items(files: Files, place: dict[str, str], wnids: list[str]) -> list[_Item]:
    items: list[_Item] = []
    for label, wnid in enumerate(wnids):
        listing = f"train/{wnid}/{wnid}_boxes.txt"
        for name, *box in _rows(files, place, listing):
            items.append(_Item(f"train/{wnid}/images/{name}", label, _box(box), False))
    position = {wnid: label for label, wnid in enumerate(wnids)}
    for name, wnid, *box in _rows(files, place, "val/val_annotations.txt"):
        if wnid in position:
            items.append(_Item(f"val/images/{name}", position[wnid], _box(box), True))
    return items


def _rows(files: Files, place: dict[str, str], name: str) -> list[list[str]]:
    if name not in place:
        raise InputError(f"{files.origin}: {name} is missing; fetch the archive again")
    return [line.split("\t") for line in files.read(place[name]).decode().splitlines() if line.strip()]
