"""A cell whose new images are read while it learns has the numbers of one whose images rest on the device."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.registry import METHODS, load
from cimbench.benchmarks.suite.config import Cell, find_cell
from cimbench.datasets.stream.feed import FeedParameters, Resident
from cimbench.methods.training.artifacts import Artifacts
from tests.benchmarks.interruption import FOUR_PHASES, PowerCutError, batches, outcome
from tests.benchmarks.workplace import furnish
from tests.methods.cells import Silent

WORN = {"step": 0.5, "refresh_epochs": 1}
COMPRESSORS = {
    "full": {"ratio": 4.0, "artifacts": WORN},
    "random_box": {"ratio": 4.0, "area": 0.3, "artifacts": WORN},
    "cim": {"ratio": 4.0, "threshold": 0.5, "artifacts": WORN},
    "jpeg": {"quality": 30, "artifacts": WORN},
}


def streamed(cell: Cell) -> Cell:
    """The same cell with nothing at rest."""
    return dataclasses.replace(cell, suite=dataclasses.replace(cell.suite, feed=FeedParameters(resident_bytes=0)))


def without_times(folder: Path) -> tuple[dict[str, Any], dict[str, bytes]]:
    """`outcome` without the seconds that masks took."""
    found = outcome(folder)
    for phase in found[0]["phases"]:
        phase["memory"]["measured"].pop("mask_seconds", None)
    return found


@pytest.mark.parametrize(
    ("method", "compressor"), [*((method, "full") for method in METHODS), *(("replay", c) for c in COMPRESSORS)]
)
def test_streaming_changes_no_bit(workspace: Path, method: str, compressor: str) -> None:
    """Weights are compared by what they answer: records, confusion and pictures. New images wear artifacts."""
    suite = furnish(workspace, **{**FOUR_PHASES, "compressors": COMPRESSORS})
    cell = find_cell(suite, method, compressor, 3)
    run_cell(cell, Silent())
    expected = without_times(cell.folder)
    asked = Counter[bool]()
    real = Artifacts._compressed
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Artifacts, "_compressed", lambda a, *r: asked.update([a.resident]) or real(a, *r))
        patch.setattr(Resident, "batch", None)
        run_cell(streamed(cell), Silent())
    assert without_times(cell.folder) == expected
    assert set(asked) == ({False} if cell_has_memory(method) else set())  # compressed versions are made batch by batch


def cell_has_memory(method: str) -> bool:
    return bool(load("method", METHODS, method)[0].uses_memory)


def test_larger_images_for_random_crops_are_streamed_too(workspace: Path) -> None:
    augment = {"source_side": 20, "resized_crop_scale": [0.5, 1.0]}
    suite = furnish(workspace, augment=augment)
    cell = find_cell(suite, "lucir", "full", 3)
    run_cell(cell, Silent())
    expected = outcome(cell.folder)
    run_cell(streamed(cell), Silent())
    assert outcome(cell.folder) == expected
    plain = furnish(workspace, augment={**augment, "source_side": None})
    run_cell(find_cell(plain, "lucir", "full", 3), Silent())
    assert outcome(cell.folder) != expected


def test_cut_at_any_batch_streaming_goes_on(workspace: Path) -> None:
    suite = furnish(workspace, **{**FOUR_PHASES, "compressors": COMPRESSORS})
    cell = streamed(find_cell(suite, "replay", "random_box", 3))
    total = batches(cell)
    expected = outcome(cell.folder)
    every = dataclasses.replace(cell, suite=dataclasses.replace(cell.suite, checkpoint_epochs=1, checkpoint_batches=1))
    learnt = 0
    for stop in (total // 5, total // 3, total // 4):
        with pytest.raises(PowerCutError):
            batches(every, stop)
        learnt += stop - 1
    assert learnt + batches(every) == total
    assert outcome(cell.folder) == expected
