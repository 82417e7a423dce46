"""Cut in the middle of a phase and started again: the same bits, and no saved epoch learnt twice."""

from __future__ import annotations

import dataclasses
import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.registry import METHODS
from cimbench.benchmarks.suite.config import Cell, find_cell
from cimbench.datasets.errors import InputError
from cimbench.datasets.randomness import generator
from tests.benchmarks.interruption import FOUR_PHASES, CutAt, PowerCutError, batches, measured, outcome
from tests.benchmarks.workplace import furnish
from tests.methods.cells import Silent


@pytest.mark.parametrize("method", METHODS)
def test_cut_at_any_batch_a_method_goes_on_within_the_phase(workspace: Path, method: str) -> None:
    """Cut at three batches chosen by chance: the same bits, and no epoch that was saved is learnt again."""
    artifacts = {"full": {"ratio": 4.0, "artifacts": {"step": 0.4, "refresh_epochs": 2}}}
    suite = furnish(workspace, **{**FOUR_PHASES, "compressors": artifacts})
    cell = find_cell(suite, method, "full", 3)
    total = batches(cell)
    expected = outcome(cell.folder)
    cell = find_cell(dataclasses.replace(suite, checkpoint_epochs=1), method, "full", 3)
    random = generator(3, "cuts", method)
    learnt = 0
    for part in range(3):
        stop = 1 + int(torch.randint(total // 4, total // 3, (), generator=random))
        with pytest.raises(PowerCutError):
            batches(cell, stop)
        learnt += stop - 1
        assert cell.phase_checkpoint.is_file(), part
    learnt += batches(cell)
    longest = math.ceil((12 * 4 + 12) / 8)  # of an epoch's batches: all that can be lost at each cut
    assert total <= learnt <= total + 3 * longest
    assert outcome(cell.folder) == expected
    assert not list((workspace / "data/checkpoints").rglob("*.npz"))


@pytest.mark.parametrize("method", ["replay", "foster", "der"])
def test_cut_at_any_batch_no_batch_is_learnt_twice(workspace: Path, method: str) -> None:
    """With the state saved after every batch, cut within the learning and within the second training."""
    artifacts = {"full": {"ratio": 4.0, "artifacts": {"step": 0.4, "refresh_epochs": 2}}}
    suite = furnish(workspace, **{**FOUR_PHASES, "compressors": artifacts})
    cell = find_cell(suite, method, "full", 3)
    total = batches(cell)
    expected = outcome(cell.folder)
    cell = find_cell(dataclasses.replace(suite, checkpoint_epochs=1, checkpoint_batches=1), method, "full", 3)
    random, learnt = generator(4, "cuts", method), 0
    for _ in range(4):
        stop = 1 + int(torch.randint(total // 6, total // 5, (), generator=random))
        with pytest.raises(PowerCutError):
            batches(cell, stop)
        learnt += stop - 1
    assert learnt + batches(cell) == total
    assert outcome(cell.folder) == expected


def test_the_time_before_a_cut_is_counted(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = dataclasses.replace(furnish(workspace), checkpoint_epochs=1)
    cell = find_cell(suite, "replay", "none", 3)
    with monkeypatch.context() as patch, pytest.raises(PowerCutError):
        ticks = itertools.count(step=1000)  # every look at the clock finds it 1000 s later
        patch.setattr(run.time, "perf_counter", lambda: float(next(ticks)))
        run_cell(cell, CutAt(0, 2))
    assert 2000 <= run_cell(cell, Silent()).phases[0].seconds["learn"] < 6000


def test_the_state_within_a_phase_is_that_phases_own(workspace: Path) -> None:
    """Left over from an earlier phase it is not taken; of another configuration it is refused."""
    suite = dataclasses.replace(furnish(workspace), checkpoint_epochs=2)
    cell = find_cell(suite, "replay", "none", 3)
    expected = measured_run(cell)
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(0, 3))
    left_over = cell.phase_checkpoint.read_bytes()
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(1, 0))
    cell.phase_checkpoint.write_bytes(left_over)
    assert measured_run(cell) == expected
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(0, 3))
    other = dataclasses.replace(suite, training=dataclasses.replace(suite.training, learning_rate=0.01))
    with pytest.raises(InputError, match=r"training.learning_rate is 0.05 there.*rm .*replay-none-3.phase.npz"):
        run_cell(find_cell(other, "replay", "none", 3), Silent())


def measured_run(cell: Cell) -> dict[str, Any]:
    run_cell(cell, Silent())
    return measured(cell.folder)
