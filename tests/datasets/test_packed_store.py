"""A packed store is what the store in memory is, by every question; its bytes stay where they are, and are verified."""

from __future__ import annotations

import dataclasses
import io
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cimbench.datasets.errors import InputError
from cimbench.datasets.images import packed_store as module
from cimbench.datasets.images import pixels
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.images.packed_store import open_store, save_store, verify_store
from cimbench.datasets.images.threads import readers
from tests.conftest import textured_images
from tests.datasets.prepared import catalogue, pictures, prepared


def in_memory(sizes: list[tuple[int, int]]) -> ImageStore:
    images = [textured_images(1, height, width, seed)[0] for seed, (height, width) in enumerate(sizes)]
    count = len(sizes)
    return ImageStore.from_images(
        images,
        [place % 3 for place in range(count)],
        class_names=("a", "b", "c\n'd'"),
        names=tuple(f"p {place}\n\udcff" for place in range(count)),
        is_test=torch.arange(count) % 2 == 0,
        boxes=torch.arange(4 * count).view(count, 4),
    )


def packed(store: ImageStore, folder: Path) -> ImageStore:
    save_store(store, folder / "s")
    return open_store(folder / "s")


def assert_same(there: ImageStore, here: ImageStore) -> None:
    """By every question that a store answers."""
    assert len(there) == len(here)
    assert there.digest == here.digest
    assert (there.names, there.class_names, there.uniform_size) == (here.names, here.class_names, here.uniform_size)
    for name in ("sizes", "labels", "is_test", "boxes"):
        assert torch.equal(getattr(there, name), getattr(here, name)), name
    for index in range(len(here)):
        assert torch.equal(there.image(index), here.image(index))
    groups = here.same_size_groups()
    assert [group.tolist() for group in there.same_size_groups()] == [group.tolist() for group in groups]
    for group in groups:
        assert torch.equal(there.stacked(group), here.stacked(group))
        assert torch.equal(there.stacked(group.flip(0)), here.stacked(group.flip(0)))
    for side in (2, 4, 7):
        resized = there.resized(side)
        assert torch.equal(resized, here.resized(side))
        assert resized.is_contiguous(memory_format=torch.channels_last)


side = st.integers(1, 9)


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(
        st.lists(st.tuples(side, side), min_size=1, max_size=40),
        st.tuples(side, side, st.integers(1, 40)).map(lambda made: [made[:2]] * made[2]),
    ),
    st.data(),
)
def test_it_answers_as_the_store_in_memory(sizes: list[tuple[int, int]], data: st.DataObject) -> None:
    here = in_memory(sizes)
    with tempfile.TemporaryDirectory() as folder:
        there: ImageStore = packed(here, Path(folder))
        assert_same(there, here)
        for _ in range(2):  # a subset, and a subset of it: reordered, with repetitions, of none
            places = st.integers(0, max(0, len(here) - 1))
            chosen = torch.tensor(data.draw(st.lists(places, max_size=30 if len(here) else 0)), dtype=torch.int64)
            there, here = there.subset(chosen), here.subset(chosen)
            assert_same(there, here)


def test_nothing_of_one_size_is_stacked_to_nothing(tmp_path: Path) -> None:
    here = in_memory([(5, 4)] * 3)
    none = torch.empty(0, dtype=torch.int64)
    assert packed(here, tmp_path).stacked(none).shape == here.stacked(none).shape == (0, 3, 5, 4)


def test_a_subset_copies_no_bytes(tmp_path: Path) -> None:
    there = packed(in_memory([(5, 4)] * 50), tmp_path)
    part = there.subset(torch.tensor([7, 3])).subset(torch.tensor([1]))
    assert part.pixels.bytes.data_ptr() == there.pixels.bytes.data_ptr()
    assert part.image(0).data_ptr() == there.pixels.bytes.data_ptr() + 3 * 60
    assert part.names == (there.names[3],)


def test_a_subset_or_a_jpeg_store_can_be_saved(tmp_path: Path) -> None:
    there = packed(in_memory([(5, 4), (3, 3), (6, 2)]), tmp_path).subset(torch.tensor([2, 0]))
    save_store(there, tmp_path / "part")
    assert_same(open_store(tmp_path / "part"), in_memory([(5, 4), (3, 3), (6, 2)]).subset(torch.tensor([2, 0])))
    coded = prepared(catalogue(pictures()), tmp_path, "coded", encoding="jpeg")
    save_store(coded, tmp_path / "decoded")
    assert all(torch.equal(open_store(tmp_path / "decoded").image(i), coded.image(i)) for i in range(len(coded)))


@pytest.mark.parametrize("encoding", ["jpeg", "original"])
def test_coded_pictures_decode_as_pillow_does(encoding: str, tmp_path: Path) -> None:
    store = prepared(catalogue(pictures()), tmp_path, encoding=encoding)
    for place in range(len(store)):
        start, length = store.pixels.spans[place].tolist()
        content = store.pixels.bytes[start : start + length].numpy().tobytes()
        by_pillow = np.array(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)
        difference = np.abs(store.image(place).permute(1, 2, 0).numpy().astype(int) - by_pillow)
        assert difference.max() <= 6  # two decoders may round apart
    assert torch.equal(store.resized(8)[5], store.subset(torch.tensor([5])).resized(8)[0])


