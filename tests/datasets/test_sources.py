"""Food-101 and Tiny ImageNet from archives of their official layouts: made here, and those of the shared data."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.decode import decode_rgb
from cimbench.datasets.progress import no_progress
from cimbench.datasets.sources import tiny_imagenet
from tests.datasets.archives import (
    food,
    food101_archive,
    food101_files,
    picture,
    prepared,
    tiny_imagenet_archive,
    write_tar,
)


def tiny(path: Path, folder: Path, classes: int | None = None) -> ImageStore:
    parameters = tiny_imagenet.TinyImageNetParameters(archive=ArchiveParameters(mirrors=(str(path),)), classes=classes)
    return prepared(tiny_imagenet.catalogue(parameters, folder / "data/archives", no_progress), folder)


def test_food101_layout(tmp_path: Path) -> None:
    store = food(food101_archive(tmp_path), tmp_path)
    assert store.labels.bincount().tolist() == [7, 7, 7, 7]
    assert int(store.is_test.sum()) == 8
    assert store.class_names == ("dish_0", "dish_1", "dish_2", "dish_3")
    assert store.names[0] == "dish_0/100"
    expected = decode_rgb(food101_files()["food-101/images/dish_0/100.jpg"])
    assert torch.equal(store.image(0), expected)
    assert store.uniform_size is None


def test_short_side_reduces_and_never_enlarges(tmp_path: Path) -> None:
    path = food101_archive(tmp_path)
    assert food(path, tmp_path, 20).sizes.amin(1).tolist() == [20] * 28
    assert torch.equal(food(path, tmp_path, 100).sizes, food(path, tmp_path).sizes)


def test_every_bad_picture_is_listed_at_once(tmp_path: Path) -> None:
    files = food101_files()
    files["food-101/images/dish_0/100.jpg"] = b"<html>not a picture</html>"
    files["food-101/images/dish_1/100.jpg"] = b""
    half = files["food-101/images/dish_2/900.jpg"]
    files["food-101/images/dish_2/900.jpg"] = half[: len(half) // 2]
    files["food-101/images/dish_3/100.jpg"] = picture(1, mode="L")
    files["food-101/images/dish_3/101.jpg"] = picture(1, mode="CMYK")
    files["food-101/images/dish_3/102.jpg"] = picture(1, form="PNG")
    with pytest.raises(InputError, match="3 pictures cannot be decoded") as error:
        food(write_tar(tmp_path / "bad.tar.gz", files), tmp_path)
    for name in ("dish_0/100", "dish_1/100", "dish_2/900"):
        assert f"  {name}: " in str(error.value)
    assert "dish_3" not in str(error.value)


def test_every_missing_picture_is_listed(tmp_path: Path) -> None:
    files = food101_files()
    del files["food-101/images/dish_0/100.jpg"], files["food-101/images/dish_1/901.jpg"]
    with pytest.raises(InputError, match=r"(?s)2 images named in meta/ are not there.*dish_0/100.*dish_1/901"):
        food(write_tar(tmp_path / "missing.tar.gz", files), tmp_path)


def test_another_layout_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"meta/train.txt is missing, so this is not the layout of Food-101"):
        food(write_tar(tmp_path / "other.tar.gz", {"x/readme": b"hello"}), tmp_path)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("x/readme", "hello")
    with pytest.raises(InputError, match="not the layout of Tiny ImageNet"):
        tiny(tmp_path / "other.zip", tmp_path)


@pytest.mark.parametrize("mode", ["L", "CMYK", "P", "RGBA", "1"])
def test_any_colour_model_becomes_rgb(mode: str) -> None:
    form = "JPEG" if mode in ("L", "CMYK") else "PNG"
    decoded = decode_rgb(picture(3, mode=mode, form=form))
    assert decoded.shape == (3, 32, 40)
    assert decoded.dtype == torch.uint8


def test_tiny_imagenet_layout_and_boxes(tmp_path: Path) -> None:
    store = tiny(tiny_imagenet_archive(tmp_path), tmp_path)
    assert store.uniform_size == (64, 64)
    assert store.labels.bincount().tolist() == [7, 7, 7, 7]
    assert int(store.is_test.sum()) == 8
    assert store.class_names[0] == "n90000000 thing 0"  # sorted ids, though the list is not
    first = store.names.index("train/n90000007/images/n90000007_2.JPEG")
    assert store.boxes[first].tolist() == [1, 2, 42, 53]  # exclusive ends
    part = tiny(tmp_path / "tiny.zip", tmp_path, classes=2)
    assert part.class_names == store.class_names[:2]
    assert len(part) == 14
    with pytest.raises(InputError, match="classes is 9; the archive has 1 to 4"):
        tiny(tmp_path / "tiny.zip", tmp_path, classes=9)


@pytest.mark.shared_data
def test_the_food101_look_alike(shared_data: Path, tmp_path: Path) -> None:
    store = food(shared_data / "food101-mini.tar.gz", tmp_path, 64)
    assert len(store) == 240
    assert store.labels.bincount().tolist() == [20] * 12
    assert int(store.is_test.sum()) == 60


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("defect", "words"),
    [
        ("truncated", ["is truncated or damaged"]),
        ("missing", ["1 images named in meta/ are not there", "honey_noodles/2376355"]),
        ("traversal", ["refused, 3 members point outside", "../../evil.txt", "outside.jpg"]),
        (
            "corrupt",
            [
                "3 pictures cannot be decoded",
                "amber_dumplings/1397636",
                "baked_quince/2091871",
                "braised_fennel/3190959",
            ],
        ),
    ],
)
def test_its_defect_copies_are_refused_in_words(
    shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, defect: str, words: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    archive = shared_data / f"food101-mini-{defect}.tar.gz"
    with pytest.raises(InputError) as error:
        food(archive, tmp_path, 64)
    for word in words:
        assert word in str(error.value)
    kept = (tmp_path / "data/archives/unpacked", tmp_path / "data/partial")  # what a second try goes on from
    left = [path for path in tmp_path.rglob("*") if path.is_file() and not any(k in path.parents for k in kept)]
    assert left == []  # nothing is made, inside the data folder or outside
    for outside in (tmp_path.parent / "evil.txt", Path("/tmp/food101-mini-absolute-evil.txt")):
        assert not outside.exists()


@pytest.mark.shared_data
def test_the_real_tiny_imagenet(shared_data: Path, tmp_path: Path) -> None:
    store = tiny(shared_data / "tiny-imagenet-100.zip", tmp_path, classes=3)
    assert store.labels.bincount().tolist() == [250] * 3
    assert int(store.is_test.sum()) == 150
    assert store.uniform_size == (64, 64)
    assert bool(((store.boxes[:, 2:] > store.boxes[:, :2]) & (store.boxes[:, 2:] <= 64)).all())
