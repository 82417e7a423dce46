"""A catalogue says what is wrong with a data set before a picture is decoded, for a million as for ten."""

from __future__ import annotations

import hashlib
import resource
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.files import FolderFiles, is_hidden, with_parents
from tests.datasets.prepared import catalogue, pictures


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"class_names": ("a", "a")}, r"here: two classes are called a; give each a name of its own"),
        ({"names": ("p", "q\n") * 6}, r"here: pictures are there or listed twice: p, 'q\\n'; leave one of each out"),
        ({"is_test": torch.zeros(12, dtype=torch.bool)}, r"here: no test pictures for 2 classes: a, b; add some"),
        ({"is_test": torch.arange(12) % 2 == 0}, r"here: no training pictures for 1 classes: a; add some, or leave"),
        ({"class_names": ("a", "b", "c")}, r"here: no training pictures for 1 classes: c"),
        ({"class_names": tuple("abcdefghijklmnop")}, r"for 14 classes: c, d, e, f, g, h, i, j, k, l, \.\.\.; add some"),
    ],
)
def test_what_is_wrong_is_told(change: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        catalogue(pictures(), **change)


@pytest.mark.parametrize("change", [{"labels": torch.arange(12)}, {"names": ("a",)}, {"boxes": torch.zeros(3, 4)}])
def test_a_source_that_is_wrong_is_told(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="give"):
        catalogue(pictures(), **change)


def test_names_are_printable_as_they_are_or_escaped() -> None:
    assert printable("caf\u00e9 \U0001f431 'x'") == "caf\u00e9 \U0001f431 'x'"
    assert printable("a\nb") == "'a\\nb'"
    assert printable("\udcff") == "'\\udcff'"


def test_folders_with_all_above_them() -> None:
    assert with_parents(["a/b/c", "d"], ["e/f/g.jpg", "h.jpg"]) == {"a", "a/b", "a/b/c", "d", "e", "e/f"}


def test_hidden_names() -> None:
    for name in (".a", "a/.b/c", "__MACOSX", "__MACOSX/a"):
        assert is_hidden(name)
    for name in ("a.b", "a/b.c/d.jpg", "a/__MACOSX", "a./b"):
        assert not is_hidden(name)


def test_a_million_names_take_little_memory() -> None:
    """As many as ImageNet has: a loop over all pairs would never end."""
    names = tuple(f"train/n{c:08d}/n{c:08d}_{i}.JPEG" for c in range(1000) for i in range(1300))
    numbers = torch.arange(len(names))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert len(with_parents((), names)) == 1001
    made = Catalogue(
        origin="here",
        class_names=tuple(str(c) for c in range(1000)),
        names=names,
        labels=numbers // 1300,
        is_test=numbers % 26 == 0,
        content=lambda _: b"",
    )
    assert len(made) == 1_300_000
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400_000  # kB


def test_a_folder_of_many_files_is_listed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part in range(10):
        (tmp_path / f"{part}").mkdir()
        for number in range(100):
            (tmp_path / f"{part}/{number}").write_bytes(bytes(number))
    files = FolderFiles(tmp_path)
    assert len(files.names) == 1000
    assert list(files.names) == sorted(files.names)
    monkeypatch.setattr(Path, "stat", None)  # sizes are known from the listing
    assert files.size("3/99") == 99
    listing = "".join(f"{name}\0{name.partition('/')[2]}\0" for name in files.names)
    assert files.listing_digest == hashlib.sha256(listing.encode()).hexdigest()
