"""The verb that says what this environment is, and what is wrong with it, each with its remedy."""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

from cimbench.benchmarks.commands.errors import FailedRequirementsError
from cimbench.datasets.errors import InputError

_LEAST_FREE = 5 * 10**9  # bytes for results and the data of the small suites
_PACKAGES = ("torch", "torchvision", "numpy", "pandas", "mlflow", "dvc")
_CHECKPOINTS = Path("data/checkpoints")


class Finding(NamedTuple):
    """A line: what, its value, and what is wrong with it and what to do; "" where nothing is."""

    name: str
    value: str
    wrong: str = ""


def doctor(_suite: None, arguments: argparse.Namespace) -> str:
    """Print everything; FailedRequirementsError where something is wrong."""
    found = list(findings(arguments.params))
    for finding in found:
        mark = "WRONG " if finding.wrong else "      "
        print(f"{mark}{finding.name:<14} {finding.value}" + (f"\n{'':<21} {finding.wrong}" if finding.wrong else ""))
    wrong = [finding.name for finding in found if finding.wrong]
    if wrong:
        raise FailedRequirementsError(f"{len(wrong)} of {len(found)} things are wrong: {', '.join(wrong)}")
    return f"{len(found)} things looked at, nothing is wrong. Next: make repro, or cimbench plan"


def findings(parameters: Path) -> Iterator[Finding]:
    """Everything that is looked at, in the order of reading."""
    yield from _code()
    for package in _PACKAGES:
        yield _package(package)
    yield from _devices()
    yield _suite(parameters)
    yield _tracking()
    yield _space()
    yield from _left_overs()


def _code() -> Iterator[Finding]:
    import torch

    from cimbench.benchmarks.records.provenance import PROJECT, check_sources, surroundings

    origin = surroundings(torch.device("cpu"))
    changed = {True: ", with changes", False: "", None: ""}[origin["sources_changed"]]
    yield Finding("code", f"{PROJECT}, commit {(origin['commit'] or 'unknown')[:10]}{changed}")
    try:
        check_sources(Path.cwd())
        yield Finding("this folder", str(Path.cwd()))
    except InputError as error:
        yield Finding("this folder", str(Path.cwd()), str(error))
    yield Finding("Python", origin["versions"]["python"])
    hardware = origin["hardware"]
    yield Finding("processor", f"{hardware['processor']}, {hardware['cores']} cores")


def _package(name: str) -> Finding:
    try:
        return Finding(name, version(name) if find_spec(name) else "not installed", _absent(name))
    except PackageNotFoundError:
        return Finding(name, "of unknown version")


def _absent(name: str) -> str:
    """What is wrong where a package is not there: the core is torch, torchvision and NumPy."""
    if find_spec(name) is not None:
        return ""
    needed = name in ("torch", "torchvision", "numpy")
    return "nothing runs without it: make install" if needed else ""


def _devices() -> Iterator[Finding]:
    from cimbench.benchmarks.gpu.environment import facts, why_no_gpu

    reason = why_no_gpu()
    if reason is not None:
        yield Finding("GPU", f"none ({reason})")
        return
    known = facts()
    for name in ("GPU", "driver", "memory", "kernels"):
        yield Finding(name, known[name])


def _suite(parameters: Path) -> Finding:
    from cimbench.benchmarks.suite.config import load_suite

    try:
        suite = load_suite(parameters)
    except InputError as error:
        return Finding("parameters", str(parameters), str(error))
    return Finding("parameters", f"{parameters}: suite {suite.suite}, {len(list(suite.cells()))} cells")


def _tracking() -> Finding:
    try:
        from cimbench.benchmarks.tracking import server
    except ModuleNotFoundError:
        return Finding("tracking", "none: mlflow is not installed; later: cimbench track")
    server.configure()
    if server.tracking_uri() == server.LOCAL and not Path("mlflow.db").is_file():
        return Finding("tracking", f"{server.address()} (not there yet)")
    return Finding("tracking", server.address(), server.why_not_reached())


def _space() -> Finding:
    free = shutil.disk_usage(".").free
    wrong = f"less than {_LEAST_FREE / 1e9:.0f} GB: free some disk space" if free < _LEAST_FREE else ""
    return Finding("free space", f"{free / 1e9:.1f} GB", wrong)


def _left_overs() -> Iterator[Finding]:
    """What interrupted runs have left: some of it goes on, some can go."""
    locks = [path for path in sorted(_CHECKPOINTS.rglob("*.lock")) if _held(path)]
    yield Finding("being learnt", ", ".join(f"{path.stem} by {path.read_text()}" for path in locks) or "nothing")
    begun = sorted({path.name.split(".")[0] for path in _CHECKPOINTS.rglob("*.npz")})
    yield Finding("begun", f"{', '.join(begun)}: the same command goes on" if begun else "nothing")
    partial = [path for folder in ("data", "results") for path in Path(folder).rglob("*.partial")]
    size = sum(file.stat().st_size for path in partial for file in ([path] if path.is_file() else path.rglob("*")))
    words = f"{len(partial)} of {size / 1e6:.0f} MB: {', '.join(map(str, partial[:3]))}" if partial else "none"
    yield Finding("partial files", words)
    yield _branch()


def _held(path: Path) -> bool:
    """Whether a process holds the lock."""
    lock = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(lock)
    return False


def _branch() -> Finding:
    """A killed `dvc exp run` can leave git on no branch."""
    if not Path(".git").exists():
        return Finding("git", "no repository")
    done = subprocess.run(["git", "symbolic-ref", "-q", "--short", "HEAD"], capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return Finding("git", f"branch {done.stdout.strip()}")
    return Finding("git", "on no branch", "a killed dvc exp run leaves it so: git checkout main")