def test_digests_tell_stores_apart(tmp_path: Path) -> None:
    stores = [
        prepared(catalogue(pictures()), tmp_path, "a"),
        prepared(catalogue(pictures()), tmp_path, "b", encoding="jpeg"),
        prepared(catalogue(pictures()), tmp_path, "c", encoding="jpeg", quality=90),
        prepared(catalogue(pictures()), tmp_path, "d", encoding="original"),
        in_memory([(2, 3), (3, 2)]),
        in_memory([(3, 2), (2, 3)]),
    ]
    line_ends = [("a\nb", "c"), ("a", "b\nc"), ("anb", "c")]
    stores += [dataclasses.replace(in_memory([(2, 3), (3, 2)]), names=names) for names in line_ends]
    assert len({store.digest for store in stores}) == len(stores)


@pytest.mark.parametrize("checked_whole", [True, False])
def test_one_other_byte_anywhere_is_found(checked_whole: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(catalogue(pictures(6)), tmp_path, encoding="original")
    path = tmp_path / "s/images.bin"
    whole = path.read_bytes()
    if not checked_whole:
        monkeypatch.setattr(module, "CHECKED_WHOLE", len(whole) - 1)
    assert verify_store(tmp_path / "s").digest == open_store(tmp_path / "s").digest
    for place in [0, 1, len(whole) // 2, len(whole) - 1, *range(5, len(whole), 97)]:
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(InputError, match=r"s: content does not match its digest; delete the folder and prepare"):
            verify_store(tmp_path / "s")
        if not checked_whole:
            assert len(open_store(tmp_path / "s")) == 6
    path.write_bytes(whole)
    verify_store(tmp_path / "s")


def test_another_byte_in_the_index_is_found_or_changes_nothing(tmp_path: Path) -> None:
    store = prepared(catalogue(pictures(6)), tmp_path)
    path = tmp_path / "s/index.npz"
    whole = path.read_bytes()
    found = 0
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        try:
            again = verify_store(tmp_path / "s")
        except InputError:
            found += 1
        else:
            assert (again.digest, again.names, again.damaged) == (store.digest, store.names, store.damaged)
    assert found > len(whole) // 7 // 2


def test_missing_and_cut_files_are_told(tmp_path: Path) -> None:
    prepared(catalogue(pictures()), tmp_path)
    images, index = tmp_path / "s/images.bin", tmp_path / "s/index.npz"
    whole = images.read_bytes()
    for content in (whole[:-1], whole + b"x", b""):
        images.write_bytes(content)
        with pytest.raises(InputError, match=rf"images.bin: has {len(content)} bytes instead of {len(whole)}; delete"):
            open_store(tmp_path / "s")
    images.unlink()
    with pytest.raises(InputError, match=r"images.bin: cannot be read \(No such file or directory\); prepare the data"):
        open_store(tmp_path / "s")
    index.unlink()
    with pytest.raises(InputError, match=r"index.npz: is not there; make it with the stage before"):
        open_store(tmp_path / "s")


def test_a_picture_that_was_changed_in_a_large_store_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared(catalogue(pictures()), tmp_path, encoding="jpeg")
    monkeypatch.setattr(module, "CHECKED_WHOLE", 0)
    store = open_store(tmp_path / "s")
    start, length = store.pixels.spans[4].tolist()
    other = prepared(catalogue(pictures()), tmp_path, "other", encoding="jpeg", short_side=5)
    path = tmp_path / "s/images.bin"
    whole = path.read_bytes()
    small = other.pixels.bytes[: other.pixels.spans[0, 1]].numpy().tobytes().ljust(length, b"\0")
    for content in (bytes(length), small):
        path.write_bytes(whole[:start] + content + whole[start + length :])
        with pytest.raises(InputError, match=r"images.bin: p4 is damaged; see `cimbench verify`"):
            open_store(tmp_path / "s").resized(8)


def test_what_is_read_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages are given back, and read again to the same bytes."""
    monkeypatch.setattr(pixels, "_MAPPED_AT_ONCE", 5000)
    here = in_memory([(9, 9)] * 60)
    there = packed(here, tmp_path)
    for _ in range(2):
        assert torch.equal(there.resized(9), here.resized(9))
    assert there.pixels.file._read <= 5000


def test_many_pictures_are_a_task_each_sixteen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A future for every picture of a million would take a gigabyte."""
    there = packed(in_memory([(3, 3)] * 40), tmp_path)
    tasks: list[int] = []
    real = readers().submit
    monkeypatch.setattr(readers(), "submit", lambda *given: (tasks.append(1), real(*given))[1])
    there.resized(3)
    assert len(tasks) == 3
    there.stacked(torch.arange(17))
    assert len(tasks) == 5
