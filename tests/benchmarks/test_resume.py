"""Killed and started again: the same bits; another configuration, data or damage: refused in words."""

from __future__ import annotations

import dataclasses
import itertools
import json
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.registry import METHODS
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.arrays import load_arrays, save_arrays
from cimbench.datasets.errors import InputError
from cimbench.methods.errors import NonFiniteLossError
from cimbench.methods.training.task import EpochReport
from tests.benchmarks.interruption import FOUR_PHASES, CutAt, PowerCutError, outcome
from tests.benchmarks.workplace import cell_arguments, command, furnish, run_command
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import Silent


@pytest.mark.slow
def test_killed_in_phase_3_and_continued_gives_the_same_bits(tmp_path: Path) -> None:
    """kill -9 of a real process during phase 3, then the same command again; beside it an undisturbed run."""
    disturbed, undisturbed = tmp_path / "disturbed", tmp_path / "undisturbed"
    for folder in (disturbed, undisturbed):
        folder.mkdir()
        furnish(folder, coloured_store(train=200), **FOUR_PHASES)
    arguments = cell_arguments("icarl", "class_activation")
    cell = disturbed / "results/test/cells/icarl-class_activation/3"
    process = subprocess.Popen(command(*arguments), cwd=disturbed, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline:
        if (cell / "record.json").is_file() and len(load_record(cell).phases) == 2:
            break
        time.sleep(0.02)
    time.sleep(0.2)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert len(load_record(cell).phases) == 2

    again = run_command(disturbed, *arguments)
    assert again.returncode == 0, again.stderr
    assert "going on after phase 2 of 4" in again.stderr
    assert run_command(undisturbed, *arguments).returncode == 0
    assert outcome(cell) == outcome(undisturbed / "results/test/cells/icarl-class_activation/3")
    assert not list((disturbed / "data/checkpoints").rglob("*.npz"))


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("where", [(1, 0), (3, 5)])
def test_every_method_resumes_to_the_same_bits(workspace: Path, method: str, where: tuple[int, int]) -> None:
    suite = furnish(workspace, **FOUR_PHASES)
    cell = find_cell(suite, method, "class_activation", 3)
    run_cell(cell, Silent())
    expected = outcome(cell.folder)
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(*where))
    assert cell.checkpoint.is_file()
    assert len(load_record(cell.folder).phases) == where[0]
    run_cell(cell, Silent())
    assert outcome(cell.folder) == expected


def stopped(workspace: Path) -> Any:
    """A cell with a checkpoint after phase 1."""
    suite = furnish(workspace)
    with pytest.raises(PowerCutError):
        run_cell(find_cell(suite, "replay", "none", 3), CutAt(1, 0))
    return suite


def test_a_checkpoint_of_another_configuration_is_refused_and_kept(workspace: Path) -> None:
    suite = stopped(workspace)
    other = dataclasses.replace(suite, training=dataclasses.replace(suite.training, learning_rate=0.01))
    cell = find_cell(other, "replay", "none", 3)
    before = cell.checkpoint.read_bytes(), (cell.folder / "record.json").read_bytes()
    with pytest.raises(InputError, match=r"training.learning_rate is 0.05 there and 0.01 here.*after phase 1.*rm "):
        run_cell(cell, Silent())
    assert (cell.checkpoint.read_bytes(), (cell.folder / "record.json").read_bytes()) == before
    assert run_cell(find_cell(suite, "replay", "none", 3), Silent()).complete


def test_a_checkpoint_of_other_data_or_sources_is_refused(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = stopped(workspace)
    monkeypatch.setattr("cimbench.benchmarks.records.provenance.source_digest", lambda *_: "another digest")
    with pytest.raises(InputError, match="source files is"):
        run_cell(find_cell(suite, "replay", "none", 3), Silent())
    monkeypatch.undo()
    monkeypatch.chdir(workspace)
    furnish(workspace, coloured_store(seed=5))
    with pytest.raises(InputError, match="data is"):
        run_cell(find_cell(suite, "replay", "none", 3), Silent())


def test_a_damaged_checkpoint_is_told(workspace: Path) -> None:
    suite = stopped(workspace)
    cell = find_cell(suite, "replay", "none", 3)
    content = bytearray(cell.checkpoint.read_bytes())
    content[len(content) // 2] ^= 1
    cell.checkpoint.write_bytes(content)
    with pytest.raises(InputError, match=r"replay-none-3.npz: is damaged .*delete it and run again"):
        run_cell(cell, Silent())


def test_a_checkpoint_holds_no_pickle(workspace: Path) -> None:
    suite = stopped(workspace)
    arrays, description = load_arrays(find_cell(suite, "replay", "none", 3).checkpoint)
    assert all(array.dtype != object for array in arrays.values())
    assert description["record"]["cell"] == "replay-none-3"


def test_a_nan_loss_stops_says_where_and_keeps_the_checkpoint(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    suite = furnish(workspace)
    cell = find_cell(suite, "replay", "none", 3)

    class Poison(Silent):
        """Ruins a weight after the first epoch of phase 2, as an overflow would."""

        def epoch(self, report: EpochReport) -> None:
            if report.phase == 1 and report.epoch == 0:
                with torch.no_grad():
                    self.bench.method.network.head.weight.fill_(float("nan"))

    poison, build = Poison(), run.build
    run_build = lambda cell: setattr(poison, "bench", build(cell)) or poison.bench  # noqa: E731
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "build", run_build)
        with pytest.raises(NonFiniteLossError, match=r"the loss is nan in phase 2, epoch 2, batch 1; lower training"):
            run_cell(cell, poison)
    assert cell.checkpoint.is_file()
    assert len(load_record(cell.folder).phases) == 1
    assert run_cell(cell, Silent()).complete

    content = json.loads(Path("params.json").read_text())
    content["training"]["learning_rate"] = 1e30
    Path("params.json").write_text(json.dumps(content))
    assert main(["--params", "params.json", *cell_arguments()]) == 2
    assert "the loss is" in capsys.readouterr().err


def test_a_rerun_leaves_nothing_of_the_old_one(workspace: Path) -> None:
    suite = furnish(workspace)
    cell = find_cell(suite, "replay", "none", 3)
    cell.folder.mkdir(parents=True)
    (cell.folder / "gallery-phase-9.png").write_bytes(b"old")
    run_cell(cell, Silent())
    assert not (cell.folder / "gallery-phase-9.png").exists()


def test_confusion_adds_up(workspace: Path) -> None:
    suite = furnish(workspace)
    record = run_cell(find_cell(suite, "icarl", "none", 3), Silent())
    arrays, _ = load_arrays(workspace / "results/test/cells/icarl-none/3/confusion.npz")
    for head, matrix in arrays.items():
        assert matrix.sum() == sum(record.tested)
        edges = np.cumsum([0, *record.group_sizes])
        diagonal = [int(np.diag(matrix)[a:b].sum()) for a, b in itertools.pairwise(edges)]
        assert diagonal == record.phases[-1].correct[head]


def test_saved_arrays_must_be_plain(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        save_arrays(tmp_path / "x.npz", {"evil": np.array([object()])}, {})
    assert list(tmp_path.iterdir()) == []


def test_no_suite_leaves_its_folder() -> None:
    cell = find_cell(tiny_suite(), "replay", "none", 3)
    assert cell.folder == Path("results/test/cells/replay-none/3")
    assert cell.checkpoint.parts[:2] == ("data", "checkpoints")
