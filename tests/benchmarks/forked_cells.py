"""Seeds beside each other: the bits of one after the other, failures that stay alone, one that is killed, Ctrl-C."""

from __future__ import annotations

import errno
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.owner import lock_path, owned
from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.commands import side_by_side
from cimbench.benchmarks.commands.progress_bar import CellProgress
from cimbench.benchmarks.commands.side_by_side import Result, run_cells
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Cell, Suite, find_cell
from cimbench.datasets.errors import InputError
from cimbench.methods.errors import NonFiniteLossError
from tests.benchmarks.interruption import FOUR_PHASES, outcome
from tests.benchmarks.workplace import command, furnish
from tests.conftest import coloured_store
from tests.methods.cells import Silent

THREE: dict[str, Any] = {"matrix": {"methods": ["icarl"], "compressors": ["none"], "seeds": [3, 4, 5]}}
# a shell's background jobs ignore Ctrl-C, and what they start does too
INTERRUPTIBLE = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)"


class Seen(Silent):
    """A listener that can be closed, and remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def started(self, record: Record, resumed: int) -> None:  # noqa: ARG002
        self.told.append("started")

    def phase(self, record: Record) -> None:
        self.told.append(f"phase {len(record.phases)}")

    def close(self) -> None:
        self.told.append("closed")


def cells_of(suite: Suite) -> list[Cell]:
    return [find_cell(suite, "icarl", "none", seed) for seed in suite.matrix.seeds]


def learn(cells: Sequence[Cell], jobs: int, **more: Any) -> tuple[list[Result], dict[str, Seen]]:
    listeners: dict[str, Seen] = {}

    def outside(cell: Cell) -> Seen:
        return listeners.setdefault(cell.name, Seen())

    return list(run_cells(cells, jobs, outside, lambda _: [], **more)), listeners


def test_the_bits_are_those_of_one_after_the_other(workspace: Path) -> None:
    cells = cells_of(furnish(workspace, **THREE))
    expected = []
    for cell in cells:
        run_cell(cell, Silent())
        expected.append(outcome(cell.folder))
        (cell.folder / "record.json").unlink()
    results, listeners = learn(cells, 2)  # three cells for two processes: one learns two
    assert sorted(result.cell.seed for result in results) == [3, 4, 5]
    assert [result.error + result.trace for result in results] == [""] * 3
    assert all(result.learnt and result.record is not None and result.record.complete for result in results)
    assert [outcome(cell.folder) for cell in cells] == expected
    assert {tuple(seen.told) for seen in listeners.values()} == {("started", "phase 1", "phase 2", "closed")}
    again, listeners = learn(cells, 2)
    assert not any(result.learnt for result in again)
    assert {tuple(seen.told) for seen in listeners.values()} == {("closed",)}


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_seed_that_fails_takes_no_other_along(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], jobs: int
) -> None:
    furnish(workspace, **THREE)
    real = run_cell

    def sometimes(cell: Cell, listener: Any, **how: Any) -> Record:
        if cell.seed == 3:
            raise NonFiniteLossError("the loss is nan", 1, "training.learning_rate")
        if cell.seed == 4:
            raise ZeroDivisionError("a defect")
        return real(cell, listener, **how)

    monkeypatch.setattr(run, "run_cell", sometimes)
    words = ["run", "--method", "icarl", "--compressor", "none", "--no-tracking", "--jobs", str(jobs)]
    assert main(["--params", "params.json", *words]) == 1
    told = capsys.readouterr().err
    summary = told[told.index("cimbench run:") :].splitlines()
    assert summary[0] == "cimbench run: results/test/cells/icarl-none: 1 of 3 seeds are done"
    assert sorted(summary[1:])[0].startswith("failed: icarl-none-3: the loss is nan; lower training.learning_rate")
    assert sorted(summary[1:])[1] == "failed: icarl-none-4: ZeroDivisionError: a defect"
    assert told.count("Traceback") == 1
    assert load_record(Path("results/test/cells/icarl-none/5")).complete


def test_a_killed_process_is_named_and_the_others_go_on(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = cells_of(furnish(workspace, **THREE))
    real = run_cell

    def killed(cell: Cell, listener: Any, **how: Any) -> Record:
        if cell.seed == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(cell, listener, **how)

    monkeypatch.setattr(run, "run_cell", killed)
    results, listeners = learn(cells, 2)
    ended = {result.cell.seed: result for result in results}
    assert ended.keys() == {3, 4, 5}
    assert ended[3].error.startswith("its process was killed by SIGKILL (out of memory, perhaps: give fewer --jobs)")
    assert ended[4].record is not None and ended[5].record is not None
    assert listeners["icarl-none-3"].told == ["closed"]


def test_a_gpu_without_memory_is_told_in_words(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    suite = furnish(workspace, **THREE)

    def full(*_: Any, **_how: Any) -> Record:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore words")

    monkeypatch.setattr(run, "run_cell", full)
    (result,), _ = learn([find_cell(suite, "icarl", "cim", 3)], 1)
    assert result.error.startswith("CUDA out of memory. Tried to allocate 2.00 GiB. Halve training.batch_size (8 now)")
    assert "compressors.cim.micro_batch, or give fewer --jobs; the last checkpoint is kept" in result.error
    assert not result.trace


def test_a_cell_that_another_process_learns_is_left_to_it(workspace: Path) -> None:
    cells = cells_of(furnish(workspace, **THREE))
    with owned(cells[0]):
        assert f"process {os.getpid()}" in lock_path(cells[0]).read_text()
        results, _ = learn(cells, 2)
    ended = {result.cell.seed: result for result in results}
    assert f"icarl-none-3: is being learnt by process {os.getpid()} on " in ended[3].error
    assert ended[4].record is not None and ended[5].record is not None
    assert not list(Path("data/checkpoints").rglob("*.lock"))
    (again,), _ = learn(cells[:1], 1)
    assert again.record is not None


def test_a_file_system_without_locks_is_named(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refused)
    cell = cells_of(furnish(workspace, **THREE))[0]
    words = r"icarl-none-3.lock: could not be locked \(No locks available\).*put data/ on a file system with locks"
    with pytest.raises(InputError, match=words), owned(cell):
        pass


def test_a_lock_of_a_process_that_was_killed_is_no_lock(workspace: Path) -> None:
    cell = cells_of(furnish(workspace, **THREE))[0]
    lock_path(cell).parent.mkdir(parents=True, exist_ok=True)
    lock_path(cell).write_text("process 1 on another")
    (result,), _ = learn([cell], 1)
    assert result.record is not None


def test_nothing_is_begun_once_the_time_is_up(workspace: Path) -> None:
    cells = cells_of(furnish(workspace, **THREE))
    answers = iter([True, True, False, False])
    results, _ = learn(cells, 2, may_begin=lambda: next(answers))
    assert sorted(result.cell.seed for result in results) == [3, 4]
    assert not cells[2].folder.exists()


def test_a_limit_stops_all_and_the_same_command_goes_on(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cells = cells_of(furnish(workspace, **THREE))
    for cell in cells:
        run_cell(cell, Silent())
    expected = [outcome(cell.folder) for cell in cells]
    for cell in cells:
        (cell.folder / "record.json").unlink()
    for _ in range(9):
        words = ["run-suite", "--no-tracking", "--jobs", "2", "--limit-seconds", "0.001"]
        assert main(["--params", "params.json", *words]) == 0
        if "3 of 3 cells are done" in capsys.readouterr().out:
            break
    else:
        pytest.fail("nine slices were not enough")
    assert [outcome(cell.folder) for cell in cells] == expected


@pytest.mark.slow
def test_ctrl_c_ends_all_and_the_checkpoints_stay(tmp_path: Path) -> None:
    furnish(tmp_path, coloured_store(train=200), **{**FOUR_PHASES, **THREE})
    words = command(
        "run", "--method", "icarl", "--compressor", "none", "--no-tracking", "--jobs", "2", prelude=INTERRUPTIBLE
    )
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 100
    checkpoints = [tmp_path / f"data/checkpoints/test/icarl-none-{seed}.npz" for seed in (3, 4)]
    while not all(path.is_file() for path in checkpoints) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    _, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; the same command goes on from there" in told and "Traceback" not in told
    assert all(path.is_file() for path in checkpoints)
    group = subprocess.run(["ps", "-o", "pid=", "--sid", str(process.pid)], capture_output=True, text=True)
    assert group.stdout.strip() == ""


@pytest.mark.slow
def test_nobody_goes_on_alone_when_the_first_process_is_killed(tmp_path: Path) -> None:
    furnish(tmp_path, coloured_store(train=200), **{**FOUR_PHASES, **THREE})
    words = command("run", "--method", "icarl", "--compressor", "none", "--no-tracking", "--jobs", "2")
    process = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 100
    while not (tmp_path / "data/checkpoints/test/icarl-none-3.npz").is_file() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.kill()
    process.wait()
    alive = "?"
    while alive and time.monotonic() < deadline:
        time.sleep(0.1)
        shown = subprocess.run(["ps", "-o", "pid=,stat=", "--sid", str(process.pid)], capture_output=True, text=True)
        alive = " ".join(line for line in shown.stdout.splitlines() if " Z" not in line)
    assert not alive


def test_bars_beside_each_other_share_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    import sys

    from cimbench.benchmarks.commands.progress_bar import Bars

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm")
    bars = Bars()
    first, second = CellProgress("icarl + none, seed 3", bars), CellProgress("icarl + none, seed 4", bars)
    assert first._bar._rich is second._bar._rich
    display = first._bar._rich
    assert [task.description for task in display.tasks] == ["icarl + none, seed 3", "icarl + none, seed 4"]
    first.close()
    assert len(display.tasks) == 1 and display.live.is_started
    second.close()
    assert not display.live.is_started
    assert side_by_side._why(3) == "its process ended with status 3; the same command goes on"
