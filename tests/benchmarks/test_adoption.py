"""Cells that were run without DVC are adopted by it, on a temporary copy of the project: nothing is run twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.record import load_record
from tests.benchmarks.project import copy_of_the_project, run, stale

pytestmark = [pytest.mark.xdist_group("adoption"), pytest.mark.slow, pytest.mark.timeout(540)]

FEW = ["matrix.bounds=[]", "matrix.methods=[replay]", "matrix.compressors=[none,class_activation]"]
CELLS = {f"run@small-copy-replay-{compressor}" for compressor in ("none", "class_activation")}


def test_what_the_runner_measured_is_committed_and_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The steps of docs/running.md: compose, run, make it the suite in force, report, commit."""
    project = copy_of_the_project(tmp_path)
    monkeypatch.chdir(project)
    assert main(["compose", "small-copy", "build/own.json", *FEW]) == 0
    run_all = ["--params", "build/own.json", "run-suite", "--no-tracking", "--jobs", "1"]
    assert main(["--params", "build/own.json", "fetch"]) == 0
    assert main(run_all) == 0
    assert "suite small-copy: 2 of 2 cells are done" in capsys.readouterr().out
    records = {path: path.read_bytes() for path in (project / "results/small-copy/cells").rglob("record.json")}
    assert len(records) == 2

    assert main(["compose", "small-copy", "params.yaml", *FEW]) == 0
    assert yaml.safe_load((project / "params.yaml").read_text())["matrix"]["methods"] == ["replay"]
    assert main(["report"]) == 0
    assert stale(project) >= CELLS  # DVC knows nothing of them yet
    run(project, "dvc", "commit", "-f")
    assert "Running stage" not in run(project, "dvc", "repro")
    assert stale(project) == set()
    assert {path: path.read_bytes() for path in records} == records
    assert all(load_record(path.parent).complete for path in records)
