"""A whole suite by one command: cut into slices to the same bits, failures named, nothing run twice."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.planning import deadline as deadline_module
from cimbench.benchmarks.planning.deadline import Deadline, LimitReachedError
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Cell, find_cell, load_suite
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.training.task import BatchReport
from tests.benchmarks.blocked import BLOCK
from tests.benchmarks.interruption import outcome
from tests.benchmarks.records import record
from tests.benchmarks.workplace import FEW_DIGITS, furnish, run_command
from tests.conftest import ROOT, coloured_store, composed, tiny_parameters
from tests.methods.cells import Silent

FEW = {"matrix": {"methods": ["replay", "icarl"], "compressors": ["none"], "seeds": [3, 4], "bounds": ["finetune"]}}


def run_suite(*arguments: str) -> int:
    """One after the other in this process; beside each other they are learnt in forked_cells.py."""
    return main(["--params", "params.json", "run-suite", "--no-tracking", "--jobs", "1", *arguments])


def test_slices_too_short_for_anything_end_with_the_same_bits(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each slice comes to its first checkpoint and no further; what it cost is one batch."""
    sections: dict[str, Any] = {
        "matrix": {"methods": ["foster"], "compressors": ["class_activation"], "seeds": [3]},
        "training": {"base_epochs": 3, "epochs": 3},
        "checkpoint_epochs": 2,
    }
    cell = find_cell(furnish(workspace, **sections), "foster", "class_activation", 3)
    run_cell(cell, Silent())
    expected = outcome(cell.folder)
    (cell.folder / "record.json").unlink()
    told = []
    for _ in range(6):  # phase 1: after epoch 2, then the phase; phase 2: epoch 2, epoch 3, compression's 2, the end
        assert run_suite("--limit-seconds", "0.001") == 0
        told.append(capsys.readouterr().out)
    left = "0 of 1 cells are done. The time is up: the same command goes on. Left: foster-class_activation-3"
    assert [left in words for words in told] == [True] * 5 + [False]
    assert "1 of 1 cells are done" in told[-1]
    assert outcome(cell.folder) == expected
    assert not list((workspace / "data/checkpoints").rglob("*.npz"))


