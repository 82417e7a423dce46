"""What was fetched is told without a path; what could not be is told all at once."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters
from cimbench.datasets.fetching.receipt import receipt
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.imagenet import ImageNetParameters
from cimbench.datasets.sources.image_folder import ImageFolderParameters


def parameters(folder: Path) -> ImageNetParameters:
    def archive(name: str) -> ArchiveParameters:
        return ArchiveParameters(mirrors=(str(folder / name),), manual=f"Download {name} and put it into {folder}.")

    return ImageNetParameters(train=archive("train.tar"), val=archive("val.tar"), devkit=archive("devkit.tar.gz"))


def test_all_that_is_absent_is_named_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "val.tar").write_bytes(b"val")
    with pytest.raises(InputError) as error:
        receipt(parameters(tmp_path), tmp_path / "archives", no_progress)
    for name, field in (("train.tar", "train"), ("devkit.tar.gz", "devkit")):
        assert f"{field}: " in str(error.value)
        assert f"Download {name} and put it into {tmp_path}." in str(error.value)
    assert "Download val.tar" not in str(error.value)


def test_names_sizes_and_checksums(tmp_path: Path) -> None:
    for name in ("train.tar", "val.tar", "devkit.tar.gz"):
        (tmp_path / name).write_bytes(name.encode())
    told = receipt(parameters(tmp_path), tmp_path / "archives", no_progress)
    digest = hashlib.sha256(b"val.tar").hexdigest()
    assert told["val"] == {"file": "val.tar", "bytes": 7, "checksum": f"sha256:{digest}"}
    assert list(told) == ["train", "val", "devkit"]
    assert str(tmp_path) not in str(told)


def test_a_folder_is_told_by_its_names_and_sizes(tmp_path: Path) -> None:
    pictures = tmp_path / "pictures"
    (pictures / "a").mkdir(parents=True)
    (pictures / "a/1.jpg").write_bytes(b"12345")
    given = ImageFolderParameters(folder=str(pictures))
    before = receipt(given, tmp_path, no_progress)
    assert before["folder"]["files"] == 1
    (pictures / "a/1.jpg").write_bytes(b"123456")
    assert receipt(given, tmp_path, no_progress) != before
