"""One step of CIM's mask level, beside the whole graph of second order in torch's own operations."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch import Tensor
from torch.nn import functional

from cimbench.benchmarks.throughput.inputs import DEVICES
from cimbench.benchmarks.throughput.measure import Job, measure
from cimbench.methods.compression.masks.adaptive import AdaptiveParameters
from cimbench.methods.compression.masks.mask_level import Batch, MaskGradient, mask_gradient
from cimbench.methods.networks import resnet
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.networks.rational import plain_rational

IMAGES = 16  # the paper's
SIZES = {"cpu": ("resnet8", "strided", 16, 64), "cuda": ("resnet18", "imagenet", 64, 224)}


def plainly(x: Tensor, coefficients: Tensor | None) -> Tensor:
    """An activation by torch's own operations."""
    return functional.relu(x) if coefficients is None else plain_rational(x, coefficients)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("micro_batch", [IMAGES, 4])
def test_mask_level(
    benchmark: BenchmarkFixture, micro_batch: int, device: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and in parts; gradients equal to the plain ones up to rounding."""
    architecture, stem, width, side = SIZES[device]
    parameters = NetworkParameters(architecture=architecture, stem=stem, width=width, input_side=side)
    network = Network(parameters, torch.Generator().manual_seed(0), rational_activations=True)
    network.head.grow(10, torch.Generator().manual_seed(0))
    network.to(device).eval()
    random = torch.Generator().manual_seed(0)
    labels = torch.arange(IMAGES, device=device) % 10
    inner, outer = (Batch(torch.randn(IMAGES, 3, side, side, generator=random).to(device), labels) for _ in range(2))
    level = AdaptiveParameters(micro_batch=micro_batch).level

    def loss(images: Tensor, labels: Tensor) -> Tensor:
        return functional.cross_entropy(network(images).logits, labels)

    def step() -> MaskGradient:
        return mask_gradient(network, loss, inner, outer, 0.01, level, [0])

    def plain() -> MaskGradient:
        with monkeypatch.context() as patch:
            patch.setattr(resnet, "activate", plainly)
            return mask_gradient(network, loss, inner, outer, 0.01, replace(level, micro_batch=IMAGES), [0])

    ours, theirs = step().gradients[0], plain().gradients[0]
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0.05 * float(theirs.abs().max()))  # a ReLU at 0 may flip
    way = "at once" if micro_batch == IMAGES else f"in parts of {micro_batch}"
    job = Job(
        step=f"mask level, {way}", input=f"{IMAGES} of {side} x {side}, {architecture}", device=device, images=IMAGES,
        moved=inner.images.nbytes + outer.images.nbytes, bound="convolutions, then the activations' derivatives",
        ceiling_name="all of the graph, torch's operations",
    )  # fmt: skip
    measure(benchmark, job, step, ceiling=plain, memory=True)
