"""cimbench doctor: what the environment is, and for each thing that is wrong its remedy."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cimbench.benchmarks.cell.owner import owned
from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.commands import doctor
from cimbench.benchmarks.suite.config import find_cell
from tests.benchmarks.interruption import CutAt, PowerCutError
from tests.benchmarks.workplace import furnish


@pytest.fixture
def told(workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):  # type: ignore[no-untyped-def]
    """Furnishes a workplace; calls the verb: its status, lines and what is wrong."""
    furnish(workspace)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def call() -> tuple[int, str, str]:
        status = main(["--params", "params.json", "doctor"])
        seen = capsys.readouterr()
        return status, seen.out, seen.err

    return call


def test_a_good_place_has_nothing_wrong(told) -> None:  # type: ignore[no-untyped-def]
    status, out, err = told()
    assert (status, err) == (0, "")
    assert "parameters     params.json: suite test, 1 cells" in out
    assert "being learnt   nothing" in out and "git            no repository" in out
    assert "things looked at, nothing is wrong" in out


def test_what_is_wrong_is_named_with_its_remedy(told, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    Path("params.json").write_text("{")
    Path("mlflow.db").write_text("no database")
    monkeypatch.setattr(doctor, "_LEAST_FREE", 10**18)
    for words in (["init", "-q"], ["checkout", "-q", "--detach"]):
        commit = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m", "x"]
        if words[0] == "checkout":
            subprocess.run(commit, check=True)
        subprocess.run(["git", *words], check=True)
    status, out, err = told()
    assert status == 1
    assert "things are wrong: parameters, tracking, free space, git" in err
    assert "a killed dvc exp run leaves it so: git checkout main" in out
    assert "less than 1000000000 GB: free some disk space" in out
    assert "Traceback" not in out + err


def test_what_goes_on_and_what_was_left_is_listed(told, workspace: Path) -> None:  # type: ignore[no-untyped-def]
    cell = find_cell(furnish(workspace), "replay", "none", 3)
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(1, 0))
    Path("data/archives").mkdir(parents=True, exist_ok=True)
    Path("data/archives/food.tar.partial").write_bytes(bytes(3_000_000))
    with owned(cell):
        status, out, _ = told()
    assert status == 0
    assert f"being learnt   replay-none-3 by process {os.getpid()} on " in out
    assert "begun          replay-none-3: the same command goes on" in out
    assert "partial files  1 of 3 MB: data/archives/food.tar.partial" in out
