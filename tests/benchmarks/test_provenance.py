"""The code that runs is the code of the folder it runs in, or this is said; a commit is this project's, or none."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from cimbench.benchmarks.records import provenance
from cimbench.datasets.errors import InputError
from tests.conftest import ROOT


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the project's sources, which an editable install of the first checkout knows nothing of."""
    for package in ("datasets", "methods", "benchmarks"):
        ignore = shutil.ignore_patterns("__pycache__", "*.csv")
        shutil.copytree(ROOT / package, tmp_path / "copy" / package, ignore=ignore)
    return tmp_path / "copy"


def test_a_copy_runs_as_long_as_its_sources_are_the_same(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    provenance.check_sources(copy)
    edited = copy / "methods/replay.py"
    edited.write_bytes(edited.read_bytes().replace(b"\n", b"\r\n"))
    provenance.check_sources(copy)  # other ends of lines are no other code
    edited.write_text(edited.read_text() + "# edited\n")
    monkeypatch.chdir(copy)
    with pytest.raises(InputError, match=r"its methods/ differs from the code that runs, .*make install"):
        provenance.provenance(torch.device("cpu"), "replay", "none")


def test_a_file_too_many_or_too_few_is_seen(copy: Path) -> None:
    (copy / "datasets/stream/own.py").touch()
    with pytest.raises(InputError, match="its datasets/ differs"):
        provenance.check_sources(copy)
    (copy / "datasets/stream/own.py").unlink()
    (copy / "benchmarks/cli.py").unlink()
    with pytest.raises(InputError, match="its benchmarks/ differs"):
        provenance.check_sources(copy)


def test_a_folder_that_is_no_checkout_may_hold_anything(tmp_path: Path) -> None:
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods/thesis.py").touch()
    provenance.check_sources(tmp_path)


def test_another_repository_around_the_project_is_not_its_commit(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outer = ["git", "-C", str(copy.parent), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*outer, "init", "-q"], check=True)
    subprocess.run([*outer, "commit", "-q", "--allow-empty", "-m", "thesis"], check=True)
    monkeypatch.setattr(provenance, "PROJECT", copy)
    origin = provenance.surroundings(torch.device("cpu"))
    assert origin["commit"] is None and origin["sources_changed"] is None


def test_ends_of_lines_do_not_move_a_source_digest(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "PROJECT", copy)
    before = provenance.source_digest("replay", "none")
    trainer = copy / "methods/training/trainer.py"
    trainer.write_bytes(trainer.read_bytes().replace(b"\n", b"\r\n"))
    assert provenance.source_digest("replay", "none") == before
    trainer.write_bytes(trainer.read_bytes() + b"# edited")
    assert provenance.source_digest("replay", "none") != before
