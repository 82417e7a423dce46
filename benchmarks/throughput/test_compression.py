"""After the network's forward: boxes, and images to stored bytes; beside a copy and the reference procedure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from PIL import Image
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from cimbench.benchmarks.throughput import reference
from cimbench.benchmarks.throughput.inputs import (
    DEVICES,
    RATIO,
    SQUARE,
    THRESHOLD,
    WIDE,
    Shape,
    peaked_maps,
    photographs,
)
from cimbench.benchmarks.throughput.measure import Job, measure
from cimbench.methods.compression.boxes.activation import boxes_above, boxes_of_maps, class_activation_maps
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.exemplars.exemplar import Format, headers_for
from cimbench.methods.compression.exemplars.packing import pack, pack_store, reconstructed
from cimbench.methods.compression.exemplars.store import ExemplarStore

SHAPES = pytest.mark.parametrize("shape", [WIDE, SQUARE], ids=str)
FORM = Format(ratio=RATIO)


@pytest.fixture(autouse=True)
def one_core() -> Iterator[None]:
    """These steps are short copies: one core does them, as it does the reference."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pictures(images: Tensor) -> list[Image.Image]:
    """The first 64, as Pillow has them after decoding."""
    return [Image.fromarray(image.permute(1, 2, 0).numpy()) for image in images[:64].cpu()]


def stored(boxes: Tensor, height: int, width: int) -> int:
    """Bytes of the exemplars of images of one size."""
    sizes = torch.tensor([height, width]).expand(len(boxes), 2)
    return int(headers_for(sizes, boxes.cpu(), torch.zeros(len(boxes), dtype=torch.int64), FORM).lengths.sum())


@pytest.mark.parametrize("device", DEVICES)
@SHAPES
def test_boxes_from_maps(benchmark: BenchmarkFixture, shape: Shape, device: str) -> None:
    """w_y . F(x), normalisation, threshold, box; the maps are what is read."""
    maps, rows = peaked_maps(len(shape.images(device)), device)

    def step() -> Boxes:
        return boxes_of_maps(class_activation_maps(maps, rows), shape.sizes(len(maps)), THRESHOLD)

    host_maps, host_rows = maps[:64].cpu(), rows[:64].cpu()

    def by_reference() -> list[reference.Corners]:
        cams = map(reference.activation_map, host_maps, host_rows)
        return [reference.box(cam, shape.height, shape.width, THRESHOLD) for cam in cams]

    assert step().xyxy[:64].tolist() == [list(corners) for corners in by_reference()]
    job = Job(
        step="boxes from maps", input=f"{len(maps)} of {shape}", device=device, images=len(maps),
        moved=maps.nbytes + rows.nbytes, bound="reading the maps",
    )  # fmt: skip
    per_image = len(maps) // 64
    measure(benchmark, job, step, reference=lambda: [by_reference() for _ in range(per_image)])


@pytest.mark.parametrize("device", DEVICES)
@SHAPES
def test_boxes_and_compression(benchmark: BenchmarkFixture, shape: Shape, device: str) -> None:
    """Everything after the activation map: boxes, then images to stored bytes."""
    images = shape.images(device)
    cam = class_activation_maps(*peaked_maps(len(images), device))
    labels = torch.zeros(len(images), dtype=torch.int64)

    def step() -> Tensor:
        boxes = boxes_of_maps(cam, shape.sizes(len(cam)), THRESHOLD).xyxy
        return pack(images, boxes, labels, FORM).buffer

    originals, host_cam = pictures(images), cam[:64].cpu()

    def by_reference() -> list[Image.Image]:
        corners = [reference.box(cam, shape.height, shape.width, THRESHOLD) for cam in host_cam]
        return [reference.blurred(picture, c, RATIO) for picture, c in zip(originals, corners, strict=True)]

    boxes = boxes_of_maps(cam, shape.sizes(len(cam)), THRESHOLD).xyxy
    shown = torch.stack([torch.frombuffer(bytearray(p.tobytes()), dtype=torch.uint8) for p in by_reference()])
    assert torch.equal(reconstructed(images[:64], boxes[:64], FORM).cpu().permute(0, 2, 3, 1).reshape(64, -1), shown)
    job = Job(
        step="boxes + compression", input=f"{len(images)} of {shape}", device=device, images=len(images),
        moved=2 * stored(boxes, shape.height, shape.width), bound="copying the kept pixels",
    )  # fmt: skip
    measure(benchmark, job, step, reference=lambda: [by_reference() for _ in range(len(images) // 64)])


@pytest.mark.parametrize("device", DEVICES)
def test_boxes_and_compression_of_photographs(benchmark: BenchmarkFixture, device: str) -> None:
    """Real pictures, every one of another size; on a GPU with their way there."""
    photos = photographs()
    cam = class_activation_maps(*peaked_maps(len(photos), device))

    def step() -> Tensor:
        boxes = boxes_above(cam, photos, THRESHOLD).xyxy
        return pack_store(photos, boxes, FORM, torch.device(device)).buffer

    host_cam = cam.cpu()
    originals = [Image.fromarray(photos.image(i).permute(1, 2, 0).numpy()) for i in range(len(photos))]

    def by_reference() -> list[Image.Image]:
        corners = [reference.box(c, p.height, p.width, THRESHOLD) for c, p in zip(host_cam, originals, strict=True)]
        return [reference.blurred(p, c, RATIO) for p, c in zip(originals, corners, strict=True)]

    packed = pack_store(photos, boxes_above(cam, photos, THRESHOLD).xyxy, FORM, torch.device(device))
    shown = ExemplarStore.from_packed(packed, FORM).images()
    for i, picture in enumerate(by_reference()):
        assert shown.image(i).permute(1, 2, 0).numpy().tobytes() == picture.tobytes()
    job = Job(
        step="boxes + compression", input="64 photographs", device=device, images=len(photos),
        moved=2 * len(step()), bound="copying the kept pixels",
    )  # fmt: skip
    measure(benchmark, job, step, reference=by_reference)
