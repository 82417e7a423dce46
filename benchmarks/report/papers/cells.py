"""Each cell of a paper's table: what was measured, what was published, how far apart they are, or why it is empty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cimbench.benchmarks.imported.imported_run import ImportedRun, comparable, load_imported
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.places import cell_folder
from cimbench.benchmarks.records.record import Record, load_records
from cimbench.benchmarks.report.intervals import interval
from cimbench.benchmarks.report.papers.published_numbers import PublishedNumber, find_published, load_published
from cimbench.benchmarks.report.papers.spec import PaperRow, PaperSetting, PaperTable
from cimbench.benchmarks.report.sizes import group_accuracies, mean_areas, size_groups
from cimbench.benchmarks.suite.config import Cell, Suite, find_cell
from cimbench.datasets.arrays import load_arrays
from cimbench.datasets.images.packed_store import INDEX, open_store

CLOSE = 2.0  # half of an interval that can verify a number, in percentage points
LOGGED = {"average_accuracy": "average", "last_accuracy": "last"}  # what an imported log tells of a metric


@dataclass(frozen=True, kw_only=True)
class PaperCell:
    """One cell. values: one a seed, percent or exemplars; reason: why they are empty, "" where they are not.

    records: what the values come from. imported: complete runs of other codes in the same setting, never mixed with
    ours; left_out: their incomplete ones. note: which seeds are left out of the values, and why.
    """

    row: PaperRow
    setting: PaperSetting
    values: tuple[float, ...]
    reason: str
    published: PublishedNumber | None
    records: tuple[Record, ...] = ()
    imported: tuple[ImportedRun, ...] = ()
    left_out: tuple[ImportedRun, ...] = ()
    metric: str = "average_accuracy"
    note: str = ""

    @property
    def imported_values(self) -> tuple[float, ...]:
        """Of the imported runs, in percent; empty for a metric that a log does not tell."""
        if self.setting.size is not None or self.metric not in LOGGED:
            return ()
        return tuple(getattr(run, LOGGED[self.metric]) for run in self.imported)

    @property
    def mean(self) -> float | None:
        """Over seeds; None where nothing was measured."""
        return float(np.mean(self.values)) if self.values else None

    @property
    def half_width(self) -> float | None:
        """Of the 95 % interval; None for fewer than three seeds."""
        found = interval(self.values)
        return None if found is None else (found[1] - found[0]) / 2

    @property
    def gap(self) -> float | None:
        """Measured less published."""
        return None if self.mean is None or self.published is None else self.mean - self.published.value

    @property
    def verified(self) -> str:
        """Whether the published number lies within our interval: yes or no; "open" without both, or where half of the
        interval is more than two points, which would agree with anything.
        """
        if self.gap is None or self.half_width is None:
            return "open"
        if abs(self.gap) > self.half_width:
            return "no"
        return "yes" if self.half_width <= CLOSE else "open"


def paper_cells(table: PaperTable) -> list[PaperCell]:
    """Every cell, rows within settings."""
    numbers, imported = load_published(), load_imported()
    return [_cell(table, row, setting, numbers, imported) for setting in table.settings for row in table.rows]


def _cell(
    table: PaperTable,
    row: PaperRow,
    setting: PaperSetting,
    numbers: Sequence[PublishedNumber],
    imported: Sequence[ImportedRun],
) -> PaperCell:
    published = find_published(
        numbers,
        row.published_names(setting),
        dataset=setting.dataset,
        protocol=setting.protocol,
        phases=setting.phases,
        metric=setting.published_metric or table.published_metric,
        budget=setting.budget,
    )
    records, reason = _measured(table, row, setting)
    values: list[float] = []
    note = reason if records else ""
    if records:
        values, reason = _values(table, row, setting, records)
    ours = find_cell(table.suites[setting.suites[0]], row.method, row.compressor, 0).resolved()
    others = [
        run
        for run in comparable(imported, ours, setting.classes)
        if (run.method, run.compressor, run.head) == (row.method, row.compressor, row.head)
    ]
    return PaperCell(
        row=row,
        setting=setting,
        values=tuple(values),
        reason=reason,
        published=published,
        records=tuple(records),
        imported=tuple(run for run in others if run.complete),
        left_out=tuple(run for run in others if not run.complete),
        metric=setting.metric or table.metric,
        note=note,
    )


def _measured(table: PaperTable, row: PaperRow, setting: PaperSetting) -> tuple[list[Record], str]:
    """The complete records of the first suite that has the cell, or why there are none."""
    for suite in (table.suites[name] for name in setting.suites):
        cells = _cells(suite, row)
        if not cells:
            continue
        records, absent = load_records({cell.folder: cell.resolved() for cell in cells})
        left_out = {name: reason for name, reason in absent.items() if reason != "not run"}
        if records:
            return records, "; ".join(f"{name}: {reason}" for name, reason in left_out.items())
        return [], _why(suite, list(absent.values()))
    return [], f"in no suite of {', '.join(setting.suites)}"


def _cells(suite: Suite, row: PaperRow) -> list[Cell]:
    """A row's cells in a suite: the matrix's seeds, and any other that has been run; none where it is no row of it."""
    named = [cell for cell in suite.cells() if (cell.method, cell.compressor) == (row.method, row.compressor)]
    if not named:
        return []
    there = [path.name for path in named[0].folder.parent.glob("*")]
    seeds = {cell.seed for cell in named} | {int(seed) for seed in there if seed.isdecimal()}
    return [find_cell(suite, row.method, row.compressor, seed) for seed in sorted(seeds)]


def _why(suite: Suite, reasons: Sequence[str]) -> str:
    others = [reason for reason in reasons if reason != "not run"]
    if others:
        return others[0]
    return f"not run, needs {suite.dataset.name}"


def _values(
    table: PaperTable, row: PaperRow, setting: PaperSetting, records: Sequence[Record]
) -> tuple[list[float], str]:
    """One value a record; empty with the reason where the records cannot tell."""
    lacking = [record.cell for record in records if row.head not in record.heads]
    if lacking:
        return [], f"{lacking[0]} has no head {row.head}"
    metric = setting.metric or table.metric
    if setting.size is None:
        if metric == "exemplars_per_class":
            return [_held(record, record.class_names) for record in records], ""
        return [100 * headline(record.counts(row.head))[metric] for record in records], ""
    suite = table.suites[records[0].suite]
    if not (suite.store / INDEX).is_file():
        return [], f"needs the object boxes of {suite.dataset.name}, which is not prepared here"
    store = open_store(suite.store)
    if not len(store.boxes):
        return [], f"{suite.dataset.name} was prepared without object boxes"
    members = size_groups(mean_areas(store))[setting.size]
    if metric == "exemplars_per_class":
        return [_held(record, members) for record in records], ""
    return [_group_accuracy(suite, record, row.head, setting.size, members) for record in records], ""


def _held(record: Record, names: Sequence[str]) -> float:
    """Exemplars a class after the last phase, over some classes."""
    held = dict(zip(record.class_names, record.phases[-1].memory["exemplars"], strict=True))
    return float(np.mean([held[name] for name in names]))


def _group_accuracy(suite: Suite, record: Record, head: str, size: str, members: list[str]) -> float:
    confusion, _ = load_arrays(cell_folder(suite.results, record.cell) / "confusion.npz")
    return group_accuracies(confusion[head], record.class_names, {size: members})[size]
