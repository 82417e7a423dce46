"""Cells that were run without DVC are adopted by it, on a temporary copy of the project: nothing is run twice."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cimbench.benchmarks.record import load_record
from tests.benchmarks.test_pipeline import copy_of_the_project, run, stale

pytestmark = [pytest.mark.xdist_group("adoption"), pytest.mark.slow, pytest.mark.timeout(540)]


def test_what_the_runner_measured_is_committed_and_not_run_again(tmp_path: Path) -> None:
    """The steps of docs/running.md: compose, run, report, commit; then nothing is stale, and an edit is what it was."""
    project = copy_of_the_project(tmp_path)
    run(project, "cimbench", "compose", "small-copy", "build.json", "matrix.bounds=[]", "matrix.methods=[replay]")
    told = run(project, "cimbench", "--params", "build.json", "run-suite", "--no-tracking")
    assert "suite small-copy: 2 of 2 cells are done" in told
    records = {path: path.read_bytes() for path in (project / "results/small-copy/cells").rglob("record.json")}
    assert len(records) == 2

    run(project, "cimbench", "compose", "small-copy", "params.yaml", "matrix.bounds=[]", "matrix.methods=[replay]")
    assert yaml.safe_load((project / "params.yaml").read_text())["matrix"]["methods"] == ["replay"]
    assert "2 cells, 2 done, 0 to do" in run(project, "cimbench", "plan")
    run(project, "cimbench", "report")
    run(project, "dvc", "commit", "-f")
    assert stale(project) == set()
    assert "Running stage" not in run(project, "dvc", "repro")
    assert {path: path.read_bytes() for path in records} == records
    assert all(load_record(path.parent).complete for path in records)

    method = project / "methods/replay.py"
    method.write_text(method.read_text() + "\n# edited\n")
    assert stale(project) == {f"run@small-copy-replay-{name}-5" for name in ("none", "class_activation")}
    assert "done, with other sources" in run(project, "cimbench", "plan")
