"""The verb behind `make repro`: the pipeline, its table, and whether the numbers are the committed ones.

DVC writes what it has seen into dvc.lock, which is in git with the committed results. The own lock is kept in .dvc/tmp
and lies in its place only while DVC runs, so that git stays clean and the second run has nothing to do. A dvc.lock that
was changed by hand, and one outside of git, stay in force.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

from cimbench.benchmarks.commands.errors import FailedCellsError
from cimbench.benchmarks.suite.config import Suite

LOCK, OWN, THEIRS = Path("dvc.lock"), Path(".dvc/tmp/own.lock"), Path(".dvc/tmp/committed.lock")


def repro(suite: Suite, arguments: argparse.Namespace) -> str:
    """Run what is not done of the suite in params.yaml, print its table and compare it with the committed one."""
    from cimbench.benchmarks.commands.compare import REFERENCE, compare
    from cimbench.benchmarks.commands.reports import show

    with own_lock():
        process = subprocess.Popen(["dvc", "repro"])
        import_module("cimbench.benchmarks.report.compared")  # a second and a half, meanwhile
        import_module("scipy.stats")
        status = process.wait()
    if status:
        raise FailedCellsError("dvc repro did not end well, see above; the same command goes on from there")
    told = show(suite, arguments)
    if not (REFERENCE / suite.suite / "cells").is_dir():
        return told
    return f"{told}\n{compare(suite, argparse.Namespace(reference=str(REFERENCE), replace=False))}"


@contextmanager
def own_lock() -> Iterator[None]:
    """Within the block, dvc.lock is this clone's own; afterwards it is the committed one again."""
    if THEIRS.is_file():  # the last time was cut off within the block
        _put_back()
    if not _as_committed():
        yield
        return
    OWN.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(LOCK, THEIRS)
    if OWN.is_file():
        shutil.copyfile(OWN, LOCK)
    try:
        yield
    finally:
        _put_back()


def _put_back() -> None:
    """What DVC has written into dvc.lock is the own one."""
    if LOCK.is_file():
        shutil.copyfile(LOCK, OWN)
    THEIRS.replace(LOCK)


def _as_committed() -> bool:
    """Whether dvc.lock is in git and as it is there."""
    if not LOCK.is_file():
        return False
    asked = (["ls-files", "--error-unmatch", str(LOCK)], ["diff", "--quiet", "HEAD", "--", str(LOCK)])
    try:
        return all(subprocess.run(["git", *words], capture_output=True, check=False).returncode == 0 for words in asked)
    except OSError:
        return False
