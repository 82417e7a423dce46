"""What each host really minimises: the loss that it hands to the epoch loop, against formulas written out here."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from cimbench.benchmarks.cell.run import Bench, build, remember, task
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.errors import InputError
from cimbench.datasets.stream.augment import normalise
from cimbench.methods.foster import FOSTER
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network, Output
from cimbench.methods.training.recipe import LEARNING, Stage
from cimbench.methods.training.task import Task
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, Silent, place

pytestmark = pytest.mark.usefixtures("workspace")

OLD, ALL = 2, 3  # classes: two learnt one after another, then one more


class Stages(NamedTuple):
    """What was handed to the epoch loop in the last phase, in place of training."""

    names: list[str]
    values: list[float]
    tasks: list[Task]
    outputs: list[Output]
    own: list[Tensor]
    before: Network
    images: Tensor
    labels: Tensor


@torch.enable_grad()
def third_phase(method: str, **parameters: Any) -> tuple[Bench, Stages]:
    """Two phases learnt; in the third each loss is evaluated once on a fixed batch, and nothing is trained."""
    sections = {"methods": {method: parameters}, "training": {"base_epochs": 2, "epochs": 2}}
    suite = tiny_suite(protocol={"phases": 4}, budget={"exemplars_per_class": 2.0}, **sections)
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, "none", SEED))
    for phase in range(2):
        bench.method.learn(task(bench, bench.stream.phase(phase), [], Silent()))
        remember(bench, bench.stream.phase(phase))
    given = task(bench, bench.stream.phase(2), [], Silent())
    pixels, labels = given.pool.batch(torch.arange(0, len(given.pool), 2))
    before = copy.deepcopy(bench.method.student if isinstance(bench.method, FOSTER) else bench.method.network).eval()
    seen = Stages([], [], [], [], [], before, normalise(pixels), labels)

    def fit(task: Task, loss: Loss, stage: Stage = LEARNING, network: Network | None = None) -> None:
        learner = (network or bench.method.network).eval()
        seen.names.append(stage.name)
        seen.tasks.append(task)
        with torch.no_grad():
            output = learner(seen.images)
            seen.values.append(float(loss(seen.images, seen.labels)))
            seen.outputs.append(output)
            last = output.features[:, -learner.backbone.features :]
            seen.own.append(learner.auxiliary(last) if learner.auxiliary is not None else torch.empty(0))

    bench.method.fit = fit  # type: ignore[method-assign]
    bench.method.learn(given)
    return bench, seen


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    return -torch.log_softmax(logits, 1)[torch.arange(len(labels)), labels].mean()


def distilled(logits: Tensor, old: Tensor, temperature: float = 2.0) -> Tensor:
    kept = torch.log_softmax(logits[:, : old.shape[1]] / temperature, 1)
    return -(torch.softmax(old / temperature, 1) * kept).sum(1).mean()


def near(value: float, expected: Tensor) -> None:
    assert value == pytest.approx(float(expected), rel=1e-5)


@torch.no_grad()
def test_wa() -> None:
    _, seen = third_phase("wa")
    logits, old = seen.outputs[0].logits, seen.before(seen.images).logits
    near(seen.values[0], (1 - OLD / ALL) * cross_entropy(logits, seen.labels) + OLD / ALL * distilled(logits, old))


@torch.no_grad()
@pytest.mark.parametrize(("forget", "margin"), [(5.0, 1.0), (0.0, 2.0), (3.0, 0.0)])
def test_lucir(forget: float, margin: float) -> None:
    bench, seen = third_phase("lucir", less_forget=forget, margin_weight=margin, margin=1.9, hardest=1)
    output, labels = seen.outputs[0], seen.labels
    expected = cross_entropy(output.logits, labels)
    cosine = torch.nn.functional.cosine_similarity(seen.before(seen.images).features, output.features)
    expected = expected + forget * (OLD / (ALL - OLD)) ** 0.5 * (1 - cosine).mean()
    rows = torch.nn.functional.normalize(bench.method.network.head.weight, dim=1)
    cosines = torch.nn.functional.normalize(output.features, dim=1) @ rows.T
    pairs = [
        max(0.0, 1.9 - float(c[y]) + float(c[OLD:].max()))
        for c, y in zip(cosines, labels.tolist(), strict=True)
        if y < OLD
    ]
    assert len(pairs) > 2
    near(seen.values[0], expected + margin * torch.tensor(pairs).mean())


@torch.no_grad()
def test_lucir_compares_with_the_features_before() -> None:
    """With a network that has moved, the less-forget term is what tells the losses apart."""
    bench, _ = third_phase("lucir")
    losses: list[Callable[[Tensor, Tensor], Tensor]] = []
    bench.method.fit = lambda _task, loss, *_rest: losses.append(loss)  # type: ignore[method-assign, assignment]
    given = task(bench, bench.stream.phase(3), [], Silent())
    remember(bench, bench.stream.phase(2))
    old = copy.deepcopy(bench.method.network).eval()
    bench.method.learn(given)
    bench.method.network.eval()
    images, labels = normalise(given.pool.images.batch(torch.arange(6))), given.pool.labels[:6]
    still = float(losses[0](images, labels))
    for value in bench.method.network.backbone.parameters():
        value.mul_(1.3)
    output = bench.method.network(images)
    cosine = torch.nn.functional.cosine_similarity(output.features, old(images).features)
    assert float((1 - cosine).mean()) > 1e-4
    expected = cross_entropy(output.logits, labels) + 10.0 * 3**0.5 * (1 - cosine).mean()
    near(float(losses[0](images, labels)), expected)  # only new labels: no margin
    assert still != pytest.approx(float(expected), rel=1e-4)


@torch.no_grad()
def test_der() -> None:
    bench, seen = third_phase("der", auxiliary_weight=0.7, tuning_epochs=3, tuning_temperature=5.0)
    assert seen.names == ["learning", "tuning"]
    apart = torch.where(seen.labels < OLD, 0, seen.labels - OLD + 1)
    expected = cross_entropy(seen.outputs[0].logits, seen.labels) + 0.7 * cross_entropy(seen.own[0], apart)
    near(seen.values[0], expected)
    assert seen.own[0].shape[1] == 2  # "old" and the one new class
    near(seen.values[1], cross_entropy(seen.outputs[1].logits / 5.0, seen.labels))
    assert not torch.equal(seen.outputs[0].logits, seen.outputs[1].logits)  # the head is new
    assert torch.equal(seen.outputs[0].features, seen.outputs[1].features)
    tuned = seen.tasks[1].pool
    counts = tuned.batch(torch.arange(len(tuned)))[1].bincount()
    assert counts.tolist() == [int(seen.tasks[0].pool.all_labels.bincount().min())] * ALL
    assert not any(p.requires_grad for branch in bench.method.network.branches for p in branch.parameters())


def test_der_leaves_tuning_out_where_a_class_would_be_lost() -> None:
    bench, seen = third_phase("der", tuning_epochs=3)
    given = task(bench, bench.stream.phase(3), [], Silent())
    without = bench.memory.store.labels != 0
    bench.memory.store = bench.memory.store.subset(torch.nonzero(without).flatten())
    seen.names.clear()
    bench.method.learn(task(bench, bench.stream.phase(3), [], Silent()))
    assert given.total_classes == 4
    assert seen.names == ["learning"]


def weights(counts: list[int], beta: float) -> Tensor:
    values = torch.tensor([(1 - beta) / (1 - beta**count) for count in counts], dtype=torch.float64)
    return (values / values.sum() * len(counts)).float()


@torch.no_grad()
def test_foster() -> None:
    bench, seen = third_phase("foster", beta1=[0.5, 0.9], beta2=0.6, warm_start=False)
    assert seen.names == ["learning", "compression"]
    counts = seen.tasks[0].pool.all_labels.bincount().tolist()
    assert min(counts) < max(counts)  # exemplars are counted
    boosted, student = seen.outputs
    old = seen.before(seen.images).logits
    expected = cross_entropy(boosted.logits / weights(counts, 0.9), seen.labels)  # the second later phase's beta1
    expected = expected + cross_entropy(seen.own[0], seen.labels) + distilled(boosted.logits, old)
    near(seen.values[0], expected)
    target = torch.softmax(boosted.logits / 2, 1) * weights(counts, 0.6)
    target = target / target.sum(1, keepdim=True)
    near(seen.values[1], -(target * torch.log_softmax(student.logits / 2, 1)).sum(1).mean())
    torch.testing.assert_close(student.logits[:, :OLD], old)  # the student starts as the old model
    torch.testing.assert_close(boosted.features[:, : old_features(seen)], seen.before(seen.images).features)
    assert isinstance(bench.method, FOSTER)
    assert all(p.requires_grad for p in bench.method.student.parameters())


def old_features(seen: Stages) -> int:
    return seen.before.features


def test_the_teacher_does_not_move_while_it_is_compressed() -> None:
    unaligned = {"foster": {"teacher_alignment": False, "student_alignment": False}}
    suite = tiny_suite(training={"base_epochs": 1, "epochs": 1}, methods=unaligned)
    place(suite, coloured_store())
    bench = build(find_cell(suite, "foster", "none", SEED))
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    real, states = bench.method.fit, []

    def fit(*arguments: Any) -> None:
        real(*arguments)
        states.append({name: value.clone() for name, value in bench.method.network.state_dict().items()})

    bench.method.fit = fit  # type: ignore[method-assign]
    bench.method.learn(task(bench, bench.stream.phase(1), [], Silent()))
    assert len(states) == 2
    for name, value in states[1].items():
        if "auxiliary" not in name:
            assert torch.equal(value, states[0][name]), name


def test_foster_asks_for_as_many_beta1_as_there_are_phases() -> None:
    with pytest.raises(InputError, match=r"beta1 has 2 values, but there are more than as many later phases"):
        bench, _ = third_phase("foster", beta1=[0.5, 0.9])
        bench.method.learn(task(bench, bench.stream.phase(3), [], Silent()))


@pytest.mark.parametrize("method", ["der", "foster"])
def test_a_second_training_makes_no_new_artifacts(method: str) -> None:
    sections = {
        "compressors": {"full": {"ratio": 4.0, "artifacts": {"step": 0.1, "refresh_epochs": 1}}},
        "training": {"base_epochs": 3, "epochs": 3},
    }
    suite = tiny_suite(**sections)
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, "full", SEED))
    for phase in range(2):
        given = task(bench, bench.stream.phase(phase), [], Silent())
        bench.method.learn(given)
        remember(bench, bench.stream.phase(phase))
        assert given.pool.artifacts is not None
        assert given.pool.artifacts.refreshes == 1  # before the second epoch, and not before the last one


def test_one_image_is_too_little_to_learn_from() -> None:
    suite = tiny_suite()
    place(suite, coloured_store())
    bench = build(find_cell(suite, "replay", "none", SEED))
    phase = bench.stream.phase(0)
    object.__setattr__(phase, "train", phase.train.subset(torch.tensor([0])))
    with pytest.raises(InputError, match="phase 1 has 1 image to learn from; give it two or more"):
        bench.method.learn(task(bench, phase, [], Silent()))
