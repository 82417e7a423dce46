"""The bar of a cell moves within epochs that take longer than a look, and never back."""

from __future__ import annotations

import pytest

from cimbench.benchmarks.commands import progress_bar as progress
from cimbench.benchmarks.commands.progress_bar import CellProgress
from cimbench.methods.training.task import BatchReport, EpochReport
from tests.benchmarks.records import record


def test_batches_are_shown_between_epochs_and_not_too_often(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    cell = CellProgress("replay + none")
    shown: list[tuple[int, int, str]] = []
    monkeypatch.setattr(cell._bar, "update", lambda *told: shown.append(told))
    cell.started(record(1, [[8], [6, 5]]), 0)
    for epoch in range(2):
        for done in range(1, 5):
            now[0] += 0.3
            where = {"phase": 1, "stage": "learning", "epoch": epoch, "epochs": 2}
            cell.batch(BatchReport(**where, done=done, batches=4))
        cell.epoch(EpochReport(**where, loss=0.5 - epoch / 4))
    assert [done for done, _, _ in shown] == [2500, 3000, 3000, 3500, 4000, 4000]  # of 2 phases of 2 epochs
    assert {total for _, total, _ in shown} == {4000}
    assert shown[0][2] == "phase 2/2 epoch 1/2 batch 2/4"
    assert shown[3][2] == "phase 2/2 epoch 2/2 batch 2/4 loss 0.500"
    assert shown[-1][2] == "phase 2/2 epoch 2/2 loss 0.250"


def test_a_second_training_keeps_the_phase_full(monkeypatch: pytest.MonkeyPatch) -> None:
    cell = CellProgress("foster + none")
    shown: list[tuple[int, int, str]] = []
    monkeypatch.setattr(cell._bar, "update", lambda *told: shown.append(told))
    cell.started(record(1, [[8], [6, 5]]), 0)
    cell.epoch(EpochReport(phase=0, stage="compression", epoch=0, epochs=5, loss=1.0))
    assert shown == [(5000, 10000, "phase 1/2 compression epoch 1/5 loss 1.000")]
