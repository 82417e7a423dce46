"""The steps of a first run on a GPU, each a program of its own whose outcome is written as soon as it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cimbench.datasets.arrays import write_json

LOGS = Path("build/gpu")
STEPS = ("tests", "learning", "throughput", "profile", "slice")
_TESTS = Path("tests")


@dataclass(frozen=True)
class Step:
    """name: of its log and outcome. what: in words. share: of the time that is left when it begins, at most.

    stops: it takes --limit-seconds. goes_on: begun again, it goes on where it stopped; others are not begun again once
    they have ended well.
    """

    name: str
    what: str
    command: tuple[str, ...]
    share: float
    stops: bool = False
    goes_on: bool = False


def steps(suite: Path, method: str, compressor: str) -> list[Step]:
    """What is run, in this order. suite: parameters of the slice. method, compressor: of the profile."""
    python, module = sys.executable, "cimbench.benchmarks"
    spread = ("-n", "8", "--dist", "load") if find_spec("xdist") else ()
    folder = "benchmarks/throughput"
    bench = (python, "-m", "pytest", "-q", "-s", "-k", "cuda", "--benchmark-only")
    learning = [f"{folder}/test_{name}.py" for name in ("training", "masks")]
    rest = [folder, *(f"--ignore={path}" for path in learning)]
    profile = ("--params", str(suite), "--method", method, "--compressor", compressor, "--epochs", "9")
    slice_ = (python, "-m", f"{module}.cli", "--params", str(suite), "run-suite", "--no-tracking")
    return [
        Step(
            "tests",
            "the tests that need a GPU",
            (python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "gpu", *spread, *gpu_tests()),
            0.45,
        ),
        Step(
            "learning",
            "learning and the mask level beside bare steps",
            (*bench, *learning, f"--benchmark-json={LOGS / 'learning.json'}"),
            0.5,
            stops=True,
        ),
        Step(
            "throughput",
            "compression throughput with its ceilings",
            (*bench, *rest, f"--benchmark-json={LOGS / 'throughput.json'}"),
            0.5,
            stops=True,
        ),
        Step("profile", "where the time of a phase goes", (python, "-m", f"{module}.throughput.phase", *profile), 0.5),
        Step("slice", f"the first cells of {suite.stem}", slice_, 1.0, stops=True, goes_on=True),
    ]


def gpu_tests(folder: Path = _TESTS) -> list[str]:
    """The test files that name a GPU: the others need libraries that a machine with a GPU may not have."""
    named = re.compile(r"mark\.gpu|\bDEVICES\b")
    return sorted(str(path) for path in folder.rglob("test_*.py") if named.search(path.read_text()))


def outcome_path(step: Step, folder: Path = LOGS) -> Path:
    """Where a step's outcome is."""
    return folder / f"{step.name}.outcome.json"


def outcome(step: Step, folder: Path = LOGS) -> dict[str, Any] | None:
    """How a step ended earlier; None where it has not."""
    path = outcome_path(step, folder)
    if not path.is_file():
        return None
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def run_step(step: Step, seconds: float, of: dict[str, Any], folder: Path = LOGS) -> dict[str, Any]:
    """Run a step for at most `seconds`; its output goes to the screen and to a log, its outcome to a file.

    of: what the outcome holds for (sources, device), kept beside it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{step.name}.log"
    command = list(step.command)
    if step.stops:  # by itself, at a checkpoint or after a benchmark
        command += ["--limit-seconds", f"{max(1.0, seconds - 15):.0f}"]
    begun = time.monotonic()
    with log.open("w") as file:
        status = _followed(command, file, seconds)
    took = time.monotonic() - begun
    ended = (
        "ended well" if status == 0 else "was stopped: its time was up" if status is None else f"ended with {status}"
    )
    found = {"step": step.name, "status": status, "ended": ended, "seconds": took, "last": last_line(log), **of}
    write_json(outcome_path(step, folder), found)
    return found


def _followed(command: Sequence[str], log: Any, seconds: float) -> int | None:
    """The program's status, its output copied to the screen; None where it was stopped at its limit."""
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    program = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        return program.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        program.send_signal(signal.SIGINT)  # pytest writes what it has measured, a cell is at a checkpoint
        try:
            program.wait(timeout=15)
        except subprocess.TimeoutExpired:
            program.kill()
            program.wait()
        return None
    except KeyboardInterrupt:
        program.terminate()
        program.wait()
        raise


def last_line(log: Path) -> str:
    """The last line with words of a step's output."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else ""
