"""DVC on a temporary copy of the project: run, run again, edit, compose another suite."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import yaml
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.records.record import load_record
from tests.benchmarks.project import copy_of_the_project, run, stale

pytestmark = [pytest.mark.xdist_group("pipeline"), pytest.mark.slow, pytest.mark.timeout(540)]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The copy after its first `dvc repro`."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("project"))
    run(folder, "dvc", "repro")
    return folder


def test_every_cell_is_measured_tracked_and_in_the_table(project: Path) -> None:
    cells = (project / "results/small-copy/cells").glob("*/*")
    found = sorted(str(path.relative_to(path.parents[1])) for path in cells)
    assert found == ["finetune-none/5", "icarl-class_activation/5", "replay-class_activation/5"]
    table = pd.read_csv(project / "results/small-copy/tables/comparison.csv", keep_default_na=False)
    assert set(zip(table["method"], table["compressor"], table["head"], strict=True)) == {
        ("finetune", "none", "linear"),
        *((method, "class_activation", head) for method in ("replay", "icarl") for head in ("linear", "nme")),
    }
    assert table["budget"].nunique() == 1
    assert (table["spent"] <= table["budget"]).all()
    markdown = (project / "results/small-copy/tables/comparison.md").read_text()
    assert "Suite small-copy: few-digits, 10 classes, LFS, 2 phases" in markdown
    assert (project / "results/small-copy/plots/accuracy-over-phases.png").read_bytes()[:4] == b"\x89PNG"
    assert "Throughput, cpu" in (project / "results/small-copy/report.html").read_text()
    client = MlflowClient(f"sqlite:///{project}/mlflow.db")
    experiment = client.get_experiment_by_name("cim-bench small-copy")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id])
    assert len([run for run in runs if "mlflow.parentRunId" in run.data.tags]) == 3
    assert len(runs) == 6  # each has the summary of its one seed above it
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_the_second_time_nothing_is_computed(project: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (project / "results").rglob("*") if p.is_file()}
    output = run(project, "dvc", "repro")
    assert "Running stage" not in output
    assert {p: p.stat().st_mtime_ns for p in (project / "results").rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("edited", "expected"),
    [
        ("methods/icarl.py", {"run@small-copy-icarl-class_activation"}),
        (
            "methods/compression/class_activation.py",
            {"run@small-copy-icarl-class_activation", "run@small-copy-replay-class_activation"},
        ),
        ("methods/finetune.py", {"bound@small-copy-finetune-none"}),
        ("methods/joint.py", set()),
        ("benchmarks/tracking/runs.py", set()),
        ("benchmarks/report/tables.py", {"report@small-copy"}),
    ],
)
def test_editing_a_file_makes_only_its_own_stages_stale(project: Path, edited: str, expected: set[str]) -> None:
    path = project / edited
    content = path.read_text()
    path.write_text(content + "\n# edited\n")
    try:
        assert stale(project) == expected
    finally:
        path.write_text(content)
    assert stale(project) == set()


def test_editing_a_parameter_makes_only_its_own_cells_stale(project: Path) -> None:
    path = project / "params.yaml"
    content = path.read_text()
    parameters = yaml.safe_load(content)
    parameters["methods"]["icarl"]["loss"] = "softmax"
    path.write_text(yaml.safe_dump(parameters))
    try:
        assert stale(project) == {"run@small-copy-icarl-class_activation"}
    finally:
        path.write_text(content)


def test_another_suite_is_one_command_away_and_the_first_stays(project: Path) -> None:
    run(project, "git", "add", "-A")
    run(project, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "measured")
    run(project, "dvc", "exp", "run", "-S", "suite=other-copy", "-S", "training.learning_rate=0.02")
    record = load_record(project / "results/other-copy/cells/finetune-none/5")
    assert record.complete
    assert record.config["training"]["learning_rate"] == 0.02
    assert yaml.safe_load((project / "params.yaml").read_text())["suite"] == "other-copy"
    back = run(project, "dvc", "exp", "run", "-S", "suite=small-copy")
    assert "Running stage 'run@" not in back
    assert "Running stage 'bound@" not in back
