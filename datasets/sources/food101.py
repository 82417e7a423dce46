"""Food-101 in its official layout (Bossard et al., ECCV 2014): split by its own meta/train.txt and meta/test.txt."""

from __future__ import annotations

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
class Food101Parameters:
    """The archive."""

    archive: ArchiveParameters


def catalogue(parameters: Food101Parameters, folder: Path, progress: Advance) -> Catalogue:
    """All listed pictures; InputError that lists every missing one."""
    archive = fetch_archive(parameters.archive, folder, progress)
    files = open_files(archive, folder, progress)
    place = files.without_top
    listed = {part: _lines(files, place, f"meta/{part}.txt") for part in ("train", "test")}
    class_names = _lines(files, place, "meta/classes.txt")
    items = [(item, part == "test") for part, names in listed.items() for item in names]
    _check_items(items, class_names, place, archive)
    label = {name: number for number, name in enumerate(class_names)}
    return Catalogue(
        origin=str(archive),
        version=version_of(parameters.archive, archive),
        class_names=tuple(class_names),
        names=tuple(item for item, _ in items),
        labels=torch.tensor([label[item.partition("/")[0]] for item, _ in items]),
        is_test=torch.tensor([test for _, test in items]),
        content=lambda index: files.read(place[f"images/{items[index][0]}.jpg"]),
    )


def _lines(files: Files, place: dict[str, str], name: str) -> list[str]:
    if name not in place:
        raise InputError(f"{files.origin}: {name} is missing, so this is not the layout of Food-101; check the archive")
    return [line.strip() for line in files.text(place[name]).splitlines() if line.strip()]


def _check_items(items: list[tuple[str, bool]], class_names: list[str], place: dict[str, str], archive: Path) -> None:
    missing = [item for item, _ in items if f"images/{item}.jpg" not in place]
    if missing:
        names = "\n".join(f"  images/{item}.jpg" for item in missing)
        raise InputError(
            f"{archive}: {len(missing)} images named in meta/ are not there; fetch the archive again:\n{names}"
        )
    strange = sorted({item.partition("/")[0] for item, _ in items} - set(class_names))
    if strange:
        raise InputError(f"{archive}: meta/ uses classes that meta/classes.txt does not name: {', '.join(strange)}")
