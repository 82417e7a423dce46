"""Cells on a CUDA that is not there: operands on one device, right generators, and how often the host waits."""

from __future__ import annotations

import collections
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed here")

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.registry import COMPRESSORS, METHODS
from cimbench.benchmarks.suite.config import find_cell
from cimbench.methods.training.trainer import Trainer
from tests.benchmarks.workplace import furnish
from tests.methods.cells import Silent
from tests.pretended.cuda import pretend_cuda

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: tests/benchmarks/test_gpu.py uses it")
FEW = {"training": {"base_epochs": 2, "epochs": 2, "batch_size": 16}, "protocol": {"validation_share": 0.25}}
SOME = ("none", "full", "jpeg", "foreground", "phase_tau", "random_box")
PAIRS = [*((method, "cim") for method in METHODS), *(("foster", name) for name in COMPRESSORS if name in SOME)]
BY_DEFAULT = {("foster", "cim"), ("replay", "cim"), ("foster", "none"), ("lucir", "cim")}


@pytest.mark.parametrize(
    ("method", "compressor"),
    [pytest.param(*pair, marks=() if pair in BY_DEFAULT else pytest.mark.slow) for pair in PAIRS],
)
def test_a_cell_obeys_the_rules_of_cuda(workspace: Path, method: str, compressor: str) -> None:
    with pretend_cuda():
        suite = furnish(workspace, **FEW, device="cuda")
        assert run_cell(find_cell(suite, method, compressor, 3), Silent()).complete


@pytest.mark.parametrize("method", ["replay", "icarl", "lucir", "foster"])
def test_the_host_waits_at_most_twice_a_batch(workspace: Path, method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In later phases on images that rest on the device; what an epoch waits for once is counted, too."""
    waits: collections.Counter[tuple[str, str]] = collections.Counter()
    batches = 0
    run_epoch = Trainer.run_epoch

    def counted(trainer: Trainer) -> None:
        nonlocal batches
        before = seen.waits.copy()
        number = len(trainer.sampler.batches(len(trainer.losses)))
        run_epoch(trainer)
        if trainer.task.old_classes:
            waits.update(seen.waits - before)
            batches += number

    monkeypatch.setattr(Trainer, "run_epoch", counted)
    with pretend_cuda() as seen:
        suite = furnish(workspace, **FEW, device="cuda")
        run_cell(find_cell(suite, method, "class_activation", 3), Silent())
    assert batches >= 6
    assert sum(waits.values()) <= 2 * batches, waits.most_common(5)
