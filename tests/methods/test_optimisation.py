"""The epoch loop: what reaches the loss, how the rate falls, what is clipped, what stops it."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from cimbench.datasets.augment import AugmentParameters, normalise
from cimbench.methods.optimisation import EpochReport, NonFiniteLossError, Task, train
from cimbench.methods.pool import Pool
from cimbench.methods.recipe import TrainingParameters

PLAIN = AugmentParameters(flip=False)


def task(images: Tensor, reports: list[EpochReport] | None = None, phase: int = 0) -> Task:
    keep = reports if reports is not None else []
    labels = torch.zeros(len(images), dtype=torch.int64)
    pool = Pool(images=images, labels=labels)
    return Task(phase=phase, old_classes=0, total_classes=1, pool=pool, on_epoch=keep.append)


def training(**changes: float) -> TrainingParameters:
    values = {
        "base_epochs": 4,
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
    }
    return TrainingParameters(**{**values, **changes})  # type: ignore[arg-type]


class Slope(nn.Module):
    """One weight whose loss has the gradient `slope` everywhere."""

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.slope = slope
        self.seen: list[float] = []

    def loss(self, images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG002
        self.seen.append(self.weight.item())
        return (self.slope * self.weight).sum()


def test_the_rate_falls_by_a_cosine_per_epoch() -> None:
    """With gradient 1 the weight moves by minus the rate: 0.1 (1 + cos(pi e / 4)) / 2."""
    module = Slope(1.0)
    train(module, module.loss, task(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)), training(), PLAIN, 0)
    after = [*module.seen[1:], module.weight.item()]
    steps = [before - now for before, now in zip(module.seen, after, strict=True)]
    expected = [0.1 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert steps == pytest.approx(expected, rel=1e-5)


def test_momentum_and_weight_decay_are_sgd_by_hand() -> None:
    module = Slope(1.0)
    values = training(base_epochs=1, batch_size=2, momentum=0.9, weight_decay=0.5)
    train(module, module.loss, task(torch.zeros(6, 3, 8, 8, dtype=torch.uint8)), values, PLAIN, 0)
    weight, velocity = 0.0, 0.0
    for _ in range(3):
        velocity = 0.9 * velocity + (1.0 + 0.5 * weight)
        weight -= 0.1 * velocity
    assert module.weight.item() == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize(("slope", "clip", "moved"), [(50.0, None, 5.0), (50.0, 2.0, 0.2), (0.5, 2.0, 0.05)])
def test_the_gradient_is_clipped_at_its_norm(slope: float, clip: float | None, moved: float) -> None:
    module = Slope(slope)
    values = training(base_epochs=1, gradient_clip=clip)  # type: ignore[arg-type]
    train(module, module.loss, task(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)), values, PLAIN, 0)
    assert module.weight.item() == pytest.approx(-moved, rel=1e-4)


def test_the_loss_sees_augmented_images_and_their_labels() -> None:
    images = torch.arange(4 * 3 * 64, dtype=torch.int64).remainder(251).to(torch.uint8).view(4, 3, 8, 8)
    seen: list[Tensor] = []
    module = Slope(1.0)

    def loss(batch: Tensor, labels: Tensor) -> Tensor:
        seen.append(batch)
        return module.loss(batch, labels)

    train(module, loss, task(images), training(base_epochs=6), AugmentParameters(flip=True), 0)
    plain = {normalise(image[None]).numpy().tobytes() for image in images}
    mirrored = {normalise(image[None].flip(-1)).numpy().tobytes() for image in images}
    shown = [image[None].contiguous().numpy().tobytes() for batch in seen for image in batch]
    assert all(image in plain | mirrored for image in shown)
    assert any(image in plain for image in shown)
    assert any(image in mirrored for image in shown)


def test_epochs_of_the_first_phase_and_of_the_later_ones() -> None:
    for phase, expected in ((0, 4), (1, 2), (5, 2)):
        reports: list[EpochReport] = []
        module = Slope(1.0)
        given = task(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), reports, phase)
        train(module, module.loss, given, training(), PLAIN, 0)
        assert [(r.phase, r.epoch, r.epochs) for r in reports] == [(phase, e, expected) for e in range(expected)]


@pytest.mark.parametrize(("phase", "kept"), [(0, "nothing is lost"), (2, "The checkpoint after phase 2 is kept")])
def test_weights_that_overflow_in_the_last_step_are_not_kept(phase: int, kept: str) -> None:
    """Every loss was finite, yet the phase may not be recorded as good."""
    module = Slope(1e30)
    values = training(base_epochs=1, epochs=1, learning_rate=1e30)
    given = task(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), phase=phase)
    with pytest.raises(NonFiniteLossError, match=f"weight is not finite after phase {phase + 1}.*{kept}"):
        train(module, module.loss, given, values, PLAIN, 0)
