"""Caltech-101 from its official zip, and from the tar in it; the split is drawn."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.sources.caltech101 import Caltech101Parameters
from cimbench.datasets.sources.caltech101 import catalogue as caltech101
from tests.datasets.archives import picture
from tests.datasets.ilsvrc import tar_bytes

CLASSES = ("Faces", "Faces_easy", "BACKGROUND_Google", "ant", "zebra")
FILES = {
    f"101_ObjectCategories/{name}/image_{number:04d}.jpg": picture(10 * place + number, 14, 12)
    for place, name in enumerate(CLASSES)
    for number in range(1, 7 + place)
} | {"101_ObjectCategories/BACKGROUND_Google/tmp": b"x"}


def of(path: Path, **how: Any) -> Catalogue:
    parameters = Caltech101Parameters(archive=ArchiveParameters(mirrors=(str(path),)), **how)
    return caltech101(parameters, path.parent / "archives", no_progress)


def tar(folder: Path, mode: str = "w") -> Path:
    path = folder / f"caltech.tar{mode[1:].replace(':', '.')}"
    path.write_bytes(tar_bytes(FILES, mode))
    return path


def official(folder: Path) -> Path:
    """A zip with the pictures in a tar.gz, and what macOS left in it."""
    with zipfile.ZipFile(folder / "caltech-101.zip", "w") as archive:
        archive.writestr("__MACOSX/caltech-101/._101_ObjectCategories.tar.gz", b"Mac OS X")
        archive.writestr("caltech-101/101_ObjectCategories.tar.gz", tar_bytes(FILES, "w:gz"))
        archive.writestr("caltech-101/Annotations.tar", tar_bytes({"x": b""}))
    return folder / "caltech-101.zip"


def test_the_split_is_drawn_and_the_background_is_no_class(tmp_path: Path) -> None:
    found = of(tar(tmp_path), train_per_class=4, test_per_class=3)
    assert found.class_names == ("Faces", "Faces_easy", "ant", "zebra")
    assert found.labels[~found.is_test].bincount().tolist() == [4, 4, 4, 4]
    assert found.labels[found.is_test].bincount().tolist() == [2, 3, 3, 3]  # Faces has six in all
    assert found.is_test.tolist() == sorted(found.is_test.tolist())
    for place, name in enumerate(found.names):
        assert found.class_names[int(found.labels[place])] == name.split("/")[1]
        assert found.content(place) == FILES[name]
    again = of(tar(tmp_path), train_per_class=4, test_per_class=3)
    assert again.names == found.names
    other = of(tar(tmp_path), train_per_class=4, test_per_class=3, seed=1)
    assert other.names != found.names
    less = of(tar(tmp_path), train_per_class=4, test_per_class=3, leave_out=("Faces_easy",))
    assert less.names == tuple(name for name in found.names if "Faces_easy" not in name)  # the others' draw stays


def test_zip_and_tars_are_the_same_data(tmp_path: Path) -> None:
    digests = set()
    for number, path in enumerate((tar(tmp_path), tar(tmp_path, "w:gz"), tar(tmp_path, "w:xz"), official(tmp_path))):
        store = prepare(of(path, train_per_class=4), PrepareParameters(), tmp_path / f"s{number}", tmp_path / "partial")
        digests.add(store.digest)
    assert len(digests) == 1


def test_another_inner_archive_of_the_same_size_is_not_the_old_one(tmp_path: Path) -> None:
    """What is unpacked on the way is written again."""
    before = of(official(tmp_path), train_per_class=4).content(0)
    path = tmp_path / "caltech-101.zip"
    changed = {name: content[:-3] + b"\0" + content[-2:] for name, content in FILES.items()}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("caltech-101/101_ObjectCategories.tar.gz", tar_bytes(changed, "w:gz"))
    assert of(path, train_per_class=4).content(0) != before


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"train_per_class": 6}, "train_per_class is 6, which leaves none for testing in Faces; give less"),
        ({"leave_out": ("Face",)}, "leave_out names Face; .*has no such class"),
        ({"train_per_class": 0}, "train_per_class is 0; give 1 or more"),
        ({"test_per_class": 0}, "test_per_class is 0; give 1 or more"),
    ],
)
def test_bad_parameters_are_told(how: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        of(tar(tmp_path), **how)


def test_another_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar_bytes({"a/b.jpg": b""}))
    with pytest.raises(InputError, match="there is no folder 101_ObjectCategories"):
        of(tmp_path / "x.tar")


@pytest.mark.shared_data
def test_the_real_archive(shared_data: Path) -> None:
    found = of(shared_data / "caltech-101-small.tar", test_per_class=20)
    assert len(found.class_names) == 101
    assert found.labels[~found.is_test].bincount().tolist() == [30] * 101
    assert int(found.labels[found.is_test].bincount().min()) == 1  # inline_skate has 31 pictures
    with tarfile.open(shared_data / "caltech-101-small.tar") as archive:
        for place in range(0, len(found), 500):
            member = archive.extractfile(found.names[place])
            assert member is not None
            assert member.read() == found.content(place)
