"""What several verbs need: the complete records of a suite."""

from __future__ import annotations

from pathlib import Path

from cimbench.benchmarks.records.places import name_of, record_folders, suite_of
from cimbench.benchmarks.records.record import Record, load_record, load_records
from cimbench.benchmarks.suite.config import Suite
from cimbench.datasets.errors import InputError


def measured(suite: Suite) -> tuple[list[Record], dict[str, str]]:
    """The suite's complete records, and why the others are absent; InputError where there is none."""
    records, absent = load_records({cell.folder: cell.resolved() for cell in suite.cells()})
    if not records:
        reasons = "".join(f"\n  {cell}: {reason}" for cell, reason in absent.items())
        raise InputError(f"{suite.results}/cells: no cell is complete; run them with dvc repro{reasons}")
    return records, absent


def all_measured(results: Path) -> tuple[list[Record], dict[str, str]]:
    """The complete records of every suite in a folder, by suite, and why others are left out; InputError for none."""
    records: list[Record] = []
    absent: dict[str, str] = {}
    for folder in record_folders(results):
        suite, cell = suite_of(folder), name_of(folder)
        try:
            record = load_record(folder)
        except InputError as error:
            absent[f"{suite}/{cell}"] = str(error)
            continue
        if (record.suite, record.cell) != (suite, cell):
            absent[f"{suite}/{cell}"] = f"is the record of {record.suite}/{record.cell}"
        elif not record.complete:
            absent[f"{suite}/{cell}"] = f"stopped after phase {len(record.phases)} of {len(record.group_sizes)}"
        else:
            records.append(record)
    if not records:
        reasons = "".join(f"\n  {cell}: {reason}" for cell, reason in absent.items())
        raise InputError(f"{results}: no cell of any suite is complete; run them with dvc repro{reasons}")
    return records, absent