class Clock:
    """A clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(deadline_module, "time", SimpleNamespace(monotonic=lambda: self.now))


def test_the_next_checkpoint_has_to_fit_into_what_is_left(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    deadline, cell = Deadline(100.0), find_cell(furnish(workspace), "replay", "none", 3)
    deadline.watch(cell)
    where = BatchReport(phase=0, stage="", epoch=0, epochs=9, done=1, batches=9)
    cell.phase_checkpoint.parent.mkdir(parents=True)
    for number, (at, stops) in enumerate([(120.0, False), (160.0, False), (161.0, True)]):
        clock.now = at  # 20 s, then 40 s since the checkpoint before: the next would end at 201 s of 200
        deadline.batch(where)
        cell.phase_checkpoint.write_bytes(bytes(number))
        os.utime(cell.phase_checkpoint, ns=(number + 1, number + 1))
        if stops:
            with pytest.raises(LimitReachedError):
                deadline.batch(where)
        else:
            deadline.batch(where)
            assert not deadline.reached
    deadline.batch(where)  # told once


def test_a_first_checkpoint_is_reached_and_a_last_phase_ends_the_cell(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    deadline, cell = Deadline(10.0), find_cell(furnish(workspace), "replay", "none", 3)
    deadline.watch(cell)
    clock.now += 5000
    deadline.batch(BatchReport(phase=0, stage="", epoch=0, epochs=9, done=1, batches=9))
    cell.checkpoint.parent.mkdir(parents=True)
    cell.checkpoint.write_bytes(b"after phase 1")
    deadline.phase(record(3, [[8], [6, 5]]))  # the last phase
    assert deadline.reached


def test_no_limit_never_stops(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    deadline = Deadline(None)
    clock.now += 1e9
    deadline.watch(find_cell(furnish(workspace), "replay", "none", 3))
    assert not deadline.reached


def test_from_nothing_to_a_table_and_the_second_time_nothing_is_run(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digits = {**FEW_DIGITS, "side": 16, "digit_side": [8, 10], "fragment_side": [2, 3]}
    content = tiny_parameters(**FEW, dataset={"name": "few-digits", "parameters": digits})
    Path("params.json").write_text(json.dumps(content))
    assert run_suite("--seed", "4") == 0
    assert "3 of 3 cells are done. Next: cimbench report" in capsys.readouterr().out
    cells = {str(path.relative_to("results/test/cells")) for path in Path("results/test/cells").glob("*/*")}
    assert cells == {"finetune-none/4", "icarl-none/4", "replay-none/4"}
    assert [path.name for path in Path("results/test/splits").iterdir()] == ["4.json"]
    assert Path("data/archives/few-digits.json").is_file()
    assert run_suite() == 0
    before = {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()}
    assert run_suite() == 0
    assert {path: path.stat().st_mtime_ns for path in workspace.rglob("*") if path.is_file()} == before
    assert main(["--params", "params.json", "report"]) == 0


def test_a_cell_that_fails_is_named_and_the_others_run(
    workspace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    furnish(workspace, without_boxes(), matrix={"compressors": ["object_box", "none"], "methods": ["replay", "icarl"]})
    real = run_cell

    def sometimes(cell: Cell, listener: Any, **how: Any) -> Record:
        if cell.name == "icarl-none-3":
            raise ZeroDivisionError("a defect")
        return real(cell, listener, **how)

    monkeypatch.setattr(run, "run_cell", sometimes)
    assert run_suite() == 1
    told = capsys.readouterr().err
    summary = told[told.index("cimbench run-suite:") :].splitlines()
    assert summary[0] == "cimbench run-suite: suite test: 1 of 4 cells are done"
    assert summary[1].startswith("failed: replay-object_box-3: compressor object_box: coloured has no object boxes")
    assert summary[3] == "failed: icarl-none-3: ZeroDivisionError: a defect"
    assert told.count("Traceback") == 1  # of the defect: what is the input's is told in words
    assert load_record(Path("results/test/cells/replay-none/3")).complete


def without_boxes() -> ImageStore:
    store = coloured_store()
    return dataclasses.replace(store, boxes=store.boxes[:0])


def test_ctrl_c_ends_with_130(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    furnish(workspace, **FEW)

    def stopped(*_: object, **_how: object) -> Record:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "run_cell", stopped)
    assert run_suite() == 130
    assert "run-suite: stopped; the same command goes on from there" in capsys.readouterr().err


@pytest.mark.parametrize("limit", ["0", "-3", "nan", "inf"])
def test_a_limit_has_to_be_a_time(workspace: Path, capsys: pytest.CaptureFixture[str], limit: str) -> None:
    furnish(workspace)
    assert run_suite(f"--limit-seconds={limit}") == 2
    assert f"--limit-seconds is {limit}; give more than 0, or leave it out" in capsys.readouterr().err
    assert not Path("results/test/cells").exists()


def test_an_unknown_method_is_told(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    furnish(workspace)
    assert run_suite("--method", "fosta") == 2
    assert "suite test: --method 'fosta' is not known; known: replay" in capsys.readouterr().err


@pytest.mark.slow
def test_a_suite_is_planned_and_run_with_torch_alone(tmp_path: Path) -> None:
    furnish(tmp_path, **FEW)
    first = (
        "from cimbench.benchmarks.cli import main\nassert main('--params params.json run-suite --seed 3'.split()) == 0"
    )
    done = run_command(tmp_path, "plan", prelude=f"{BLOCK}\n{first}")
    assert done.returncode == 0, done.stderr
    assert "suite test: 3 of 3 cells are done" in done.stdout
    assert "not tracked: mlflow is not installed" in done.stderr
    assert "replay\tnone\t3\t" in done.stdout
    assert "suite test: 6 cells, 3 done, 3 to do:" in done.stdout


@pytest.fixture
def with_suites(workspace: Path) -> Path:
    """A folder with the project's conf/ and a suite in force."""
    (workspace / "conf").symlink_to(ROOT / "conf")
    furnish(workspace)
    return workspace


@pytest.mark.parametrize("name", ["own.yaml", "own.json"])
def test_a_suite_is_composed_as_dvc_does_it(with_suites: Path, name: str) -> None:
    before = (with_suites / "params.json").read_bytes()
    assert main(["--params", "params.json", "compose", "tiny-masks", name, "training.epochs=7"]) == 0
    assert yaml.safe_load(Path(name).read_text()) == composed("suite=tiny-masks", "training.epochs=7")
    assert load_suite(Path(name)).training.epochs == 7
    assert (with_suites / "params.json").read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["tiny-mask", "own.yaml"], "suite 'tiny-mask' is not known; did you mean 'tiny-masks'?"),
        (["tiny", "own.txt"], "own.txt: its ending says neither YAML nor JSON"),
        (["tiny", "own.yaml", "training.epoch=3"], "suite tiny with training.epoch=3: Could not override"),
        (["tiny", "own.yaml", "training.epochs=0"], "training.epochs is 0; give 1 or more"),
    ],
)
def test_what_cannot_be_composed_is_told_and_not_written(
    with_suites: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert main(["--params", "params.json", "compose", *arguments]) == 2
    assert told in capsys.readouterr().err
    assert not (with_suites / arguments[1]).exists()


def test_no_project_no_suites(workspace: Path) -> None:
    furnish(workspace)
    with pytest.raises(InputError, match="suite 'tiny' is not known"):
        from cimbench.benchmarks.suite.compose import compose_parameters

        compose_parameters("tiny")
