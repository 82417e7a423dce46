"""What several verbs need: the complete records of a suite."""

from __future__ import annotations

from cimbench.benchmarks.config import Suite
from cimbench.benchmarks.record import Record, load_records
from cimbench.datasets.errors import InputError


def measured(suite: Suite) -> tuple[list[Record], dict[str, str]]:
    """The suite's complete records, and why the others are absent; InputError where there is none."""
    records, absent = load_records({cell.folder: cell.resolved() for cell in suite.cells()})
    if not records:
        reasons = "".join(f"\n  {cell}: {reason}" for cell, reason in absent.items())
        raise InputError(f"{suite.results}/cells: no cell is complete; run them with dvc repro{reasons}")
    return records, absent
