"""Rows of a suite's comparison table that come from other code bases' logs, where they measured the same task."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev

import pandas as pd

from cimbench.benchmarks.imported.imported_run import ImportedRun

_EMPTY = "-"


def with_imported(table: pd.DataFrame, runs: Sequence[ImportedRun]) -> pd.DataFrame:
    """The table for people with a row for each imported method, compressor and head; incomplete runs are in none."""
    rows = []
    for (_, method, compressor, head), members in _groups(runs).items():
        told = {
            "method": f"{method} (imported)",
            "compressor": compressor,
            "head": head,
            "average accuracy (%)": _spread([run.average for run in members]),
            "last accuracy (%)": _spread([run.last for run in members]),
            "budget": _budget(members[0]),
        }
        rows.append({name: told.get(name, _EMPTY) for name in table.columns})
    return pd.concat([table, pd.DataFrame(rows)], ignore_index=True) if rows else table


def imported_notes(runs: Sequence[ImportedRun]) -> list[str]:
    """Where each imported row comes from, and which runs are left out."""
    notes = []
    for (source, method, compressor, head), members in _groups(runs).items():
        logs = ", ".join(f"{run.log_name} (seed {run.seed})" for run in members)
        notes.append(
            f"{method} (imported) + {compressor}, {head}: a run of {source}, read from {logs}; not measured here."
        )
    notes += [
        f"{run.method} (imported) + {run.compressor}, {run.head}: {run.log_name} (seed {run.seed}) stops after "
        f"{len(run.curve)} of {run.evaluations} evaluations and is in no row."
        for run in runs
        if not run.complete
    ]
    return notes


def _groups(runs: Sequence[ImportedRun]) -> dict[tuple[str, str, str, str], list[ImportedRun]]:
    """(source, method, compressor, head) -> its complete runs."""
    groups: dict[tuple[str, str, str, str], list[ImportedRun]] = {}
    for run in runs:
        if run.complete:
            groups.setdefault((run.source, run.method, run.compressor, run.head), []).append(run)
    return groups


def _spread(values: Sequence[float]) -> str:
    """Mean and sample standard deviation over runs, in percent."""
    return f"{fmean(values):.1f}" + (f" ± {stdev(values):.1f}" if len(values) > 1 else "")


def _budget(run: ImportedRun) -> str:
    each, total = run.exemplars_per_class, run.exemplars_total
    return f"{total} images" if each is None else f"{each} images a class"
