"""Against a real MLflow server on loopback, and the file that `mlflow ui` opens without flags."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.suite.config import find_cell
from cimbench.benchmarks.tracking.live import LiveTracking
from tests.benchmarks.interruption import CutAt, PowerCutError
from tests.benchmarks.mlflow_server import postgres, serving
from tests.benchmarks.tracked import PARENT, by_name, contents, runs
from tests.benchmarks.workplace import cell_arguments, furnish, run_command
from tests.methods.cells import Silent

pytestmark = [pytest.mark.xdist_group("tracking"), pytest.mark.slow, pytest.mark.timeout(1800)]  # one server for all


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server over SQLite, then over PostgreSQL."""
    if request.param == "sqlite":
        yield request.getfixturevalue("sqlite_server")
        return
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    folder = tmp_path_factory.mktemp("postgresql")
    with postgres() as database:
        store = ["--backend-store-uri", database, "--artifacts-destination", str(folder / "files")]
        with serving(folder, "server", *store) as address:
            yield address


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy machine is no slow server
    return MlflowClient(server)


def test_a_run_says_what_it_was_and_how_it_went(client: MlflowClient, workspace: Path) -> None:
    suite = furnish(workspace, suite="first", matrix={"methods": ["icarl"], "compressors": ["class_activation"]})
    assert main(["--params", "params.json", *cell_arguments("icarl", "class_activation", tracked=True)]) == 0
    named = by_name(client, "first")
    run, summary = named["icarl + class_activation, seed 3"], named["icarl + class_activation, one seed"]
    record = load_record(find_cell(suite, "icarl", "class_activation", 3).folder)
    assert run.info.status == summary.info.status == "FINISHED"
    assert run.data.tags[PARENT] == summary.info.run_id
    assert run.data.params["training.epochs"] == "4"
    assert run.data.params["method.loss"] == "sigmoid"
    assert run.data.params["budget.unit"] == "raw_bytes"
    assert run.data.tags["suite"] == "first"
    assert run.data.tags["data_digest"] == record.data_digest[:16]
    assert run.data.tags["commit"].startswith(str(record.provenance["commit"]))
    for head in ("linear", "nme"):
        history = client.get_metric_history(run.info.run_id, f"accuracy/{head}")
        values = sorted((metric.step, metric.value) for metric in history)
        assert [step for step, _ in values] == [1, 2]
        correct = [sum(phase.correct[head]) / sum(record.tested[: t + 1]) for t, phase in enumerate(record.phases)]
        assert [value for _, value in values] == pytest.approx(correct)
        for name, value in headline(record.counts(head)).items():
            assert run.data.metrics[f"final/{name}/{head}"] == pytest.approx(value)
    held = client.get_metric_history(run.info.run_id, "memory/bytes_held")
    assert sorted((m.step, m.value) for m in held) == [
        (t + 1, phase.memory["bytes_held"]) for t, phase in enumerate(record.phases)
    ]
    artifacts = {item.path for item in client.list_artifacts(run.info.run_id)}
    assert artifacts >= {"accuracy-over-phases.png", "confusion-linear.png", "confusion-nme.png", "gallery", "record"}
    gallery = {item.path for item in client.list_artifacts(run.info.run_id, "gallery")}
    assert gallery == {f"gallery/{kind}-phase-{phase}.png" for kind in ("gallery", "boxes") for phase in (1, 2)}


def test_importing_later_is_the_same_and_twice_is_once(client: MlflowClient, workspace: Path) -> None:
    furnish(workspace, suite="second")
    assert main(["--params", "params.json", *cell_arguments()]) == 0
    assert runs(client, "second") == []
    assert main(["--params", "params.json", "track"]) == 0
    once = contents(client, "second")
    assert once["replay + none, seed 3"]["status"] == "FINISHED"
    assert len(once["replay + none, seed 3"]["metrics"]["accuracy/linear"]) == 2
    assert main(["--params", "params.json", "track"]) == 0
    assert contents(client, "second") == once


def test_a_stopped_cell_goes_on_in_its_own_run(client: MlflowClient, workspace: Path) -> None:
    from cimbench.benchmarks.cell.listeners import Listeners

    suite = furnish(workspace, suite="third")
    cell = find_cell(suite, "replay", "none", 3)
    tracking = LiveTracking(cell.folder, None)
    with pytest.raises(PowerCutError):
        run_cell(cell, Listeners(CutAt(1, 1), tracking))
    (half,) = runs(client, "third")
    assert half.info.status == "RUNNING"
    tracking.close()
    assert client.get_run(half.info.run_id).info.status == "KILLED"
    run_cell(cell, Listeners(Silent(), LiveTracking(cell.folder, None)))
    (whole,) = runs(client, "third")
    assert whole.info.run_id == half.info.run_id
    assert whole.info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(whole.info.run_id, "accuracy/linear")]
    assert sorted(steps) == [1, 2]


def test_system_metrics_by_the_usual_variable(
    client: MlflowClient, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("psutil", reason="psutil is not installed")
    monkeypatch.setenv("MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING", "true")
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.1")
    furnish(workspace, suite="fifth", training={"base_epochs": 150, "epochs": 150})  # some seconds: a sample or more
    assert main(["--params", "params.json", *cell_arguments(tracked=True)]) == 0
    metrics = by_name(client, "fifth")["replay + none, seed 3"].data.metrics
    assert "system/cpu_utilization_percentage" in metrics
    assert not any(
        name.startswith("system/") for name in by_name(client, "fifth")["replay + none, one seed"].data.metrics
    )


def test_the_default_store_is_the_one_mlflow_ui_opens(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    furnish(workspace, suite="fourth")
    assert run_command(workspace, *cell_arguments(tracked=True)).returncode == 0
    program = (
        "from mlflow.tracking._tracking_service.utils import _get_default_tracking_uri as uri\n"
        "from mlflow.tracking import MlflowClient\n"
        "client = MlflowClient(uri())\n"
        "experiment = client.get_experiment_by_name('cim-bench fourth')\n"
        "for run in client.search_runs([experiment.experiment_id], order_by=['attributes.run_name']):\n"
        "    print(run.info.run_name, len(client.list_artifacts(run.info.run_id)))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip().splitlines() == ["replay + none, one seed 1", "replay + none, seed 3 5"], done.stderr
