"""A tracking server that is away, silent or forbids costs a running cell seconds and a line; track says what to do."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Cell, find_cell
from cimbench.benchmarks.tracking.live import LiveTracking
from cimbench.benchmarks.tracking.server import configure, without_secrets
from tests.benchmarks.invented import invent
from tests.benchmarks.mlflow_server import Relay, free_port
from tests.benchmarks.tracked import by_name, contents
from tests.benchmarks.workplace import cell_arguments, furnish, run_command

pytestmark = [pytest.mark.xdist_group("tracking"), pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture
def cell(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A complete cell on the disk."""
    for name in ("TIMEOUT", "MAX_RETRIES", "BACKOFF_FACTOR"):
        monkeypatch.delenv(f"MLFLOW_HTTP_REQUEST_{name}", raising=False)
    made = find_cell(furnish(workspace, suite="away"), "replay", "none", 3)
    invent(made, [9, 4])
    return made


def told_live(cell: Cell) -> Iterator[None]:
    """What a running cell tells a listener, with a pause after each phase."""
    configure()
    record = load_record(cell.folder)
    phases, record.phases = record.phases, []
    listener = LiveTracking(cell.folder, lambda: [whole])
    whole = load_record(cell.folder)
    listener.started(record, 0)
    for phase in phases:
        yield
        record.phases.append(phase)
        listener.phase(record)
    listener.close()


def run_to_end(cell: Cell) -> float:
    """Tell it all; returns the seconds that it took."""
    begun = time.monotonic()
    for _ in told_live(cell):
        pass
    return time.monotonic() - begun


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """A server that says the same to everything."""

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = answer  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()


def check_refused(cell: Cell, capsys: pytest.CaptureFixture[str], address: str, remedy: str) -> None:
    """The cell says it once and goes on; `track` ends with status 2; both name the address and the remedy."""
    capsys.readouterr()
    seconds = run_to_end(cell)
    warning = capsys.readouterr().err
    assert warning.startswith(f"not tracked: http://{address}: ") and remedy in warning
    assert warning.endswith("its results are on the disk; later: cimbench track\n")
    assert warning.count("\n") == 1
    assert seconds < 30  # MLflow's own limits make it minutes
    assert main(["--params", "params.json", "track"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"cimbench track: http://{address}: ") and remedy in message
    assert "secret" not in warning + message


def test_no_server(cell: Cell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    port = free_port()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@127.0.0.1:{port}")
    check_refused(cell, capsys, f"127.0.0.1:{port}", "see that MLFLOW_TRACKING_URI is right and the server is up")


def test_a_silent_server(cell: Cell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    relay = Relay()
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", relay.address)
    check_refused(cell, capsys, relay.address.removeprefix("http://"), "MLFLOW_TRACKING_URI is right")
    assert relay.visits <= 3  # before the first phase, after the last, and track's
    relay.close()


@pytest.mark.parametrize(
    ("status", "body", "remedy"),
    [
        (401, b"You are not authenticated", "set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"),
        (403, b"<html>Forbidden</html>", "(403); ask its owner"),
        (403, b'{"error_code": "PERMISSION_DENIED", "message": "Permission denied"}', "(403); ask its owner"),
        (200, b"<html>A page of another service</html>", "see that MLFLOW_TRACKING_URI is right"),
    ],
)
def test_a_server_that_refuses(
    cell: Cell,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: bytes,
    remedy: str,
) -> None:
    with answering(status, body) as address:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://someone:secret@{address}")
        check_refused(cell, capsys, address, remedy)


def test_a_database_that_is_away(cell: Cell, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """MLflow itself would try ten times, for a minute and a half, and goes on with it in the thread that is left."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql+psycopg2://someone:secret@127.0.0.1:{free_port()}/runs")
    done = run_command(workspace, *cell_arguments(tracked=True))
    assert done.returncode == 0
    assert done.stderr.count("not tracked: postgresql+psycopg2://127.0.0.1:") == 1
    assert "secret" not in done.stderr
    assert load_record(cell.folder).complete


def test_a_driver_that_is_not_installed(
    cell: Cell, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql+pg8000://someone:secret@127.0.0.1:5/runs")
    run_to_end(cell)
    assert main(["--params", "params.json", "track"]) == 2
    told = capsys.readouterr().err
    assert told.count("No module named 'pg8000'; install it, or name a driver") == 2
    assert "secret" not in told


def test_a_server_that_goes_away_during_the_run_is_brought_up_to_date_later(
    cell: Cell, sqlite_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    relay = Relay(sqlite_server)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")  # a busy machine is no slow server
    monkeypatch.setenv("MLFLOW_TRACKING_URI", relay.address)
    going = told_live(cell)
    next(going)
    relay.turn("shut")
    for _ in going:
        pass
    assert capsys.readouterr().err.count("\n") == 1
    client = MlflowClient(sqlite_server)
    half = by_name(client, "away")["replay + none, seed 3"]
    assert half.info.status == "RUNNING"
    assert not half.data.metrics
    relay.turn("open")
    assert main(["--params", "params.json", "track"]) == 0
    whole = by_name(client, "away")
    assert whole["replay + none, seed 3"].info.run_id == half.info.run_id
    assert set(whole) == {"replay + none, seed 3", "replay + none, one seed"}
    assert len(contents(client, "away")["replay + none, seed 3"]["metrics"]["accuracy/linear"]) == 2
    relay.close()


def test_a_server_that_comes_back_before_the_end_has_everything(
    cell: Cell, sqlite_server: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = load_record(cell.folder)
    back = Record(**{**vars(record), "suite": "back"})
    back.save(cell.folder)
    relay = Relay(sqlite_server)
    relay.turn("shut")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "60")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", relay.address)
    going = told_live(cell)
    next(going)
    next(going)
    relay.turn("open")
    for _ in going:
        pass
    assert capsys.readouterr().err.count("\n") == 1
    named = by_name(MlflowClient(sqlite_server), "back")
    assert {run.info.status for run in named.values()} == {"FINISHED"}
    assert set(named) == {"replay + none, seed 3", "replay + none, one seed"}
    relay.close()


def test_no_secret_is_printed() -> None:
    shown = without_secrets("see http://me:pa/ss@host:5/x?token=1 and postgresql://me@db/runs?password=2, http://a/b")
    assert shown == "see http://host:5/x and postgresql://db/runs http://a/b"
