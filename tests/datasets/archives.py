"""Small archives in the official layouts, with real JPEG files, for tests that have no shared data."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cimbench.datasets.fetching.fetch import ArchiveParameters
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.archives import open_files
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.sources import food101


def picture(seed: int, width: int = 40, height: int = 32, mode: str = "RGB", form: str = "JPEG") -> bytes:
    """An encoded picture: a smooth colour field that differs by seed."""
    rng = np.random.default_rng(seed)
    field = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((width, height)).convert(mode)
    file = io.BytesIO()
    field.save(file, form)
    return file.getvalue()


def food101_files(classes: int = 4, train: int = 5, test: int = 2) -> dict[str, bytes]:
    """Member names and contents in Food-101's layout."""
    names = [f"dish_{c}" for c in range(classes)]
    parts = {
        "train": [f"{name}/{100 + i}" for name in names for i in range(train)],
        "test": [f"{name}/{900 + i}" for name in names for i in range(test)],
    }
    files = {f"food-101/meta/{part}.txt": "\n".join(items).encode() for part, items in parts.items()}
    files["food-101/meta/classes.txt"] = "\n".join(names).encode()
    for number, item in enumerate(parts["train"] + parts["test"]):
        files[f"food-101/images/{item}.jpg"] = picture(number, 30 + number % 4, 26 + number % 3)
    return files


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    """A tar.gz of the files."""
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def food101_archive(folder: Path) -> Path:
    """A tar.gz in Food-101's layout."""
    return write_tar(folder / "food-101.tar.gz", food101_files())


def tiny_imagenet_archive(folder: Path, classes: int = 4) -> Path:
    """A zip in Tiny ImageNet's layout."""
    wnids = [f"n{90000000 + 7 * c:08d}" for c in range(classes)]
    root, annotations, number = "tiny-imagenet-200", [], 0
    path = folder / "tiny.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{root}/wnids.txt", "\n".join(reversed(wnids)))
        archive.writestr(f"{root}/words.txt", "".join(f"{w}\tthing {i}, other word\n" for i, w in enumerate(wnids)))
        for label, wnid in enumerate(wnids):
            rows = []
            for i in range(5):
                archive.writestr(f"{root}/train/{wnid}/images/{wnid}_{i}.JPEG", picture(number, 64, 64))
                rows.append(f"{wnid}_{i}.JPEG\t{label}\t{i}\t{40 + label}\t{50 + i}")
                number += 1
            archive.writestr(f"{root}/train/{wnid}/{wnid}_boxes.txt", "\n".join(rows) + "\n")
            for i in range(2):
                archive.writestr(f"{root}/val/images/val_{2 * label + i}.JPEG", picture(number, 64, 64, "L"))
                annotations.append(f"val_{2 * label + i}.JPEG\t{wnid}\t1\t2\t30\t40")
                number += 1
        archive.writestr(f"{root}/val/val_annotations.txt", "\n".join(annotations) + "\n")
    return path


def everything(path: Path) -> list[tuple[str, bytes]]:
    files = open_files(path, path.parent / "scratch")
    return [(name, files.read(name)) for name in files.names]


def prepared(catalogue: Catalogue, folder: Path, **how: Any) -> ImageStore:
    return prepare(catalogue, PrepareParameters(**how), folder / "data/stores/prepared", folder / "data/partial")


def food(path: Path, folder: Path, short_side: int | None = None) -> ImageStore:
    parameters = food101.Food101Parameters(archive=ArchiveParameters(mirrors=(str(path),)))
    return prepared(food101.catalogue(parameters, folder / "data/archives", no_progress), folder, short_side=short_side)
