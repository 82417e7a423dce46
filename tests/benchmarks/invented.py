"""Cells that were never run: records with numbers chosen by the test, and the files beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torchvision.io import write_png

from cimbench.benchmarks.records.record import PhaseRecord, Record
from cimbench.benchmarks.suite.config import Cell
from cimbench.datasets.arrays import save_arrays

TESTED = 10  # images a phase
HEADS = ("linear", "nme")


def invent(cell: Cell, right: Sequence[int], started: str = "2025-03-01T12:00:00.000000+00:00") -> Record:
    """A complete cell on the disk: after phase t, right[t] answers of each earlier phase's images were right.

    Head nme has one more of the newest. Each phase took 10 s of learning.
    """
    count = cell.suite.protocol.phases
    record = Record(
        run_id=hashlib.sha256(f"{cell.suite.suite} {cell.name}".encode()).hexdigest()[:16],
        suite=cell.suite.suite,
        cell=cell.name,
        config=cell.resolved(),
        provenance=origin(started),
        data_digest="d1" * 32,
        class_names=[f"class {number}" for number in range(2 * count)],
        group_sizes=[2] * count,
        tested=[TESTED] * count,
    )
    for phase in range(count):
        linear = [right[phase]] * (phase + 1)
        nme = [*linear[:-1], linear[-1] + 1]
        record.phases.append(invented_phase({"linear": linear, "nme": nme}, exemplars=6 * (phase + 1)))
    record.save(cell.folder)
    confusion = {head: np.eye(2 * count, dtype=np.int64) for head in HEADS}
    save_arrays(cell.folder / "confusion.npz", confusion, {})
    for phase in range(count):
        write_png(torch.full((3, 8, 8), 50 * phase, dtype=torch.uint8), str(picture(cell.folder, phase)))
    return record


def picture(folder: Path, phase: int) -> Path:
    """The gallery of a phase, counted from 0."""
    return folder / f"gallery-phase-{phase + 1}.png"


def invented_phase(correct: dict[str, list[int]], exemplars: int) -> PhaseRecord:
    """One phase with the given right answers."""
    memory = {
        **{"unit": "raw_bytes", "budget": 1000, "limit": 1000, "spent": 900.0, "bytes_held": 900, "class_share": 100},
        **{"exemplars": [exemplars], "mean_box_area": 0.25, "box_overlap": None, "kept_whole": 0},
        **{"exhausted_classes": 0, "chosen": {}, "measured": {}},
    }
    return PhaseRecord(
        correct=correct,
        correct_top5=correct,
        losses=[1.5, 0.5],
        memory=memory,
        seconds={"learn": 10.0},
        model_bytes=4000,
        peak_memory_bytes=None,
    )


def origin(started: str) -> dict[str, object]:
    """Where and when the cell was not run."""
    return {
        "commit": "c0ffee0000000000000000000000000000000000",
        "sources_changed": False,
        "started": started,
        "versions": {"python": "3.11.0", "torch": "2.9.0", "torchvision": "0.24.0", "numpy": "2.1.0"},
        "hardware": {"processor": "a processor", "cores": 2, "threads": 2, "device": "cpu", "platform": "Linux"},
        "source_digest": "5" * 64,
    }
