"""Reading exemplars back into augmentation, and the codecs both ways."""

from __future__ import annotations

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from cimbench.benchmarks.throughput.inputs import DEVICES, RATIO, SQUARE, THRESHOLD, peaked_maps, photographs
from cimbench.benchmarks.throughput.measure import Job, measure
from cimbench.datasets.images.image_store import ImageStore, groups_of_one_size
from cimbench.datasets.stream.augment import AugmentParameters, augment
from cimbench.methods.compression.boxes.activation import boxes_above, boxes_of_maps, class_activation_maps
from cimbench.methods.compression.boxes.boxes import whole_image_boxes
from cimbench.methods.compression.exemplars.codecs import CODECS, Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.compression.exemplars.packing import pack, pack_store
from cimbench.methods.compression.exemplars.store import ExemplarStore

AUGMENTATION = AugmentParameters(crop_padding=8, flip=True, brightness=0.25)


@pytest.mark.parametrize("device", DEVICES)
def test_decode_and_augment(benchmark: BenchmarkFixture, device: str) -> None:
    """A batch from bytes to what the network is given; the ceiling is the same with whole exemplars."""
    images = SQUARE.images(device)[:256]
    side, count = images.shape[-1], len(images)
    boxes = boxes_of_maps(class_activation_maps(*peaked_maps(count, device)), SQUARE.sizes(count), THRESHOLD).xyxy
    whole = whole_image_boxes(SQUARE.sizes(count))
    labels, form, order = torch.zeros(count, dtype=torch.int64), Format(ratio=RATIO), torch.arange(count)

    def store(kept: Tensor) -> ExemplarStore:
        return ExemplarStore.from_packed(pack(images, kept, labels, form), form)

    compressed, plain = store(boxes), store(whole)
    random = torch.Generator(device).manual_seed(0)
    assert torch.equal(plain.batch(order, side), images)
    job = Job(
        step="decode + augment", input=f"{count} of {SQUARE}", device=device, images=count,
        moved=len(compressed.buffer) + images.nbytes + 4 * images.nbytes, bound="writing the float batch",
        ceiling_name="the same with whole exemplars",
    )  # fmt: skip
    measure(
        benchmark,
        job,
        lambda: augment(compressed.batch(order, side), AUGMENTATION, random),
        ceiling=lambda: augment(plain.batch(order, side), AUGMENTATION, random),
    )


def boxed_photographs() -> tuple[ImageStore, Tensor]:
    """The photographs and boxes of about a third of each."""
    photos = photographs()
    return photos, boxes_above(class_activation_maps(*peaked_maps(len(photos))), photos, THRESHOLD).xyxy


@pytest.mark.parametrize("codec", CODECS)
def test_encoding(benchmark: BenchmarkFixture, codec: str) -> None:
    """Photographs to stored bytes, on the CPU."""
    photos, boxes = boxed_photographs()
    form, host = Format(ratio=RATIO, codec=Codec(name=codec)), torch.device("cpu")
    shown = ExemplarStore.from_packed(pack_store(photos, boxes, form, host), form).images()
    exact = ExemplarStore.from_packed(
        pack_store(photos, boxes, Format(ratio=RATIO), host), Format(ratio=RATIO)
    ).images()
    assert float((shown.pixels.bytes.float() - exact.pixels.bytes.float()).abs().mean()) < (
        6 if codec != "raw" else 1e-9
    )
    job = Job(
        step=f"encode, {codec}", input="64 photographs", device="cpu", images=len(photos),
        moved=len(photos.pixels.bytes) + len(pack_store(photos, boxes, form, host).buffer),
        bound="copying" if codec == "raw" else "the codec",
    )  # fmt: skip
    measure(benchmark, job, lambda: pack_store(photos, boxes, form, host))


@pytest.mark.parametrize("codec", CODECS)
def test_decoding(benchmark: BenchmarkFixture, codec: str) -> None:
    """Stored bytes to photographs, on the CPU."""
    photos, boxes = boxed_photographs()
    form = Format(ratio=RATIO, codec=Codec(name=codec))
    store = ExemplarStore.from_packed(pack_store(photos, boxes, form, torch.device("cpu")), form)
    groups = groups_of_one_size(store.headers.sizes)
    assert sum(store.decoded(group).nbytes for group in groups) == len(photos.pixels.bytes)
    job = Job(
        step=f"decode, {codec}", input="64 photographs", device="cpu", images=len(photos),
        moved=len(photos.pixels.bytes) + len(store.buffer), bound="copying" if codec == "raw" else "the codec",
    )  # fmt: skip
    measure(benchmark, job, lambda: [store.decoded(group) for group in groups])
