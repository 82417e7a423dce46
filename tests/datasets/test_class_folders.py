"""Class folders in a folder, a tar and a zip: the same data, whatever the names, and every odd folder is told."""

from __future__ import annotations

import random
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.class_folders import drawn
from cimbench.datasets.sources.image_folder import ImageFolderParameters
from cimbench.datasets.sources.image_folder import catalogue as image_folder
from cimbench.datasets.stream.split import ProtocolParameters, load_split, make_split, save_split
from tests.datasets.archives import picture

PARTS = {
    f"{part}/{name}/{number:02d}{suffix}": picture(5 * i + number, 12 + i, 11 + number)
    for part, count in (("train", 5), ("val", 2))
    for i, name in enumerate(("zebra", "ant", "cat"))
    for number, suffix in zip(range(count), (".jpg", ".JPEG", ".jpeg", ".Jpg", ".jfif"), strict=False)
}
FLAT = {name.partition("/")[2].replace("/", "/v" if name[0] == "v" else "/t"): c for name, c in PARTS.items()}
JUNK = {
    "readme.txt": b"x",
    "train/.DS_Store": b"x",
    "train/ant/Thumbs.db": b"x",
    "train/ant/._00.jpg": b"x",
    ".git/train/ant/00.jpg": b"x",
    "train/.hidden/00.jpg": b"x",
    "train/ant/paper.pdf": b"%PDF",
    "__MACOSX/train/ant/00.jpg": b"x",
}


def folder_of(files: dict[str, bytes], root: Path, seed: int = 0) -> Path:
    """Written in an order of its own."""
    for name in random.Random(seed).sample(list(files), len(files)):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(files[name])
    return root


def tar_of(root: Path, path: Path, top: str) -> Path:
    mode: Any = "w:gz" if path.name.endswith("gz") else "w"
    with tarfile.open(path, mode) as archive:
        archive.add(root, top or ".")
    return path


