"""What every host's batches hold and what its training moves, watched from inside the epoch loop."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor

from cimbench.benchmarks.cell.run import Bench, build, remember, run_cell, task
from cimbench.benchmarks.registry import METHODS
from cimbench.benchmarks.suite.config import find_cell
from cimbench.methods.training import trainer as optimisation
from cimbench.methods.training.trainer import Trainer
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, WITH_MEMORY, Silent, place

pytestmark = pytest.mark.usefixtures("workspace")
EPOCHS = 3


def after_first_phase(method: str, compressor: str = "full") -> Bench:
    suite = tiny_suite(training={"base_epochs": EPOCHS, "epochs": EPOCHS})
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, compressor, SEED))
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    if bench.method.uses_memory:
        remember(bench, bench.stream.phase(0))
    return bench


@contextmanager
def watched_images() -> Iterator[dict[str, Counter[bytes]]]:
    """Every image as it is before augmentation, by the stage that it is learnt in."""
    seen: dict[str, Counter[bytes]] = {}
    stage = ["learning"]
    real_epoch, real_augment = Trainer.run_epoch, optimisation.augment

    def run_epoch(trainer: Trainer) -> None:
        stage[0] = trainer.stage
        real_epoch(trainer)

    def augment(images: Tensor, *rest: object) -> Tensor:
        seen.setdefault(stage[0], Counter()).update(image.contiguous().numpy().tobytes() for image in images)
        return real_augment(images, *rest)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", run_epoch)
        patch.setattr(optimisation, "augment", augment)
        yield seen


@pytest.mark.parametrize("method", METHODS)
def test_every_exemplar_is_learnt_once_an_epoch_and_no_original_is(method: str) -> None:
    bench = after_first_phase(method)
    originals = {image.numpy().tobytes() for image in bench.stream.phase(0).train.resized(16).contiguous()}
    new = Counter(image.numpy().tobytes() for image in bench.stream.phase(1).train.resized(16).contiguous())
    held = Counter(image.numpy().tobytes() for image in bench.memory.store.images().resized(16).contiguous())
    assert bool(held) == (METHODS[method] in WITH_MEMORY)
    with watched_images() as seen:
        bench.method.learn(task(bench, bench.stream.phase(1), [], Silent()))
    assert set(seen) == {"der": {"learning", "tuning"}, "foster": {"learning", "compression"}}.get(method, {"learning"})
    if method == "joint":
        assert seen["learning"] == Counter(dict.fromkeys(originals | set(new), EPOCHS))
        return
    for image, count in (held + new).items():
        assert seen["learning"][image] == EPOCHS * count
    assert sum(seen["learning"].values()) == EPOCHS * (held + new).total()
    for stage in seen.values():
        assert not originals & set(stage)
    if method == "foster":
        assert seen["compression"] == seen["learning"]
    if method == "der":
        assert set(seen["tuning"]) <= set(held + new)
        assert set(seen["tuning"]) & set(held)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_frozen_does_not_move_and_the_rest_does(method: str) -> None:
    """In every stage of the second phase: weights and batch statistics of frozen branches, fixed rows."""
    bench = after_first_phase(method)
    real, checked = Trainer.run_epoch, Counter[str]()

    def run_epoch(trainer: Trainer) -> None:
        network = trainer.network
        frozen = {name for name, p in network.named_parameters() if not p.requires_grad}
        inside = tuple(f"branches.{number}." for number in range(network.frozen))
        frozen |= {name for name in network.state_dict() if name.startswith(inside) or name == "head.fixed"}
        before = {name: value.clone() for name, value in network.state_dict().items()}
        real(trainer)
        for name, value in network.state_dict().items():
            if name in frozen:
                assert torch.equal(value, before[name]), name
                checked["frozen"] += 1
            elif "num_batches" not in name:
                assert not torch.equal(value, before[name]), name
                checked["moved"] += 1

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "run_epoch", run_epoch)
        bench.method.learn(task(bench, bench.stream.phase(1), [], Silent()))
    assert checked["moved"] > 0
    assert (checked["frozen"] > 0) == (method in ("der", "foster", "lucir"))


@pytest.mark.parametrize("method", METHODS)
def test_phases_of_one_class_and_classes_of_one_image(method: str) -> None:
    """Four phases of one class each; and, where the first phase has two, classes of a single image."""
    for store, phases in ((coloured_store(), 4), (coloured_store(train=1), 2)):
        suite = tiny_suite(protocol={"phases": phases}, training={"base_epochs": 1, "epochs": 1, "batch_size": 4})
        place(suite, store)
        record = run_cell(find_cell(suite, method, "class_activation", SEED), Silent())
        assert record.complete
        assert record.group_sizes == [4 // phases] * phases
        for phase in record.phases:
            assert all(torch.isfinite(torch.tensor(phase.losses)))
