"""Preparation: what each encoding keeps, one result whoever prepares, damaged pictures, and when it is done again."""

from __future__ import annotations

import dataclasses
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cimbench.datasets.arrays import load_arrays
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import open_store
from cimbench.datasets.preparing import prepare as module
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.stream.split import ProtocolParameters, load_split, make_split, save_split
from tests.datasets.archives import picture
from tests.datasets.prepared import catalogue, count_decodes, pictures, prepared, tree


def pillow(content: bytes) -> torch.Tensor:
    return torch.from_numpy(np.array(Image.open(io.BytesIO(content)).convert("RGB"))).permute(2, 0, 1)


def test_raw_keeps_pillows_pixels(tmp_path: Path) -> None:
    contents = pictures()
    store = prepared(catalogue(contents), tmp_path)
    assert store.pixels.encoding == "raw"
    for place, content in enumerate(contents):
        assert isinstance(content, bytes)
        assert torch.equal(store.image(place), pillow(content))


def test_jpeg_encodes_the_reduced_picture(tmp_path: Path) -> None:
    contents = pictures()
    store = prepared(catalogue(contents), tmp_path, short_side=10, encoding="jpeg", quality=80)
    for place, content in enumerate(contents):
        assert isinstance(content, bytes)
        whole = Image.open(io.BytesIO(content)).convert("RGB")
        scale = 10 / min(whole.size)
        small = whole.resize((round(whole.width * scale), round(whole.height * scale)), Image.Resampling.BILINEAR)
        file = io.BytesIO()
        small.save(file, "JPEG", quality=80)
        start, length = store.pixels.spans[place].tolist()
        assert store.pixels.bytes[start : start + length].numpy().tobytes() == file.getvalue()
        assert store.image(place).shape[1:] == tuple(store.sizes[place].tolist()) == (small.height, small.width)


ODD = {
    "gray jpeg": (picture(1, mode="L"), True),
    "rgb jpeg": (picture(1), True),
    "cmyk jpeg": (picture(1, mode="CMYK"), False),
    "png": (picture(1, form="PNG"), False),
    "gif": (picture(1, mode="P", form="GIF"), False),
    "palette": (picture(1, mode="P", form="PNG"), False),
    "transparent": (picture(1, mode="RGBA", form="PNG"), False),
    "bmp": (picture(1, form="BMP"), False),
}


@pytest.mark.parametrize(("content", "kept"), ODD.values(), ids=ODD.keys())
def test_original_keeps_the_files_that_decoders_read(content: bytes, kept: bool, tmp_path: Path) -> None:
    store = prepared(catalogue([content] * 6), tmp_path, encoding="original")
    start, length = store.pixels.spans[0].tolist()
    assert (store.pixels.bytes[start : start + length].numpy().tobytes() == content) == kept
    assert store.pixels.bytes[start : start + 2].tolist() == [0xFF, 0xD8]
    assert store.image(0).shape[1:] == tuple(store.sizes[0].tolist()) == (32, 40)
    if kept:
        assert (store.image(0).int() - pillow(content).int()).abs().max() <= 3  # two decoders may round apart
    else:
        file = io.BytesIO()
        Image.open(io.BytesIO(content)).convert("RGB").save(file, "JPEG", quality=95)
        assert store.pixels.bytes[start : start + length].numpy().tobytes() == file.getvalue()
    assert store.digest == open_store(tmp_path / "s").digest


