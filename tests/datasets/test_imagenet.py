"""ImageNet-1000 and its two lists of a hundred: from archives, from a tree, and against the golden list."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from cimbench.datasets.errors import InputError
from cimbench.datasets.preparing.decode import decode_rgb
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.archives import TarFiles
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.reading.imagenet import ImageNetParameters, drawn_hundred, first_hundred, read_imagenet
from cimbench.datasets.sources import imagenet100, imagenet100_first, imagenet1000
from tests.datasets.ilsvrc import (
    GOLDEN_LISTS,
    Mini,
    devkit,
    parameters,
    tar_bytes,
    thousand,
    write_archives,
    write_tree,
)

pytestmark = pytest.mark.xdist_group("imagenet")  # archives of a thousand classes are made once


@pytest.fixture(scope="module")
def mini() -> Mini:
    return Mini.make()


@pytest.fixture(scope="module")
def archives(mini: Mini, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the three archives; nobody writes there."""
    folder = tmp_path_factory.mktemp("ilsvrc")
    write_archives(mini, folder)
    return folder


@pytest.fixture
def copied(archives: Path, tmp_path: Path) -> Path:
    """Archives of one's own, to be broken."""
    return Path(shutil.copytree(archives, tmp_path / "copied"))


def catalogue(view: str, how: ImageNetParameters, folder: Path) -> Catalogue:
    return read_imagenet(how, folder / "archives", no_progress, view)


def test_the_list_of_lucir_and_foster_is_the_golden_one() -> None:
    drawn = drawn_hundred(list(reversed(thousand())))
    assert drawn == GOLDEN_LISTS["wnids_sorted"] == GOLDEN_LISTS["foster_train_txt_wnids"]
    assert len(set(drawn)) == 100
    assert drawn_hundred([str(1000 + i) for i in range(1000)]) == [str(1000 + i) for i in GOLDEN_LISTS["index_sorted"]]


def test_the_first_hundred_share_nine_with_it() -> None:
    first = first_hundred(list(reversed(thousand())))
    assert first == thousand()[:100]
    assert len(set(first) & set(GOLDEN_LISTS["wnids_sorted"])) == 9


@pytest.mark.parametrize(("source", "count"), [(imagenet100, 100), (imagenet100_first, 100), (imagenet1000, 1000)])
def test_each_source_has_its_own_classes(
    source: object, count: int, mini: Mini, archives: Path, tmp_path: Path
) -> None:
    found = source.catalogue(parameters(archives), tmp_path, no_progress)  # type: ignore[attr-defined]
    expected = {
        "imagenet100": GOLDEN_LISTS["wnids_sorted"],
        "imagenet100_first": mini.synsets[:100],
        "imagenet1000": mini.synsets,
    }[source.__name__.rpartition(".")[2]]  # type: ignore[attr-defined]
    assert list(found.class_names) == expected == sorted(expected)
    assert found.labels[~found.is_test].bincount().tolist() == [2] * count
    assert found.labels[found.is_test].bincount().tolist() == [1] * count


def test_every_picture_has_its_own_label_and_bytes(mini: Mini, archives: Path, tmp_path: Path) -> None:
    found = catalogue("imagenet1000", parameters(archives), tmp_path)
    truth = dict(zip(mini.val, mini.truth, strict=True))
    for place in range(0, len(found), 37):
        part, synset, name = found.names[place].split("/")
        assert bool(found.is_test[place]) == (part == "val")
        assert found.class_names[int(found.labels[place])] == synset
        if part == "val":
            assert synset == truth[name]
        assert found.content(place) == (mini.val[name] if part == "val" else mini.train[synset][name])
    assert sorted(found.names[:2000]) == list(found.names[:2000])


@pytest.mark.parametrize("view", ["imagenet100", "imagenet100-first", "imagenet1000"])
def test_tars_and_a_tree_are_the_same_data(view: str, mini: Mini, archives: Path, tmp_path: Path) -> None:
    write_tree(mini, tmp_path / "tree")
    write_archives(mini, tmp_path / "backwards", backwards=True)
    stores = []
    for number, how in enumerate(
        (parameters(archives), parameters(tmp_path / "backwards"), ImageNetParameters(folder=str(tmp_path / "tree")))
    ):
        found = catalogue(view, how, tmp_path)
        stores.append(prepare(found, PrepareParameters(), tmp_path / f"s{number}", tmp_path / "partial"))
    assert len({store.names for store in stores}) == len({store.class_names for store in stores}) == 1
    assert all(torch.equal(store.labels, stores[0].labels) for store in stores)
    assert len({store.digest for store in stores}) == 1


def test_other_files_of_a_tree_are_passed_over(mini: Mini, tmp_path: Path) -> None:
    how = write_tree(mini, tmp_path / "tree")
    before = catalogue("imagenet100", how, tmp_path).names
    (tmp_path / "tree/readme.txt").write_text("hello")
    (tmp_path / f"tree/train/{mini.synsets[7]}/.DS_Store").write_text("hello")
    (tmp_path / f"tree/train/{mini.synsets[7]}/Thumbs.db").write_text("hello")
    (tmp_path / "tree/test").mkdir()
    (tmp_path / "tree/test/ILSVRC2012_test_00000001.JPEG").write_bytes(b"x")
    assert catalogue("imagenet100", how, tmp_path).names == before


