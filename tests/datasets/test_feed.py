"""Batches of pictures that rest on the device, or are read while it learns: the same pixels, in order, a few early."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.stream import feed as feeding
from cimbench.datasets.stream.feed import FeedParameters, Resident, Streamed, feed_of, prefetched
from tests.conftest import textured_images
from tests.datasets.archives import food, food101_archive

CPU = torch.device("cpu")


def photographs(folder: Path, encoding: str) -> ImageStore:
    """Pictures of several sizes."""
    from cimbench.datasets.fetching.fetch import ArchiveParameters
    from cimbench.datasets.progress import no_progress
    from cimbench.datasets.sources import food101

    archive = ArchiveParameters(mirrors=(str(food101_archive(folder)),))
    found = food101.catalogue(food101.Food101Parameters(archive=archive), folder, no_progress)
    return prepare(found, PrepareParameters(encoding=encoding), folder / "store", folder / "partial")


@pytest.mark.parametrize("encoding", ["raw", "jpeg", "original"])
@pytest.mark.parametrize("threads", [1, 3])
def test_streamed_batches_are_the_resident_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, threads: int
) -> None:
    store = photographs(tmp_path, encoding)
    resident = feed_of(store, 16, CPU, FeedParameters())
    streamed = feed_of(store, 16, CPU, FeedParameters(resident_bytes=3 * 16 * 16 * len(store) - 1))
    assert isinstance(resident, Resident) and isinstance(streamed, Streamed)
    assert (resident.ahead, streamed.ahead, len(streamed)) == (0, 4, len(store))
    with ThreadPoolExecutor(threads) as pool:
        monkeypatch.setattr(feeding, "readers", lambda: pool)
        for indices in torch.split(torch.randperm(len(store), generator=torch.Generator().manual_seed(0)), 9):
            one, other = resident.batch(indices), streamed.batch(indices)
            assert torch.equal(one, other)
            assert one.is_contiguous(memory_format=torch.channels_last)
            assert other.is_contiguous(memory_format=torch.channels_last)
            assert torch.equal(resident.resized_batch(indices, 8), streamed.resized_batch(indices, 8))


def test_a_batch_is_what_the_store_squashes(tmp_path: Path) -> None:
    store = food(food101_archive(tmp_path), tmp_path)
    indices = torch.tensor([5, 0, 27, 5])
    expected = store.subset(indices).resized(12)
    assert torch.equal(Streamed(store, 12, CPU, FeedParameters()).batch(indices), expected)


def test_at_the_limit_pictures_rest() -> None:
    store = ImageStore.from_images(list(textured_images(4, 8, 8, 0)), [0] * 4)
    assert isinstance(feed_of(store, 8, CPU, FeedParameters(resident_bytes=4 * 192)), Resident)
    assert isinstance(feed_of(store, 8, CPU, FeedParameters(resident_bytes=4 * 192 - 1)), Streamed)


def test_what_is_made_early_comes_in_order_and_not_too_early() -> None:
    started: list[int] = []
    taken = 0

    def make(item: int) -> int:
        assert threading.current_thread() is not threading.main_thread()
        started.append(item)
        assert item <= taken + 3  # two ahead of the one that is being taken, and the one being made
        return 10 * item

    for position, found in enumerate(prefetched(make, iter(range(12)), 2, CPU)):
        assert found == 10 * position
        taken = position + 1
        time.sleep(0.001)
    assert started == list(range(12))


def test_an_error_comes_where_its_item_does_and_nothing_after_it_is_given() -> None:
    def make(item: int) -> int:
        if item == 2:
            raise InputError("the third is damaged")
        return item

    given = []
    with pytest.raises(InputError, match="the third"):
        for found in prefetched(make, range(6), 3, CPU):
            given.append(found)
    assert given == [0, 1]


def test_a_taker_that_stops_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    batches = prefetched(lambda item: item, range(1000), 4, CPU)
    assert next(batches) == 0
    batches.close()  # type: ignore[attr-defined]
    assert threading.active_count() == before


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"resident_bytes": -1}, "feed.resident_bytes is -1"),
        ({"ahead": 0}, "feed.ahead is 0; give 1 or more"),
        ({"decoder": "gpu"}, "feed.decoder is 'gpu'; .*device"),
    ],
)
def test_bad_values_are_named(values: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        FeedParameters(**values)  # type: ignore[arg-type]


def test_nvjpeg_is_refused_where_it_cannot_decode() -> None:
    store = ImageStore.from_images(list(textured_images(4, 8, 8, 0)), [0] * 4)
    with pytest.raises(InputError, match="'device', but nvJPEG decodes JPEG bytes on a GPU alone"):
        feed_of(store, 8, CPU, FeedParameters(decoder="device"))


def test_no_pictures_are_an_empty_batch_and_two_copies_take_twice_the_room() -> None:
    store = ImageStore.from_images(list(textured_images(4, 8, 8, 0)), [0] * 4)
    nothing = torch.empty(0, dtype=torch.int64)
    for feed in (Streamed(store, 8, CPU, FeedParameters()), Resident(store.resized(8))):
        assert feed.batch(nothing).shape == (0, 3, 8, 8)
    assert isinstance(feed_of(store, 8, CPU, FeedParameters(resident_bytes=4 * 192), copies=2), Streamed)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")
def test_nvjpeg_is_the_cpus_decoder_up_to_rounding(tmp_path: Path) -> None:
    store, device = photographs(tmp_path, "jpeg"), torch.device("cuda")
    indices = torch.arange(len(store))
    there = Streamed(store, 24, device, FeedParameters(decoder="device")).batch(indices).cpu()
    here = Streamed(store, 24, CPU, FeedParameters()).batch(indices)
    assert float((there.float() - here.float()).abs().mean()) < 3  # of 255; 2.3 on an H200
    sent = Streamed(store, 24, device, FeedParameters())
    assert sent.batch(indices).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(sent.batch(indices).cpu(), here)
    parts = list(prefetched(sent.batch, torch.split(indices, 5), 2, device))
    assert torch.equal(torch.cat(parts).cpu(), here)
