"""Tiny ImageNet from a zip of its original layout (Le and Yang, 2015), with its object boxes; val/ is the test set."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from cimbench.datasets.archives import archive_files
from cimbench.datasets.decode import decode_all
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetch import Advance, ArchiveParameters, fetch_archive
from cimbench.datasets.image_store import ImageStore


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


def prepare(parameters: TinyImageNetParameters, folder: Path, progress: Advance) -> ImageStore:
    """The train and val pictures with their boxes; InputError that lists every missing or broken one."""
    archive = fetch_archive(parameters.archive, folder, progress)
    files = {name.partition("/")[2]: content for name, content in archive_files(archive)}
    if "wnids.txt" not in files:
        raise InputError(f"{archive}: wnids.txt is missing, so this is not the layout of Tiny ImageNet; check it")
    wnids = sorted(files["wnids.txt"].decode().split())
    if parameters.classes is not None and not 1 <= parameters.classes <= len(wnids):
        raise InputError(f"dataset.parameters.classes is {parameters.classes}; the archive has 1 to {len(wnids)}")
    wnids = wnids[: parameters.classes]
    items = _items(files, wnids, archive)
    missing = [item.name for item in items if item.name not in files]
    if missing:
        names = "\n".join(f"  {name}" for name in missing)
        raise InputError(f"{archive}: {len(missing)} listed images are not there; fetch the archive again:\n{names}")
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, len(items))

    images = decode_all(((item.name, files[item.name]) for item in items), str(archive), None, advance)
    words = dict(line.split("\t", 1) for line in files.get("words.txt", b"").decode().splitlines() if "\t" in line)
    return ImageStore.from_images(
        images,
        [item.label for item in items],
        class_names=tuple(f"{wnid} {words.get(wnid, '')}".split(",")[0].strip() for wnid in wnids),
        names=tuple(item.name for item in items),
        is_test=torch.tensor([item.is_test for item in items]),
        boxes=torch.tensor([item.box for item in items]),
    )


def _box(fields: list[str]) -> tuple[int, int, int, int]:
    """The files' inclusive corners as XYXY with exclusive ends."""
    x0, y0, x1, y1 = map(int, fields)
    return x0, y0, x1 + 1, y1 + 1


def _items(files: dict[str, bytes], wnids: list[str], archive: Path) -> list[_Item]:
    items: list[_Item] = []
    for label, wnid in enumerate(wnids):
        listing = f"train/{wnid}/{wnid}_boxes.txt"
        for name, *box in _rows(files, listing, archive):
            items.append(_Item(f"train/{wnid}/images/{name}", label, _box(box), False))
    position = {wnid: label for label, wnid in enumerate(wnids)}
    for name, wnid, *box in _rows(files, "val/val_annotations.txt", archive):
        if wnid in position:
            items.append(_Item(f"val/images/{name}", position[wnid], _box(box), True))
    return items


def _rows(files: dict[str, bytes], name: str, archive: Path) -> list[list[str]]:
    if name not in files:
        raise InputError(f"{archive}: {name} is missing; fetch the archive again")
    return [line.split("\t") for line in files[name].decode().splitlines() if line.strip()]
