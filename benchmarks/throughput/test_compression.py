"""Images per second of the steps between a forward and stored bytes, beside the speed of copying the same pixels.

Run by `make bench`. Inputs are synthetic, 64 images of 224 x 224. Every row reports images/s, the bytes it reads and
writes, and its share of the copy's speed, measured on the same device in the same run.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from cimbench.methods.compression.boxes import cam_boxes
from cimbench.methods.compression.compressor import reconstructed
from cimbench.methods.compression.exemplar import Codec, decode_exemplar, encode_exemplar

COUNT, SIDE, FEATURES, RATIO = 64, 224, 512, 4.0
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")),
]


def inputs(device: str) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Images, last maps, classifier rows and boxes of about a third of the area."""
    random = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (COUNT, 3, SIDE, SIDE), generator=random, dtype=torch.uint8)
    maps = torch.rand(COUNT, FEATURES, 7, 7, generator=random)
    rows = torch.randn(COUNT, FEATURES, generator=random)
    corner = torch.randint(0, SIDE // 3, (COUNT, 2), generator=random)
    boxes = torch.cat([corner, corner + int(0.57 * SIDE)], 1)
    return images.to(device), maps.to(device), rows.to(device), boxes.to(device)


def measure(benchmark: BenchmarkFixture, step: Callable[[], object], device: str, moved: int) -> None:
    """Time `step`, and the copy of `moved / 2` bytes (as many read as written) as the ceiling."""

    def synchronised() -> None:
        step()
        if device == "cuda":
            torch.cuda.synchronize()

    source = torch.zeros(moved // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    copies = []
    for _ in range(20):
        start = time.perf_counter()
        target.copy_(source)
        if device == "cuda":
            torch.cuda.synchronize()
        copies.append(time.perf_counter() - start)
    benchmark(synchronised)
    median = benchmark.stats.stats.median  # type: ignore[union-attr]
    ceiling = sorted(copies)[len(copies) // 2]
    benchmark.extra_info |= {
        "images_per_second": round(COUNT / median),
        "bytes_moved": moved,
        "share_of_copy_speed": round(ceiling / median, 4),
    }
    print(f"\n{benchmark.name}: {COUNT / median:,.0f} images/s, {100 * ceiling / median:.1f} % of the copy's speed")


@pytest.mark.parametrize("device", DEVICES)
def test_boxes_from_maps(benchmark: BenchmarkFixture, device: str) -> None:
    """Activation map, normalisation, resizing, threshold, box."""
    _, maps, rows, _ = inputs(device)
    expected, _ = cam_boxes(maps.cpu(), rows.cpu(), SIDE, SIDE, 0.6)
    assert torch.equal(cam_boxes(maps, rows, SIDE, SIDE, 0.6)[0].cpu(), expected)
    measure(benchmark, lambda: cam_boxes(maps, rows, SIDE, SIDE, 0.6), device, maps.nbytes + rows.nbytes)


@pytest.mark.parametrize("device", DEVICES)
def test_reconstruction(benchmark: BenchmarkFixture, device: str) -> None:
    """What replay will see, for all candidates at once: down, up and paste in one gather."""
    images, _, _, boxes = inputs(device)
    stored = encode_exemplar(images[0].cpu(), boxes[0], 0, RATIO, Codec())
    assert torch.equal(reconstructed(images, boxes, RATIO)[0].cpu(), decode_exemplar(stored, Codec()))
    measure(benchmark, lambda: reconstructed(images, boxes, RATIO), device, 2 * images.nbytes)


@pytest.mark.parametrize("codec", [Codec(), Codec(name="jpeg", quality=90)], ids=lambda codec: codec.name)
def test_encoding(benchmark: BenchmarkFixture, codec: Codec) -> None:
    """Images to stored bytes, one after another."""
    images, _, _, boxes = inputs("cpu")
    pairs = list(zip(images, boxes, strict=True))
    written = sum(len(encode_exemplar(image, box, 0, RATIO, codec)) for image, box in pairs)
    assert 0 < written < images.nbytes
    step = lambda: [encode_exemplar(image, box, 0, RATIO, codec) for image, box in pairs]  # noqa: E731
    measure(benchmark, step, "cpu", images.nbytes + written)


@pytest.mark.parametrize("codec", [Codec(), Codec(name="jpeg", quality=90)], ids=lambda codec: codec.name)
def test_decoding(benchmark: BenchmarkFixture, codec: Codec) -> None:
    """Stored bytes to images, one after another."""
    images, _, _, boxes = inputs("cpu")
    contents = [encode_exemplar(image, box, 0, RATIO, codec) for image, box in zip(images, boxes, strict=True)]
    assert all(decode_exemplar(content, codec).shape == (3, SIDE, SIDE) for content in contents)
    moved = images.nbytes + sum(len(content) for content in contents)
    measure(benchmark, lambda: [decode_exemplar(content, codec) for content in contents], "cpu", moved)