def zip_of(root: Path, path: Path, top: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(root.rglob("*"), key=lambda file: file.name):
            archive.write(file, Path(top) / file.relative_to(root))
    return path


def from_folder(root: Path, **how: Any) -> Catalogue:
    return image_folder(ImageFolderParameters(folder=str(root), **how), root.parent / "archives", no_progress)


def from_archive(path: Path, **how: Any) -> Catalogue:
    parameters = ImageFolderParameters(archive=ArchiveParameters(mirrors=(str(path),)), **how)
    return image_folder(parameters, path.parent / "archives", no_progress)


@pytest.mark.parametrize("own_parts", [True, False])
def test_folder_tar_and_zip_are_the_same_data(own_parts: bool, tmp_path: Path) -> None:
    """With and without a folder at the top, in any order of members, with what systems leave among them."""
    how: dict[str, Any] = {} if own_parts else {"train": None, "test": None, "test_share": 0.3}
    files = PARTS if own_parts else FLAT
    junk = JUNK if own_parts else {name.replace("train/", ""): content for name, content in JUNK.items()}
    one = folder_of(files, tmp_path / "one", 1)
    two = folder_of(files | junk, tmp_path / "two", 2)
    found = [from_folder(one, **how), from_folder(two, **how)]
    for number, top in enumerate(("", "top", "other top")):
        found.append(from_archive(tar_of(two, tmp_path / f"{number}.tar", top), **how))
        found.append(from_archive(tar_of(one, tmp_path / f"{number}.tgz", top), **how))
        found.append(from_archive(zip_of(two, tmp_path / f"{number}.zip", top), **how))
    stores = [
        prepare(each, PrepareParameters(), tmp_path / f"s{n}", tmp_path / "partial", workers=1 + n % 3)
        for n, each in enumerate(found)
    ]
    assert {store.class_names for store in stores} == {("ant", "cat", "zebra")}
    assert len({store.names for store in stores}) == 1
    assert len({store.digest for store in stores}) == 1
    assert len({(tmp_path / f"s{n}/images.bin").read_bytes() for n in range(len(stores))}) == 1
    if own_parts:
        assert stores[0].names[:2] == ("train/ant/00.jpg", "train/ant/01.JPEG")
        assert stores[0].is_test.tolist() == [False] * 15 + [True] * 6
        assert stores[0].labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5 + [0, 0, 1, 1, 2, 2]
    else:
        assert stores[0].names[0].startswith("ant/")
        assert stores[0].labels[stores[0].is_test].tolist() == [0, 0, 1, 1, 2, 2]  # 0.3 of seven


UNUSUAL = [
    "line\nend",
    "'single' \"double\"",
    "back\\slash",
    "bytes \udcff\udcfe",
    "caf\u00e9 e\u0301",
    "\U0001f9ea\U0001f431",
    "a:b",
    "-rf *",
    "$HOME `id`",
    " spaces ",
    "x" * 240,
]


@pytest.mark.parametrize("packing", ["folder", "tar", "zip"])
def test_unusual_names_come_through_to_the_split_and_back(packing: str, tmp_path: Path) -> None:
    names = [name for name in UNUSUAL if packing != "zip" or "\udcff" not in name]
    files = {f"{name}/{other}.jpg": picture(i) for name in names for i, other in enumerate(names)}
    root = folder_of(files, tmp_path / "root")
    how: dict[str, Any] = {"train": None, "test": None}
    if packing == "folder":
        found = from_folder(root, **how)
    else:
        packer = tar_of if packing == "tar" else zip_of
        found = from_archive(packer(root, tmp_path / f"x.{packing}", "top"), **how)
    store = prepare(found, PrepareParameters(), tmp_path / "s", tmp_path / "partial")
    assert sorted(store.names) == sorted(files)
    assert list(store.class_names) == sorted(names)
    assert all(
        store.class_names[int(label)] == n.split("/")[0] for n, label in zip(store.names, store.labels, strict=True)
    )
    protocol = ProtocolParameters(name="lfs", phases=3, validation_share=0.2)
    split = make_split(store, protocol, 1)
    save_split(split, store, tmp_path / "split.json")
    assert load_split(tmp_path / "split.json", store, protocol, 1) == split


def test_names_are_shown_on_one_line(tmp_path: Path) -> None:
    root = folder_of({f"{name}/a.jpg": b"broken" for name in UNUSUAL[:4]}, tmp_path / "root")
    folder_of({f"{name}/b.jpg": b"broken" for name in UNUSUAL[:4]}, root)
    found = from_folder(root, train=None, test=None)
    with pytest.raises(InputError) as error:
        prepare(found, PrepareParameters(), tmp_path / "s", tmp_path / "partial")
    str(error.value).encode()  # what is no text is escaped
    assert len(str(error.value).splitlines()) == 1 + 8


def without(part: str) -> dict[str, bytes]:
    return {name: content for name, content in PARTS.items() if not name.startswith(part)}


ODD: dict[str, tuple[dict[str, bytes], dict[str, Any], str]] = {
    "no val": (without("val"), {}, r"there is no folder val; check dataset.parameters.train and test"),
    "empty class": (
        without("train/ant/") | {"train/ant/a.txt": b""},
        {},
        r"no pictures in 1 class folders of train: ant",
    ),
    "other classes": (without("val/ant/") | {"val/bee/1.jpg": b"x"}, {}, r"only in train: ant; only in test: bee"),
    "no classes": ({"train/a.jpg": b"x", "val/a.jpg": b"x"}, {}, r"there are no class folders in train; give each"),
    "two trains": (
        {f"{top}/{name}": content for top in "ab" for name, content in PARTS.items()},
        {},
        r"2 folders are called train: a/train, b/train; name it with more of its path",
    ),
    "one picture": (
        {"ant/1.jpg": b"x", "bee/1.jpg": b"x", "bee/2.jpg": b"x"},
        {"train": None, "test": None},
        r"one picture cannot be split into training and test: ant",
    ),
    "twice": (PARTS, {"test": "train"}, r"pictures are there or listed twice: train/ant/00.jpg"),
    "nothing": ({"a.txt": b"x"}, {"train": None, "test": None}, r"there are no class folders in it"),
}


@pytest.mark.parametrize(("files", "how", "words"), ODD.values(), ids=ODD.keys())
def test_odd_folders_are_told(files: dict[str, bytes], how: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=words):
        from_folder(folder_of(files, tmp_path / "root"), **how)


def test_a_part_may_be_named_by_its_path(tmp_path: Path) -> None:
    root = folder_of({f"{top}/{name}": c for top in ("a", "b/c") for name, c in PARTS.items()}, tmp_path / "root")
    found = from_folder(root, train="c/train", test="c/val")
    assert found.names[0] == "c/train/ant/00.jpg"
    assert len(found) == len(PARTS)


def test_an_empty_class_folder_in_an_archive_is_told(tmp_path: Path) -> None:
    root = folder_of(PARTS, tmp_path / "root")
    (root / "train/empty").mkdir()
    for path in (tar_of(root, tmp_path / "x.tar", "top"), zip_of(root, tmp_path / "x.zip", "top")):
        with pytest.raises(InputError, match=r"no pictures in 1 class folders of top/train: empty"):
            from_archive(path)


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    root = folder_of(PARTS, tmp_path / "root")
    elsewhere = shutil.move(root / "train/ant", tmp_path / "elsewhere")
    (root / "train/ant").symlink_to(elsewhere)
    assert from_folder(root).names[0] == "train/ant/00.jpg"
    (root / "train/cat/round").symlink_to(root)
    with pytest.raises(InputError, match=r"train/cat/round is a link to a folder above it; remove it"):
        from_folder(root)
    (root / "train/cat/round").unlink()
    (root / "train/cat/nowhere.jpg").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"train/cat/nowhere.jpg cannot be read \(No such file or directory\)"):
        from_folder(root)


def test_a_file_that_went_since_is_told(tmp_path: Path) -> None:
    found = from_folder(folder_of(PARTS, tmp_path / "root"))
    (tmp_path / "root/train/ant/00.jpg").unlink()
    with pytest.raises(
        InputError, match=r"train/ant/00.jpg cannot be read \(No such file or directory\); check the file"
    ):
        prepare(found, PrepareParameters(damaged_limit=9), tmp_path / "s", tmp_path / "partial")


@pytest.mark.parametrize("count", [2, 3, 7, 100])
@pytest.mark.parametrize("share", [0.01, 0.2, 0.99])
def test_a_share_is_drawn(count: int, share: float) -> None:
    first = drawn(count, share, 1, "ant")
    assert int(first.sum()) == min(max(1, round(share * count)), count - 1)
    assert torch.equal(first, drawn(count, share, 1, "ant"))
    if count == 100 and share == 0.2:
        assert not torch.equal(first, drawn(count, share, 2, "ant"))
        assert not torch.equal(first, drawn(count, share, 1, "bee"))
