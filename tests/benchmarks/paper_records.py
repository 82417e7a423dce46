"""Cells of papers' suites that nobody has run, and the tables that would show them."""

from __future__ import annotations

import copy
import functools
import json
from pathlib import Path
from typing import Any

from cimbench.benchmarks.report.papers.cells import PaperCell, paper_cells
from cimbench.benchmarks.report.papers.spec import PaperTable, load_paper_table
from cimbench.benchmarks.suite.compose import compose_suite
from cimbench.benchmarks.suite.config import Suite, find_cell


@functools.cache
def suite_of(name: str) -> Suite:
    return compose_suite(name)


def record_of(where: str, method: str, compressor: str, seed: int, correct: list[list[int]], **other: Any) -> Path:
    """A complete record of a cell with one group of 100 test images a phase; returns its file."""
    cell = find_cell(suite_of(where), method, compressor, seed)
    phase = {
        "correct_top5": {},
        "losses": [1.0],
        "memory": {"exemplars": [2, 4]},
        "seconds": {"learn": 1.0},
        "model_bytes": 1,
    }
    content = {
        "run_id": "0" * 16,
        "suite": where,
        "cell": cell.name,
        "config": cell.resolved(),
        "provenance": {"commit": "0" * 40, "started": "2026-01-01", "versions": {}, "hardware": {}},
        "data_digest": "0" * 64,
        "class_names": ["a", "b"],
        "group_sizes": [1] * len(correct),
        "tested": [100] * len(correct),
        "phases": [{**phase, "correct": {"teacher": row, "student": row}} for row in correct],
    }
    for one in content["phases"]:  # type: ignore[attr-defined]
        one["correct_top5"] = one["correct"]
    path = cell.folder / "record.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({**content, **other}))
    return path


@functools.cache
def composed(name: str) -> PaperTable:
    return load_paper_table(name)


def table_of(name: str) -> PaperTable:
    """Composed once, a copy for each test, since composing takes a tenth of a second a suite."""
    return copy.deepcopy(composed(name))


def cell_of(name: str, row: str, setting: str) -> PaperCell:
    found = [c for c in paper_cells(table_of(name)) if (c.row.name, c.setting.name) == (row, setting)]
    assert len(found) == 1
    return found[0]
