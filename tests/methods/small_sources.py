"""Small data of every source, catalogued by the source itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cimbench.benchmarks.registry import SOURCES
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from tests.conftest import tiny_suite
from tests.datasets.archives import food101_archive, picture, tiny_imagenet_archive, write_tar

# ImageNet's lists are defined by all thousand classes: tests/datasets/ has them
SMALL_SOURCES = ("cluttered_digits", *sorted(s for s in SOURCES if s != "cluttered_digits" and "imagenet1" not in s))


def folders_archive(folder: Path) -> Path:
    """A tar.gz of class folders, as Caltech-101 has them."""
    root = "101_ObjectCategories"
    files = {f"{root}/class {c}/image_{n:04d}.jpg": picture(10 * c + n) for c in range(4) for n in range(7)}
    return write_tar(folder / "folders.tar.gz", files)


def source_store(source: str, folder: Path) -> ImageStore:
    """A small store that the source itself catalogued."""
    archive = {"food101": food101_archive, "tiny_imagenet": tiny_imagenet_archive}
    own: dict[str, dict[str, Any]] = {
        "caltech101": {"train_per_class": 5},
        "image_folder": {"train": None, "test": None},
    }
    if source == "cluttered_digits":
        small = {"side": 32, "digit_side": [12, 16], "fragments": 1, "fragment_side": [4, 6]}
        parameters = {**small, "background_contrast": 0.2, "train_per_class": 4, "test_per_class": 2, "seed": 0}
    else:
        made = archive.get(source, folders_archive)(folder)
        parameters = {"archive": {"mirrors": [str(made)]}, **own.get(source, {})}
    suite = tiny_suite(dataset={"source": source, "parameters": parameters})
    catalogue, checked = suite.dataset.build_source()
    return prepare(catalogue(checked, folder, no_progress), PrepareParameters(), folder / "prepared", folder)