def test_a_file_that_only_pillow_reads_is_encoded_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept has to be read by the decoder that training uses."""

    def refusing(_content: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("not by me")

    content = picture(1)
    with monkeypatch.context() as patch:
        patch.setattr(module, "decoded_jpeg", refusing)
        store = prepared(catalogue([content] * 6), tmp_path, encoding="original", quality=50)
    assert store.pixels.bytes[: store.pixels.spans[0, 1]].numpy().tobytes() != content
    assert store.image(0).shape[1:] == (32, 40)


def test_few_pictures_are_made_ahead(tmp_path: Path) -> None:
    """Memory holds some for each worker, however many there are."""
    contents, asked = pictures(200), [0]

    def content(index: int) -> bytes | torch.Tensor:
        asked.append(max(asked[-1], index + 1))
        return contents[index]

    ahead: list[int] = []
    found = catalogue(contents, content=content)
    prepare(found, PrepareParameters(), tmp_path / "s", tmp_path, lambda n, _: ahead.append(asked[-1] - n), workers=2)
    assert max(ahead) <= 5


def test_sixteen_bits_keep_their_brightness(tmp_path: Path) -> None:
    """Pillow alone clips at 255: everything would be white."""
    levels = np.linspace(0, 65535, 32 * 40).astype(np.uint16).reshape(32, 40)
    contents: list[bytes | torch.Tensor] = []
    for form in ("PNG", "TIFF", "PPM"):
        file = io.BytesIO()
        Image.fromarray(levels).save(file, form)
        contents += [file.getvalue()] * 2
    store = prepared(catalogue(contents), tmp_path)
    for place in range(6):
        assert torch.equal(store.image(place)[2].int(), torch.from_numpy((levels >> 8).astype(np.int32)))


def test_pixels_instead_of_files(tmp_path: Path) -> None:
    pixels = [torch.randint(0, 256, (3, 9, 12), dtype=torch.uint8).transpose(1, 2) for _ in range(6)]
    store = prepared(catalogue(list(pixels)), tmp_path)
    assert all(torch.equal(store.image(place), pixels[place]) for place in range(6))
    assert prepared(catalogue(list(pixels)), tmp_path, "j", encoding="original").pixels.encoding == "jpeg"


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "original"])
def test_any_number_of_workers_gives_the_same_files(encoding: str, tmp_path: Path) -> None:
    contents = pictures(60)
    contents[7] = b"broken"
    boxes = torch.tensor([[1, 2, 3, 4]]).repeat(60, 1)
    trees = []
    for workers in (1, 2, 5):
        prepared(
            catalogue(contents, boxes=boxes, origin=f"machine {workers}"),
            tmp_path / str(workers),
            workers=workers,
            damaged_limit=1,
            encoding=encoding,
            short_side=None if encoding == "original" else 16,
        )
        trees.append(tree(tmp_path / str(workers)))
    assert trees[0] == trees[1] == trees[2]
    assert sorted(trees[0]) == ["s/images.bin", "s/index.npz"]


def test_damaged_pictures_are_left_out_up_to_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = pictures(14)
    contents[3], contents[8], contents[9] = b"", b"<html>", picture(1)[:200]
    found = catalogue(contents, boxes=torch.arange(56).view(14, 4))
    with pytest.raises(
        InputError, match=r"here: 3 pictures cannot be decoded, dataset.prepare.damaged_limit is 2"
    ) as e:
        prepared(found, tmp_path, damaged_limit=2)
    assert all(f"\n  p{place}: " in str(e.value) for place in (3, 8, 9))
    assert not (tmp_path / "s").exists()
    decoded = count_decodes(monkeypatch)
    store = prepared(found, tmp_path, damaged_limit=3)  # goes on from there
    assert decoded == []
    assert store.damaged[:2] == ("p3: is empty", "p8: is no picture")
    assert store.damaged[2].startswith("p9: ")
    left = [place for place in range(14) if place not in (3, 8, 9)]
    assert store.names == tuple(f"p{place}" for place in left)
    assert store.labels.tolist() == [place % 2 for place in left]
    assert store.is_test.tolist() == [place // 2 % 3 == 0 for place in left]
    assert all(torch.equal(store.image(i), pillow(contents[p])) for i, p in enumerate(left))  # type: ignore[arg-type]
    assert prepared(found, tmp_path, "other", damaged_limit=9).digest == store.digest
    assert tree(tmp_path / "s") == tree(tmp_path / "other")
    with pytest.raises(InputError, match=r"3 pictures cannot be decoded, dataset.prepare.damaged_limit is 0"):
        prepared(found, tmp_path)
    split = make_split(store, ProtocolParameters(name="lfs", phases=2), 1)
    save_split(split, store, tmp_path / "split.json")
    assert "p8: is no picture" in (tmp_path / "split.json").read_text()
    assert load_split(tmp_path / "split.json", store, ProtocolParameters(name="lfs", phases=2), 1) == split


def test_a_class_whose_pictures_are_all_damaged_is_told(tmp_path: Path) -> None:
    contents = pictures(6)
    contents[0] = b"x"
    with pytest.raises(InputError, match="here, 1 damaged ones left out: no test pictures for 1 classes: a"):
        prepared(catalogue(contents), tmp_path, damaged_limit=5)


CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "short side": ({}, {"short_side": 8}),
    "encoding": ({}, {"encoding": "jpeg"}),
    "quality": ({}, {"quality": 90}),
    "pixel limit": ({}, {"pixel_limit": 5000}),
    "version": ({"version": "sha256:2"}, {}),
    "names": ({"names": tuple(f"q{i}" for i in range(12))}, {}),
    "labels": ({"labels": 1 - torch.arange(12) % 2}, {}),
    "test": ({"is_test": torch.arange(12) // 2 % 2 == 0}, {}),
    "classes": ({"class_names": ("a", "c")}, {}),
    "boxes": ({"boxes": torch.tensor([[0, 0, 4, 4]]).repeat(12, 1)}, {}),
}


@pytest.mark.parametrize(("other", "how"), CHANGES.values(), ids=CHANGES.keys())
def test_it_is_done_again_only_for_other_pictures_or_parameters(
    other: dict[str, Any], how: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = prepared(catalogue(pictures(), version="sha256:1"), tmp_path)
    decoded = count_decodes(monkeypatch)
    again = prepared(catalogue(pictures(), version="sha256:1", origin="elsewhere"), tmp_path, damaged_limit=4)
    assert decoded == []
    assert again.digest == first.digest
    prepared(catalogue(pictures(), **({"version": "sha256:1"} | other)), tmp_path, **how)
    assert len(decoded) == 12


@pytest.mark.parametrize(
    "harm", ["no bytes", "no index", "cut bytes", "other byte", "cut index", "no folder", "a file"]
)
def test_a_harmed_store_is_made_anew(harm: str, tmp_path: Path) -> None:
    prepared(catalogue(pictures()), tmp_path)
    before = tree(tmp_path / "s")
    images, index = tmp_path / "s/images.bin", tmp_path / "s/index.npz"
    if harm.startswith("no ") and harm != "no folder":
        (images if harm == "no bytes" else index).unlink()
    elif harm == "other byte":
        images.write_bytes(images.read_bytes()[:-1] + b"\x01")
    elif harm.startswith("cut"):
        path = images if harm == "cut bytes" else index
        path.write_bytes(path.read_bytes()[:-5])
    else:
        images.unlink(), index.unlink(), (tmp_path / "s").rmdir()
        if harm == "a file":
            (tmp_path / "s").write_text("hello")
    prepared(catalogue(pictures()), tmp_path)
    assert tree(tmp_path / "s") == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_the_index_says_how_it_was_made_and_nothing_of_this_machine(tmp_path: Path) -> None:
    prepared(catalogue(pictures(), origin=str(tmp_path)), tmp_path, short_side=9)
    made = load_arrays(tmp_path / "s/index.npz")[1]["made"]
    expected = dataclasses.asdict(PrepareParameters(short_side=9))
    del expected["damaged_limit"]
    assert {name: value for name, value in made.items() if name != "identity"} == expected
    assert str(tmp_path).encode() not in (tmp_path / "s/index.npz").read_bytes()


def test_nothing_is_said_of_odd_files_that_decode(tmp_path: Path) -> None:
    """Pillow warns of a palette with transparency in bytes."""
    file = io.BytesIO()
    Image.open(io.BytesIO(picture(1, mode="P", form="PNG"))).save(file, "PNG", transparency=bytes(range(256)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UserWarning):
            Image.open(io.BytesIO(file.getvalue())).convert("RGB")
        prepared(catalogue([file.getvalue()] * 6), tmp_path)
