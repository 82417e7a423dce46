"""Files as they are in git."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import ROOT


def committed(name: str) -> str:
    """A file as it is in git: `make repro` writes the working copy again, with another machine's numbers."""
    shown = subprocess.run(["git", "show", f"HEAD:{name}"], cwd=ROOT, capture_output=True, text=True)
    if shown.returncode:
        pytest.skip(f"git has no {name}: {shown.stderr.strip()}")
    return shown.stdout


def committed_table(suite: str, name: str = "comparison") -> str:
    """A suite's table as it is in git: of digits among the references, for they are measured afresh in every clone."""
    folder = "results/reference" if suite.startswith(("digits", "embedded")) else "results"
    return committed(f"{folder}/{suite}/tables/{name}.md")
