"""The epoch loop: what reaches the loss, how the rate falls, what is clipped, what stops it."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from cimbench.datasets.errors import InputError
from cimbench.datasets.stream.augment import AugmentParameters, normalise
from cimbench.datasets.stream.feed import Resident
from cimbench.methods.compression.compressor import Compressor, EpochDone
from cimbench.methods.errors import NonFiniteLossError
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.training.pool import Pool
from cimbench.methods.training.recipe import Stage, TrainingParameters
from cimbench.methods.training.task import EpochReport, Task
from cimbench.methods.training.trainer import train
from tests.conftest import coloured_store

PLAIN = AugmentParameters(flip=False)


def task(images: Tensor, reports: list[EpochReport] | None = None, phase: int = 0) -> Task:
    keep = reports if reports is not None else []
    labels = torch.zeros(len(images), dtype=torch.int64)
    pool = Pool(images=Resident(images), labels=labels)
    return Task(phase=phase, old_classes=0, total_classes=1, pool=pool, on_epoch=keep.append)


def training(**changes: Any) -> TrainingParameters:
    values = {
        "base_epochs": 4,
        "epochs": 2,
        "batch_size": 4,
        "learning_rate": 0.1,
        "momentum": 0.0,
        "weight_decay": 0.0,
    }
    return TrainingParameters(**{**values, **changes})


class Slope(nn.Module):
    """One weight whose loss has the gradient `slope` everywhere."""

    input_side = 8

    def __init__(self, slope: float) -> None:
        super().__init__()
        self.branches = nn.ModuleList()
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


def rates(values: TrainingParameters, phase: int = 0) -> list[float]:
    """The rate of every epoch, read from the steps of a weight whose gradient is 1."""
    module = Slope(1.0)
    train(module, module.loss, task(torch.zeros(4, 3, 8, 8, dtype=torch.uint8), phase=phase), values, PLAIN, 0)
    after = [*module.seen[1:], module.weight.item()]
    return [before - now for before, now in zip(module.seen, after, strict=True)]


def test_the_rate_falls_in_steps_after_a_warm_up() -> None:
    steps = training(base_epochs=6, schedule="steps", milestones=(3, 5), decay=0.5)
    assert rates(steps) == pytest.approx([0.1, 0.1, 0.1, 0.05, 0.05, 0.025], rel=1e-5)
    warm = training(base_epochs=6, schedule="steps", milestones=(3, 5), decay=0.5, warmup_epochs=2)
    assert rates(warm) == pytest.approx([0.1 / 3, 0.2 / 3, 0.1, 0.1, 0.1, 0.05], rel=1e-5)  # 3 after 2
    cosine = training(base_epochs=5, warmup_epochs=1)
    expected = [0.05, *(0.1 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4))]
    assert rates(cosine) == pytest.approx(expected, rel=1e-5)
    assert rates(training(epochs=2, warmup_epochs=9), phase=1) == pytest.approx([0.01, 0.02], rel=1e-5)


def test_a_stage_with_epochs_of_its_own_falls_by_a_plain_cosine() -> None:
    steps = training(schedule="steps", milestones=(3,), warmup_epochs=2)
    assert Stage(name="x").changed(steps) == steps
    assert Stage(name="x", learning_rate=0.5).changed(steps) == training(
        schedule="steps", milestones=(3,), warmup_epochs=2, learning_rate=0.5
    )
    assert Stage(name="x", weight_decay=0.0).changed(training(weight_decay=0.5)).weight_decay == 0.0
    assert Stage(name="x", epochs=7).changed(steps) == training(base_epochs=7, epochs=7)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"schedule": "step", "milestones": (3,)}, "training.schedule is 'step'; did you mean 'steps'"),
        ({"schedule": "steps"}, r"training.milestones is \[\]; steps need milestones"),
        ({"milestones": (3,)}, r"training.schedule is cosine and training.milestones is \[3\]"),
        ({"schedule": "steps", "milestones": (5, 3)}, r"training.milestones is \[5, 3\]; give rising epochs, from 1"),
        ({"schedule": "steps", "milestones": (0, 3)}, "give rising epochs, from 1"),
        ({"decay": 0.0}, "training.decay is 0.0; give more than 0"),
        ({"warmup_epochs": -1}, "training.warmup_epochs is -1"),
        ({"precision": "float16"}, "training.precision is 'float16'; did you mean"),
    ],
)
def test_bad_recipes_are_named(values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        training(**values)


def learnt(**changes: Any) -> tuple[dict[str, Tensor], list[Tensor], Network]:
    """A small network after two epochs; the logits that its loss saw."""
    network = Network(
        NetworkParameters(architecture="resnet8", stem="strided", width=8, input_side=16),
        torch.Generator().manual_seed(0),
    )
    network.head.grow(2, torch.Generator().manual_seed(0))
    images = coloured_store(classes=2).resized(16)[:24]
    labels = torch.arange(24) // 12
    pool = Pool(images=Resident(images), labels=labels)
    given = Task(phase=0, old_classes=0, total_classes=2, pool=pool, on_epoch=lambda _report: None)
    seen: list[Tensor] = []

    def loss(batch: Tensor, targets: Tensor) -> Tensor:
        seen.append(network(batch).logits)
        return nn.functional.cross_entropy(seen[-1], targets)

    train(network, loss, given, training(base_epochs=2, batch_size=8, **changes), PLAIN, 0)
    return network.state_dict(), seen, network


def test_bfloat16_is_for_the_forward_pass_alone() -> None:
    plain, logits, _ = learnt()
    lower, lower_logits, _ = learnt(precision="bfloat16")
    assert {value.dtype for value in logits} == {torch.float32}
    assert {value.dtype for value in lower_logits} == {torch.bfloat16}
    for name, value in lower.items():
        assert value.dtype == plain[name].dtype, name
    assert not torch.equal(plain["head.weight"], lower["head.weight"])
    torch.testing.assert_close(logits[0], lower_logits[0].float(), rtol=0.1, atol=0.05)
    torch.testing.assert_close(plain["head.weight"], lower["head.weight"], rtol=0.1, atol=0.05)


def test_a_compiled_network_learns_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forward and backward as graphs, of which torch's own generator of machine code would make kernels in a minute."""
    compilations = []
    real = functools.partial(nn.Module.compile, backend="aot_eager")
    monkeypatch.setattr(
        nn.Module, "compile", lambda module, **how: (compilations.append(module), real(module, **how))[1]
    )
    plain, _, _ = learnt()
    fast, _, network = learnt(compile=True)
    assert compilations == list(network.branches)
    assert network.branches[0]._compiled_call_impl is None
    for name, value in fast.items():
        torch.testing.assert_close(value, plain[name], rtol=1e-3, atol=1e-4, msg=name)


