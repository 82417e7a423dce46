"""The tables of the report page: the same numbers as in tables/, with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record, shared_heads
from cimbench.benchmarks.report.boxes import NOTE as BOXES_NOTE
from cimbench.benchmarks.report.boxes import boxes_table
from cimbench.benchmarks.report.differences import differences_table
from cimbench.benchmarks.report.intervals import accuracy_text
from cimbench.benchmarks.report.sizes import HEADING, found_sizes
from cimbench.benchmarks.report.tables import groups_of_cells, reading_table

THROUGHPUT = Path("results/throughput")


@dataclass(frozen=True, kw_only=True)
class Table:
    """Column names and rows as written; numbers: whether a column is one of numbers; notes: what stands under it."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: tuple[bool, ...]
    notes: tuple[str, ...] = ()


def _table(title: str, frame: pd.DataFrame, words: int, *notes: str) -> Table:
    """The first `words` columns are words."""
    rows = tuple(tuple(map(str, row)) for row in frame.itertuples(index=False))
    columns = tuple(map(str, frame.columns))
    numbers = tuple(place >= words for place in range(len(columns)))
    return Table(title=title, columns=columns, rows=rows, numbers=numbers, notes=notes)


def comparison(records: Sequence[Record]) -> Table:
    """comparison.md with the 95 % intervals of the two headline accuracies beside them."""
    frame = reading_table(records).drop(columns="filled (%)")  # on paper there is no room for it
    found: dict[str, list[str]] = {"average_accuracy": [], "last_accuracy": []}
    for members in groups_of_cells(records).values():
        for head in shared_heads(members):
            metrics = [headline(record.counts(head)) for record in members]
            for name, column in found.items():
                column.append(accuracy_text([100 * one[name] for one in metrics]))
    for name, column in found.items():
        words = name.removesuffix("_accuracy")
        frame.insert(list(frame.columns).index(f"{words} accuracy (%)") + 1, f"{words}, 95 % interval", column)
    return _table("Comparison", frame, 3)


def differences(records: Sequence[Record]) -> Table | None:
    """What each compressor adds, paired by seed; None where no two seeds can be paired."""
    frame = differences_table(records)
    words = "Ours minus theirs in percentage points, paired by seed; Student's 95 % interval of the mean in brackets."
    return _table("Paired differences", frame, 5, words) if len(frame) else None


def boxes(records: Sequence[Record]) -> Table | None:
    """What boxes do; None where no cell has a memory."""
    frame = boxes_table(records)
    return _table("Boxes", frame, 2, BOXES_NOTE) if len(frame) else None


def sizes(records: Sequence[Record], cells: Sequence[Path], prepared: Path) -> Table | None:
    """Accuracy by the size of objects; None where no bounding box is annotated, or the prepared data are not here."""
    found = found_sizes(records, cells, prepared)
    return None if found is None else _table("Sizes of objects", found.table, 3, HEADING, *found.groups)


def absences(absent: Mapping[str, str]) -> Table:
    """Every cell of the matrix without a number, and why; no rows where all are there."""
    rows = tuple((cell, reason) for cell, reason in absent.items())
    return Table(title="Absent cells", columns=("cell", "reason"), rows=rows, numbers=(False, False))


def provenance(records: Sequence[Record]) -> Table:
    """Where the numbers come from: every value that occurs among the cells."""
    origins = [record.provenance for record in records]
    changed = ["with changes" for origin in origins if origin["sources_changed"]]
    hardware = [origin["hardware"] for origin in origins]
    processors = [f"{one['processor']}, {one['threads']} threads" for one in hardware]
    devices = [one["device"] for one in hardware if one["device"] != "cpu"]
    started = sorted(str(origin["started"])[:19] for origin in origins)
    versions = [f"{name} {version}" for origin in origins for name, version in origin["versions"].items()]
    values = {
        "commit": [str(origin["commit"] or "unknown") for origin in origins] + changed,
        "versions": versions,
        "hardware": [*devices, *processors],
        "system": [one["platform"] for one in hardware if "platform" in one],
        "seeds": [str(record.config["seed"]) for record in records],
        "data digest": [record.data_digest for record in records],
        "measured": [started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}, UTC"],
        "cells": [f"{len(records)} complete"],
    }
    rows = tuple((name, ", ".join(dict.fromkeys(found))) for name, found in values.items() if found)
    return Table(title="Provenance", columns=("what", "value"), rows=rows, numbers=(False, False))


def throughput(folder: Path = THROUGHPUT) -> list[Table]:
    """The tables that `make bench` has left, one a device; none where there is none."""
    texts = {path.stem: path.read_text() for path in sorted(folder.glob("*.md"))}
    return [markdown_table(f"Throughput, {name}", text) for name, text in texts.items() if "\n|" in f"\n{text}"]


def markdown_table(title: str, text: str) -> Table:
    """The first table of a Markdown text and the lines around it; right-aligned columns are numbers."""
    lines = text.splitlines()
    piped = [line.strip().strip("|").split("|") for line in lines if line.startswith("|")]
    columns, marks, *rows = [tuple(cell.strip() for cell in line) for line in piped]
    numbers = tuple(mark.endswith(":") and not mark.startswith(":") for mark in marks)
    notes = tuple(line.replace("`", "") for line in lines if line.strip() and not line.startswith("|"))
    return Table(title=title, columns=columns, rows=tuple(rows), numbers=numbers, notes=notes)
