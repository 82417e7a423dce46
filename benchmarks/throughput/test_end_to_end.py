"""Images to stored exemplars with the network, and the choice among them."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor

from cimbench.benchmarks.throughput import reference
from cimbench.benchmarks.throughput.inputs import DEVICES, RATIO, SQUARE, THRESHOLD
from cimbench.benchmarks.throughput.measure import Job, measure
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import activation_maps
from cimbench.methods.compression.class_activation import ClassActivation, ClassActivationParameters
from cimbench.methods.compression.compressor import compressed
from cimbench.methods.compression.exemplars.codecs import RAW
from cimbench.methods.memory.herding import herding_order
from cimbench.methods.networks.network import Network, NetworkParameters, in_eval

STEPS = 40  # about as many compressed exemplars as 20 plain ones make room for


def network(device: str) -> Network:
    """ResNet-18 with its head, channels-last where that is faster."""
    parameters = NetworkParameters(architecture="resnet18", stem="imagenet", width=64, input_side=SQUARE.width)
    made = Network(parameters, torch.Generator().manual_seed(0))
    made.head.grow(100, torch.Generator().manual_seed(0))
    layout = torch.channels_last if device == "cuda" else torch.contiguous_format
    return made.to(device).to(memory_format=layout).eval()


def precision(device: str) -> AbstractContextManager[object]:
    """bf16 on a GPU."""
    return torch.autocast("cuda", torch.bfloat16) if device == "cuda" else nullcontext()


@pytest.mark.parametrize("device", DEVICES)
def test_images_to_stored_bytes(benchmark: BenchmarkFixture, device: str) -> None:
    """Forward, activation maps, boxes, compression; the ceiling is the forward alone."""
    count = 16 if device == "cpu" else 1024
    shape = (count, 3, SQUARE.height, SQUARE.width)
    pixels = torch.randint(0, 256, shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    store = ImageStore.from_images(list(pixels), [0] * count)
    model, compressor = network(device), ClassActivation(ClassActivationParameters(ratio=RATIO, threshold=THRESHOLD))
    seen = store.resized(SQUARE.width)
    boxes = compressor.boxes(store, model, torch.Generator()).xyxy
    cams = activation_maps(store, model).cpu()
    assert boxes.tolist() == [list(reference.box(cam, SQUARE.height, SQUARE.width, THRESHOLD)) for cam in cams]

    def step() -> int:
        with precision(device):
            return len(compressed(store, compressor, model, compressor.format(RAW), torch.Generator()).exemplars.buffer)

    def forward() -> Tensor:
        with precision(device):
            return in_eval(model, seen, "maps")

    job = Job(
        step="end to end, ResNet-18", input=f"{count} of {SQUARE}", device=device, images=count,
        moved=pixels.nbytes + step(), bound="the forward", ceiling_name="the forward alone",
    )  # fmt: skip
    measure(benchmark, job, step, ceiling=forward)


@pytest.mark.parametrize("device", DEVICES)
def test_herding(benchmark: BenchmarkFixture, device: str) -> None:
    """40 of a class of ImageNet's size; each step reads every feature once."""
    features = torch.randn(1300, 512, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    there = features.to(device)

    def by_reference() -> list[int]:
        return reference.herding(features.numpy(), STEPS)

    assert herding_order(there, STEPS).tolist() == by_reference()
    job = Job(
        step="herding", input=f"{STEPS} of 1300 x 512", device=device, images=1300,
        moved=STEPS * there.nbytes, bound="reading the features at each step",
    )  # fmt: skip
    measure(benchmark, job, lambda: herding_order(there, STEPS), reference=by_reference)