@pytest.mark.parametrize("kind", ["no folders", "a class less", "other classes", "nothing", "no train"])
def test_odd_trees_are_told(kind: str, mini: Mini, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    how = write_tree(mini, tree)
    if kind == "no folders":
        for path in list((tree / "val").glob("*/*")):
            path.rename(tree / "val" / path.name)
        words = r"1000 pictures lie in val/ itself; sort them into a folder for each class"
    elif kind == "a class less":
        shutil.rmtree(tree / "train" / mini.synsets[4])
        shutil.rmtree(tree / "val" / mini.synsets[4])
        words = r"\(?has 999 classes instead of 1000"
    elif kind == "other classes":
        (tree / "val" / mini.synsets[4]).rename(tree / "val/n99999999")
        words = rf"different classes, 2 are in one alone: {mini.synsets[4]}, n99999999"
    else:
        shutil.rmtree(tree / "train")
        if kind == "nothing":
            shutil.rmtree(tree / "val")
        words = r"has no pictures in train/<synset>/; name the folder that holds train/ and val/"
    with pytest.raises(InputError, match=words):
        catalogue("imagenet100", how, tmp_path)


def test_a_cut_inner_tar_is_named(mini: Mini, copied: Path, tmp_path: Path) -> None:
    inner = {f"{synset}.tar": tar_bytes(files) for synset, files in mini.train.items()}
    broken = f"{GOLDEN_LISTS['wnids_sorted'][3]}.tar"
    for share in (0.0, 0.3, 0.6):
        cut = inner | {broken: inner[broken][: int(share * 4096)]}
        (copied / "ILSVRC2012_img_train.tar").write_bytes(tar_bytes(cut))
        with pytest.raises(InputError, match=rf"img_train.tar/{broken}: is truncated or damaged"):
            catalogue("imagenet100", parameters(copied), tmp_path)


def test_archives_that_do_not_belong_together_are_told(mini: Mini, copied: Path, tmp_path: Path) -> None:
    train, val, kit = (copied / f"ILSVRC2012_{name}" for name in ("img_train.tar", "img_val.tar", "devkit_t12.tar.gz"))
    whole = {path: path.read_bytes() for path in (train, val, kit)}
    root = "ILSVRC2012_devkit_t12/data"
    truth = f"{root}/ILSVRC2012_validation_ground_truth.txt"
    fewer = {f"{synset}.tar": tar_bytes(files) for synset, files in list(mini.train.items())[:-1]}
    renamed = {name.replace("_val_0", "_val_1"): content for name, content in mini.val.items()}
    unknown = devkit(mini)[truth].replace(b"\n", b"1\n", 1)
    cases = [
        (train, tar_bytes(fewer), rf"has no tar of {mini.synsets[-1]}; is it ILSVRC2012_img_train.tar"),
        (val, tar_bytes(dict(list(mini.val.items())[:-1])), "has 999 pictures, the devkit knows 1000"),
        (val, tar_bytes(renamed), "has 1000 pictures, the devkit knows 1000, from ILSVRC2012_val_00000001.JPEG on"),
        (kit, tar_bytes({"x/y": b""}, "w:gz"), "has no meta.mat, ILSVRC2012_validation_ground_truth.txt; is it"),
        (kit, tar_bytes(devkit(mini) | {f"{root}/meta.mat": b"x" * 999}, "w:gz"), "meta.mat: is no table of synsets"),
        (kit, tar_bytes(devkit(mini) | {truth: unknown}, "w:gz"), "names 1 classes that meta.mat does not have"),
        (kit, tar_bytes(devkit(mini) | {truth: b"\xff\xfe\xff"}, "w:gz"), "ground_truth.txt is no text"),
        (kit, tar_bytes(devkit(Mini(mini.synsets)), "w:gz"), "has 1000 pictures, the devkit knows 0"),
    ]
    for path, content, words in cases:
        path.write_bytes(content)
        with pytest.raises(InputError, match=words):
            catalogue("imagenet1000", parameters(copied), tmp_path)
        path.write_bytes(whole[path])


def test_archives_or_a_folder() -> None:
    with pytest.raises(InputError, match=r"give train, val and devkit, or folder$"):
        ImageNetParameters()
    with pytest.raises(InputError, match="not both"):
        ImageNetParameters(folder="x", train=parameters(Path()).train)


def test_training_pictures_need_a_tar_of_tars(copied: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "made"), "zip", copied)
    with pytest.raises(InputError, match=r"made.zip: has no tar of"):
        catalogue("imagenet100", parameters(copied, train=str(tmp_path / "made.zip")), tmp_path)


@pytest.mark.shared_data
def test_real_pictures_go_through(shared_data: Path, tmp_path: Path) -> None:
    """64 photographs among the made-up ones: kept as they are, or decoded as Pillow does and reduced."""
    samples = TarFiles.open(shared_data / "imagenet-samples-64.tar")
    real = {name.split("/")[1].partition("_")[0]: samples.read(name) for name in samples.names}
    mini = Mini.make(real, per_class=1)
    for synset, content in real.items():
        mini.train[synset] = {f"{synset}_1.JPEG": content}
    found = catalogue("imagenet1000", write_archives(mini, tmp_path / "archives"), tmp_path)
    kept = prepare(found, PrepareParameters(encoding="original"), tmp_path / "kept", tmp_path / "partial")
    small = prepare(found, PrepareParameters(short_side=48), tmp_path / "small", tmp_path / "partial")
    assert set(real) <= set(kept.class_names)
    for synset, content in real.items():
        place = kept.names.index(f"train/{synset}/{synset}_1.JPEG")
        start, length = kept.pixels.spans[place].tolist()
        assert kept.pixels.bytes[start : start + length].numpy().tobytes() == content
        assert torch.equal(small.image(place), decode_rgb(content, 48))
        with Image.open(io.BytesIO(content)) as opened:
            assert kept.sizes[place].tolist() == [opened.height, opened.width]
            exact = np.array(opened.convert("RGB")).astype(int)
        difference = np.abs(kept.image(place).permute(1, 2, 0).numpy().astype(int) - exact)
        assert difference.mean() < 1  # two decoders may round apart
