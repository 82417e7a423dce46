"""What follows the published codes by an option: whole images for the masks, a student without decay, artifacts."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor

from cimbench.benchmarks.cell.run import build, task
from cimbench.benchmarks.suite.config import find_cell
from cimbench.methods.compression.masks import adaptive
from cimbench.methods.compression.masks.mask_level import MaskGradient, mask_gradient
from cimbench.methods.training import trainer
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, Silent, place

pytestmark = pytest.mark.usefixtures("workspace")
ALWAYS = {"artifacts": {"step": 1.0, "refresh_epochs": 1}, "ratio": 4.0, "threshold": 0.5, "batch_size": 4}


def first_phase(method: str = "replay", **compressor: Any) -> Any:
    suite = tiny_suite(training={"base_epochs": 3, "epochs": 3}, compressors={"cim": {**ALWAYS, **compressor}})
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, "cim", SEED))
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    return bench


@pytest.mark.parametrize(("given", "whole"), [(None, False), ("whole", True)])
def test_masks_learn_from_whole_images_where_it_is_asked(
    monkeypatch: pytest.MonkeyPatch, given: str | None, whole: bool
) -> None:
    """Artifacts are always shown here, from the second epoch on; the host sees them in any case."""
    drawn: list[bool] = []
    real = trainer.Draws

    class Seen(real):  # type: ignore[misc, valid-type]
        def __call__(self, count: int) -> tuple[Tensor, Tensor]:
            drawn.append(self._pool.artifacts is None)
            return super().__call__(count)  # type: ignore[no-any-return]

    monkeypatch.setattr(trainer, "Draws", Seen)
    bench = first_phase(mask_images=given)
    assert drawn and set(drawn) == {whole}
    assert bench.method.network is not None


def test_an_exploding_inner_step_is_told_once_and_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def exploding(*arguments: Any) -> MaskGradient:
        found = mask_gradient(*arguments)
        return found._replace(outer=torch.tensor(2.5e27))

    monkeypatch.setattr(adaptive, "mask_gradient", exploding)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        bench = first_phase(artifacts=None)
    told = [str(one.message) for one in seen if "outer loss" in str(one.message)]
    assert len(told) == 1
    assert told[0].startswith("the mask level's outer loss is 2.5e+27 in epoch 1 of phase 1: its inner step is too")
    assert "lower compressors.cim.inner_share, or the host's training.learning_rate" in told[0]
    assert bench.memory.compressor.measured()["mask_outer_loss_worst"] == pytest.approx(2.5e27)


def test_a_usual_inner_step_is_no_news() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bench = first_phase(artifacts=None)
    measured = bench.memory.compressor.measured()
    assert 0 < measured["mask_outer_loss"] <= measured["mask_outer_loss_worst"] < 10


@pytest.mark.parametrize(("given", "expected"), [(None, [0.5, 0.5]), (0.0, [0.5, 0.0])])
def test_fosters_student_has_a_decay_of_its_own(
    monkeypatch: pytest.MonkeyPatch, given: float | None, expected: list[float]
) -> None:
    seen: list[float] = []
    real = torch.optim.SGD

    def optimiser(*arguments: Any, **named: Any) -> torch.optim.SGD:
        seen.append(named["weight_decay"])
        return real(*arguments, **named)

    suite = tiny_suite(
        training={"base_epochs": 1, "epochs": 1, "weight_decay": 0.5},
        methods={"foster": {"compression_weight_decay": given}},
    )
    place(suite, coloured_store())
    bench = build(find_cell(suite, "foster", "none", SEED))
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    monkeypatch.setattr(torch.optim, "SGD", optimiser)
    bench.method.learn(task(bench, bench.stream.phase(1), [], Silent()))
    assert seen == expected
