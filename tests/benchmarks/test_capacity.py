"""More jobs than the machine has cores or memory for are refused in words; by default there are as many as fit."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.planning import capacity
from cimbench.benchmarks.planning.capacity import LEAST_BYTES, jobs_for, needed_bytes
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.errors import InputError
from tests.benchmarks.workplace import furnish
from tests.conftest import tiny_suite
from tests.methods.cells import Silent

SUITE = tiny_suite(matrix={"seeds": [1, 2, 3]})
CELLS = list(SUITE.cells())


@pytest.fixture(autouse=True)
def _machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(capacity, "cores", lambda: 4)
    monkeypatch.setattr(capacity, "free_bytes", lambda: 10**12)


def test_as_many_as_cores_and_no_more_than_cells() -> None:
    assert jobs_for(SUITE, CELLS, None) == 3
    assert jobs_for(SUITE, CELLS * 2, None) == 4
    assert jobs_for(SUITE, CELLS, 2) == 2
    assert jobs_for(SUITE, CELLS, 4) == 3
    assert jobs_for(SUITE, [], None) == 1


def test_more_than_cores_or_none_are_refused() -> None:
    with pytest.raises(InputError, match="--jobs is 9, but there are 4 cores; give at most 4, or leave it out"):
        jobs_for(SUITE, CELLS, 9)
    with pytest.raises(InputError, match="--jobs is 0; give 1 or more"):
        jobs_for(SUITE, CELLS, 0)


def test_memory_bounds_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capacity, "free_bytes", lambda: 2 * LEAST_BYTES + 1)
    assert jobs_for(SUITE, CELLS, None) == 2
    with pytest.raises(InputError, match=r"--jobs is 3: a cell of suite test needs 0.6 GB, and 1.2 GB of memory"):
        jobs_for(SUITE, CELLS, 3)
    monkeypatch.setattr(capacity, "free_bytes", lambda: 1000)
    assert jobs_for(SUITE, CELLS, None) == 1  # one is tried in any case
    assert jobs_for(SUITE, CELLS, 1) == 1


def test_what_a_cell_needs_is_what_one_has_used(workspace: Path) -> None:
    suite = furnish(workspace)
    assert needed_bytes(suite) == LEAST_BYTES
    record = run_cell(cell := find_cell(suite, "replay", "none", 3), Silent())
    record.phases[1] = dataclasses.replace(record.phases[1], peak_memory_bytes=7_000_000_000)
    record.save(cell.folder)
    assert needed_bytes(suite) == 7_000_000_000


def test_the_machine_tells() -> None:
    from importlib import reload

    fresh = reload(capacity)
    assert fresh.cores() >= 1
    free = fresh.free_bytes()
    assert free is None or free > 10**7
