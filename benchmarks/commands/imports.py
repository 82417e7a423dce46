"""The verb that brings in runs of other code bases: import-log."""

from __future__ import annotations

import argparse
from pathlib import Path

from cimbench.benchmarks.imported.imported_run import FOLDER, SOURCES, ImportedRun, save_imported
from cimbench.benchmarks.imported.log_runs import Told, imported_runs
from cimbench.datasets.stream.split import PROTOCOLS

_TOLD = ("source", "method", "compressor", "dataset", "protocol", "phases", "seed")


def import_log(_suite: None, arguments: argparse.Namespace) -> str:
    """Import runs from text logs of PyCIL, FOSTER or CIM-CIL; what is there already is left alone."""
    told = Told(**{name: getattr(arguments, name) for name in _TOLD})
    runs = [
        run for file in arguments.files for run in imported_runs(Path(file), told)
    ]  # all are read before any is kept
    new = [run for run in runs if save_imported(run) is not None]
    for run in runs:
        print(_words(run) + ("" if run in new else " (there already)"))
    return f"{len(new)} of {len(runs)} imported into {FOLDER}. Next: cimbench report"


def _words(run: ImportedRun) -> str:
    """The run in a line."""
    where = f"{run.log_name}: {run.source}, {run.method} + {run.compressor} ({run.head}), seed {run.seed}"
    task = f"{run.dataset} {run.protocol.upper()} {run.phases}"
    if not run.complete:
        return f"{where}, {task}: incomplete, {len(run.curve)} of {run.evaluations} evaluations; no average"
    return f"{where}, {task}: average {run.average:.2f} %, last {run.last:.2f} %"


def arguments_of_import_log(parser: argparse.ArgumentParser) -> None:
    """Which logs, and what they do not say themselves."""
    parser.add_argument("files", nargs="+", metavar="FILE", help="a log, of one run or of several")
    parser.add_argument("--dataset", help="its name here, for instance imagenet100-first (default: as the log says)")
    parser.add_argument("--protocol", choices=PROTOCOLS, help="where the log does not tell")
    parser.add_argument("--phases", type=int, help="of the protocol, where the log does not tell")
    parser.add_argument("--method", help="where the log does not tell")
    parser.add_argument("--compressor", help="where the log does not tell")
    parser.add_argument("--seed", type=int, help="where the log does not tell")
    parser.add_argument("--source", choices=SOURCES, help="whose log it is, where it does not tell")
