"""Against a real MLflow server on loopback, and the file that `mlflow ui` opens without flags."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.entities import Run
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.config import find_cell
from cimbench.benchmarks.metrics import headline
from cimbench.benchmarks.record import load_record
from cimbench.benchmarks.run import run_cell
from cimbench.benchmarks.tracking import Tracker
from tests.benchmarks.test_resume import CutAt, PowerCutError
from tests.benchmarks.workplace import cell_arguments, furnish
from tests.methods.test_contract import Silent

pytestmark = [pytest.mark.xdist_group("tracking"), pytest.mark.slow]  # one server for all


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an MLflow server of this test's own."""
    folder = tmp_path_factory.mktemp("server")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = (folder / "log").open("wb")
    flags = [
        "--backend-store-uri",
        f"sqlite:///{folder}/mlflow.db",
        "--artifacts-destination",
        str(folder / "artifacts"),
    ]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "mlflow",
            "server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--workers",
            "1",
            *flags,
        ],
        cwd=folder,
        stdout=log,
        stderr=log,
        env={**os.environ, "MLFLOW_DISABLE_TELEMETRY": "true"},
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 120
    while True:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=2).close()
            break
        except OSError:
            assert process.poll() is None and time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.3)
    yield address
    os.killpg(process.pid, 15)
    process.wait(timeout=20)


def runs(client: MlflowClient, suite: str = "test") -> list[Run]:
    experiment = client.get_experiment_by_name(f"cim-bench {suite}")
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


@pytest.fixture
def client(server: str, monkeypatch: pytest.MonkeyPatch) -> MlflowClient:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server)
    return MlflowClient(server)


def test_a_run_says_what_it_was_and_how_it_went(client: MlflowClient, workspace: Path) -> None:
    suite = furnish(workspace, suite="first")
    assert main(["--params", "params.json", *cell_arguments("icarl", "class_activation", tracked=True)]) == 0
    (run,) = runs(client, "first")
    record = load_record(find_cell(suite, "icarl", "class_activation", 3).folder)
    assert run.info.run_name == "icarl + class_activation, seed 3"
    assert run.info.status == "FINISHED"
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
    for _ in range(2):
        assert main(["--params", "params.json", "track"]) == 0
        (run,) = runs(client, "second")
        assert run.info.status == "FINISHED"
        assert len(client.get_metric_history(run.info.run_id, "accuracy/linear")) == 2


def test_a_stopped_cell_goes_on_in_its_own_run(client: MlflowClient, workspace: Path) -> None:
    from cimbench.benchmarks.progress import Listeners

    suite = furnish(workspace, suite="third")
    cell = find_cell(suite, "replay", "none", 3)
    with pytest.raises(PowerCutError):
        run_cell(cell, Listeners(CutAt(1, 1), Tracker(cell.folder)))
    (half,) = runs(client, "third")
    assert half.info.status == "RUNNING"
    run_cell(cell, Listeners(Silent(), Tracker(cell.folder)))
    (whole,) = runs(client, "third")
    assert whole.info.run_id == half.info.run_id
    assert whole.info.status == "FINISHED"
    steps = [m.step for m in client.get_metric_history(whole.info.run_id, "accuracy/linear")]
    assert sorted(steps) == [1, 2]


def test_the_default_store_is_the_one_mlflow_ui_opens(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    furnish(workspace, suite="fourth")
    assert main(["--params", "params.json", *cell_arguments(tracked=True)]) == 0
    program = (
        "from mlflow.tracking._tracking_service.utils import _get_default_tracking_uri as uri\n"
        "from mlflow.tracking import MlflowClient\n"
        "client = MlflowClient(uri())\n"
        "experiment = client.get_experiment_by_name('cim-bench fourth')\n"
        "(run,) = client.search_runs([experiment.experiment_id])\n"
        "print(run.info.run_name, len(client.list_artifacts(run.info.run_id)))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "replay + none, seed 3 5", done.stderr
