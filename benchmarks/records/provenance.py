"""Where a number comes from: commit, source digest, versions, hardware."""

from __future__ import annotations

import datetime
import hashlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cimbench.benchmarks.registry import COMPRESSORS, METHODS, source_file
from cimbench.datasets.errors import InputError

PROJECT = Path(__file__).resolve().parents[2]
# What decides a cell's numbers, beside its method's and its compressor's own file: the same list as the source deps of
# dvc.yaml's stage `run` (tests/benchmarks/test_pipeline_deps.py compares them). The images have a digest of their own.
SOURCES = (
    "datasets/arrays.py",
    "datasets/errors.py",
    "datasets/images",
    "datasets/randomness.py",
    "datasets/stream",
    "methods/errors.py",
    "methods/losses.py",
    "methods/memory",
    "methods/method.py",
    "methods/networks",
    "methods/reference_switches.py",
    "methods/training",
    "methods/compression/acceleration.py",
    "methods/compression/trial_kernel.py",
    "methods/compression/boxes",
    "methods/compression/compressor.py",
    "methods/compression/exemplars",
    "methods/compression/masks",
    "benchmarks/cell/evaluate.py",
    "benchmarks/cell/run.py",
)


def source_files(method: str, compressor: str) -> list[Path]:
    """The source files that can change a cell's numbers: other methods' and compressors' own are not among them."""
    named = [PROJECT / source for source in SOURCES]
    shared = {file for path in named for file in (path.rglob("*.py") if path.is_dir() else (path,))}
    return sorted(shared | {source_file(METHODS, method), source_file(COMPRESSORS, compressor)})


def source_digest(method: str, compressor: str) -> str:
    """sha256 over `source_files`, with their names."""
    sha = hashlib.sha256()
    for path in source_files(method, compressor):
        sha.update(path.name.encode() + b"\0" + _text(path))
    return sha.hexdigest()


def _text(path: Path) -> bytes:
    """A source's bytes, whichever ends of lines git has given it."""
    return path.read_bytes().replace(b"\r\n", b"\n")


def check_sources(folder: Path) -> None:
    """Raise InputError where `folder` is a checkout of this project whose sources differ from those that run.

    An editable install points at one checkout; a copy of it, a worktree or a queued experiment would run the other's.
    """
    if not (folder / "benchmarks" / "registry.py").is_file() or folder.resolve() == PROJECT:
        return
    for package in ("datasets", "methods", "benchmarks"):
        ours = {path.relative_to(PROJECT) for path in (PROJECT / package).rglob("*.py")}
        theirs = {path.relative_to(folder) for path in (folder / package).rglob("*.py")}
        same = (
            name in ours and name in theirs and _text(PROJECT / name) == _text(folder / name) for name in ours | theirs
        )
        if not all(same):
            raise InputError(
                f"{folder}: its {package}/ differs from the code that runs, which is in {PROJECT}; run `make install` "
                "here and use this folder's .venv"
            )


def _git(*arguments: str) -> str | None:
    """What git says in the project's own repository; None outside one, and inside another project's."""
    if not (PROJECT / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", *arguments], cwd=PROJECT, capture_output=True, text=True, check=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _processor() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def surroundings(device: torch.device) -> dict[str, Any]:
    """Commit (None outside a repository), whether tracked files differ from it, versions, hardware, time of start."""
    import torchvision

    changed = _git("status", "--porcelain", "--untracked-files=no", "--", "datasets", "methods", "benchmarks")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "sources_changed": None if changed is None else bool(changed),
        "started": datetime.datetime.now(datetime.UTC).isoformat(timespec="microseconds"),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
            "numpy": np.__version__,
        },
        "hardware": {
            "processor": _processor(),
            "cores": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
            "platform": platform.platform(),
        },
    }


def provenance(device: torch.device, method: str, compressor: str) -> dict[str, Any]:
    """A cell's surroundings, and the digest of the sources that can change its numbers; checked by `check_sources`."""
    check_sources(Path.cwd())
    return {**surroundings(device), "source_digest": source_digest(method, compressor)}
