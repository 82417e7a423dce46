"""Food-101 in its official layout (Bossard et al., ECCV 2014): split by its own meta/train.txt and meta/test.txt."""

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
class Food101Parameters:
    """The archive, and the short side in pixels to which pictures are reduced (None keeps the originals)."""

    archive: ArchiveParameters
    short_side: int | None = None


def prepare(parameters: Food101Parameters, folder: Path, progress: Advance) -> ImageStore:
    """All listed pictures; InputError that lists every missing or broken one."""
    archive = fetch_archive(parameters.archive, folder, progress)
    files = {name.partition("/")[2]: content for name, content in archive_files(archive)}
    listed = {part: _lines(files, f"meta/{part}.txt", archive) for part in ("train", "test")}
    class_names = _lines(files, "meta/classes.txt", archive)
    items = [(item, part == "test") for part, names in listed.items() for item in names]
    _check_items(items, class_names, files, archive)
    done = 0

    def advance() -> None:
        nonlocal done
        done += 1
        progress(done, len(items))

    pictures = ((f"images/{item}.jpg", files[f"images/{item}.jpg"]) for item, _ in items)
    images = decode_all(pictures, str(archive), parameters.short_side, advance)
    return ImageStore.from_images(
        images,
        [class_names.index(item.partition("/")[0]) for item, _ in items],
        class_names=tuple(class_names),
        names=tuple(item for item, _ in items),
        is_test=torch.tensor([test for _, test in items]),
    )


def _lines(files: dict[str, bytes], name: str, archive: Path) -> list[str]:
    if name not in files:
        raise InputError(f"{archive}: {name} is missing, so this is not the layout of Food-101; check the archive")
    return files[name].decode().split()


def _check_items(items: list[tuple[str, bool]], class_names: list[str], files: dict[str, bytes], archive: Path) -> None:
    missing = [item for item, _ in items if f"images/{item}.jpg" not in files]
    if missing:
        names = "\n".join(f"  images/{item}.jpg" for item in missing)
        raise InputError(
            f"{archive}: {len(missing)} images named in meta/ are not there; fetch the archive again:\n{names}"
        )
    strange = sorted({item.partition("/")[0] for item, _ in items} - set(class_names))
    if strange:
        raise InputError(f"{archive}: meta/ uses classes that meta/classes.txt does not name: {', '.join(strange)}")
