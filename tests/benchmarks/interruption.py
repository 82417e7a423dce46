"""Cells that are cut, and what is compared afterwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.suite.config import Cell
from cimbench.methods.training import trainer as optimisation
from cimbench.methods.training.task import EpochReport
from tests.methods.cells import Silent

FOUR_PHASES: dict[str, Any] = {
    "protocol": {"phases": 4},
    "training": {"base_epochs": 6, "epochs": 6},
    "compressors": {"class_activation": {"ratio": 4.0, "threshold": 0.5}},
}


class PowerCutError(Exception):
    """Stands for a power cut."""


class CutAt(Silent):
    """Stops the cell inside a phase, at an epoch."""

    def __init__(self, phase: int, epoch: int) -> None:
        super().__init__()
        self._where = (phase, epoch)

    def epoch(self, report: EpochReport) -> None:
        if (report.phase, report.epoch) == self._where:
            raise PowerCutError


def measured(folder: Path) -> dict[str, Any]:
    """Everything of a record that must be equal: all but times and provenance."""
    content: dict[str, Any] = load_record(folder).as_json()
    del content["provenance"]
    for phase in content["phases"]:
        del phase["seconds"], phase["peak_memory_bytes"]
    return content


def outcome(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Record, confusion and pictures of a cell."""
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "record.json"}
    return measured(folder), files


class Batches:
    """Counts training batches and stops at one of them, in place of the augmentation, which each batch passes."""

    def __init__(self, stop_at: int | None = None) -> None:
        self.count, self.stop_at, self.real = 0, stop_at, optimisation.augment

    def __call__(self, *arguments: Any) -> torch.Tensor:
        self.count += 1
        if self.count == self.stop_at:
            raise PowerCutError
        return self.real(*arguments)


def batches(cell: Cell, stop_at: int | None = None) -> int:
    """Run the cell up to a batch or to its end; how many batches it learnt."""
    seen = Batches(stop_at)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(optimisation, "augment", seen)
        run_cell(cell, Silent())
    return seen.count
