"""MLflow servers of a test's own on loopback: over SQLite or PostgreSQL, and a relay that makes one hang or vanish."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

PATIENCE = 900  # seconds that a busy machine may take to start a server
# no workers for jobs of language models, which are five more processes
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}


def free_port() -> int:
    """A port that nobody listens to."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def serving(folder: Path, *arguments: str) -> Iterator[str]:
    """`mlflow` with the arguments, run in `folder`; gives its address."""
    port = free_port()
    program = [sys.executable, "-m", "mlflow", *arguments, "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            program,
            cwd=folder,
            stdout=log,
            stderr=log,
            env={**environment, **QUIET},
            start_new_session=True,
        )
    try:
        address = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                urllib.request.urlopen(f"{address}/health", timeout=5).close()
                break
            except OSError:
                log_text = (folder / "server.log").read_text()
                assert process.poll() is None and time.monotonic() < deadline, log_text
                time.sleep(0.3)
        yield address
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, 15)
        process.wait(timeout=60)


def postgres_programs() -> Path:
    """The folder with initdb and postgres; the test is skipped where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    found += [Path(path).resolve().parent for path in [shutil.which("initdb")] if path]
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    pytest.skip("PostgreSQL is not installed (initdb and postgres)")


def answers(port: int) -> bool:
    """Whether PostgreSQL lets one in."""
    import psycopg2

    try:
        psycopg2.connect(host="127.0.0.1", port=port, user="cimbench", dbname="postgres").close()
    except psycopg2.OperationalError:
        return False
    return True


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The address of a PostgreSQL database of this test's own, which never runs as root."""
    programs = postgres_programs()
    folder = Path(tempfile.mkdtemp(prefix="cimbench-postgres-"))
    as_user: dict[str, int] = {}
    if os.geteuid() == 0:
        someone = next(user for user in pwd.getpwall() if user.pw_name in ("postgres", "nobody"))
        as_user = {"user": someone.pw_uid, "group": someone.pw_gid}
        os.chown(folder, someone.pw_uid, someone.pw_gid)
    data, port = folder / "data", free_port()
    options = ["-D", str(data), "-p", str(port), "-h", "127.0.0.1", "-k", str(folder), "-c", "fsync=off"]
    quiet = subprocess.DEVNULL
    make = [
        str(programs / "initdb"),
        "-D",
        str(data),
        "-A",
        "trust",
        "-U",
        "cimbench",
        "-N",
        "--no-locale",
        "-E",
        "UTF8",
    ]
    subprocess.run(make, check=True, stdout=quiet, cwd=folder, extra_groups=[] if as_user else None, **as_user)
    process = subprocess.Popen(
        [str(programs / "postgres"), *options],
        **{"cwd": folder, "stdout": quiet, "stderr": quiet, "extra_groups": [] if as_user else None},
        **as_user,
    )
    try:
        deadline = time.monotonic() + PATIENCE
        while not answers(port):
            assert process.poll() is None and time.monotonic() < deadline
            time.sleep(0.2)
        yield f"postgresql+psycopg2://cimbench@127.0.0.1:{port}/postgres"
    finally:
        process.terminate()
        process.wait(timeout=60)
        shutil.rmtree(folder)


class Relay:
    """A door before a server: "open" lets through, "shut" hangs up at once, "mute" takes connections and is silent."""

    def __init__(self, target: str | None = None) -> None:
        self._target = None if target is None else ("127.0.0.1", int(target.rsplit(":", 1)[1]))
        self._door = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._door.getsockname()[1]}"
        self.state, self.visits = "open", 0
        self._held: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                visitor, _ = self._door.accept()
                self.visits += 1
                self._held.append(visitor)
                if self.state == "shut":
                    visitor.close()
                elif self.state == "open" and self._target is not None:
                    server = socket.create_connection(self._target)
                    self._held.append(server)
                    for source, sink in ((visitor, server), (server, visitor)):
                        threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def turn(self, state: str) -> None:
        """From now on, for connections that are open too."""
        self.state = state
        self._hang_up()

    def _hang_up(self) -> None:
        for held in self._held:
            with contextlib.suppress(OSError):
                held.shutdown(socket.SHUT_RDWR)
            held.close()
        self._held.clear()

    def close(self) -> None:
        """No more door."""
        self._door.close()
        self._hang_up()