class Unused(Compressor):
    """A compressor that is never asked to compress."""

    def format(self, codec: Any) -> Any:
        raise AssertionError(codec)

    def boxes(self, *arguments: Any) -> Any:
        raise AssertionError(arguments)


@pytest.mark.parametrize(("images", "count"), [(32, 16), (40, 16), (20, 16), (7, 16)])
def test_batches_for_masks_share_no_image_while_there_are_others(images: int, count: int) -> None:
    """Of 20 images two batches of 16 share 12, no more; of 7 each batch is all of them."""
    seen: list[set[float]] = []

    class Watching(Unused):
        def after_epoch(self, network: Any, loss: Any, done: EpochDone) -> None:  # noqa: ARG002
            for _ in range(2):
                batch, labels = done.draw(count)
                assert len(batch) == len(labels) == min(count, images)
                seen.append({float(image.sum()) for image in batch})

    pixels = torch.arange(images, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    module = Slope(1.0)
    given = dataclasses.replace(task(pixels), compressor=Watching())
    train(module, module.loss, given, training(base_epochs=2), PLAIN, 0)
    assert len(seen) == 4
    assert all(len(batch) == min(count, images) for batch in seen)  # none twice in a batch
    for inner, outer in (seen[:2], seen[2:]):
        assert len(inner & outer) == max(0, min(2 * count, count + count) - images if images >= count else images)
    assert seen[0] != seen[2] or images <= count


def test_a_compressor_learns_after_each_epoch_of_the_first_training_alone() -> None:
    epochs: list[tuple[int, float]] = []

    class Watching(Unused):
        def after_epoch(self, network: Any, loss: Any, done: EpochDone) -> None:  # noqa: ARG002
            epochs.append((done.epoch, done.rate))

    module = Slope(1.0)
    given = dataclasses.replace(task(torch.zeros(4, 3, 8, 8, dtype=torch.uint8)), compressor=Watching())
    train(module, module.loss, given, training(base_epochs=2), PLAIN, 0)
    assert epochs == [(0, 0.1), (1, pytest.approx(0.05))]
    train(module, module.loss, given, training(base_epochs=2), PLAIN, 0, "second")
    assert len(epochs) == 2


@pytest.mark.parametrize("seed", range(5))
def test_two_batches_that_follow_share_nothing_across_the_end_of_the_images(seed: int) -> None:
    """Twenty batches of 16 of 240 images: the fifteenth ends them, and the next begins them again."""
    seen: list[set[float]] = []

    class Watching(Unused):
        def after_epoch(self, network: Any, loss: Any, done: EpochDone) -> None:  # noqa: ARG002
            seen.extend({float(image.sum()) for image in done.draw(16)[0]} for _ in range(20))

    pixels = torch.arange(240, dtype=torch.uint8).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).contiguous()
    module = Slope(1.0)
    given = dataclasses.replace(task(pixels), compressor=Watching())
    train(module, module.loss, given, training(base_epochs=1, batch_size=120), PLAIN, seed)
    assert all(len(batch) == 16 for batch in seen)
    assert not any(one & other for one, other in itertools.pairwise(seen))
    assert len(set.union(*seen[:15])) == 240
