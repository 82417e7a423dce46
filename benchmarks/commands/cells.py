"""The verbs about cells: run one, list them, track them, take the parameters elsewhere."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.commands.measured import all_measured, measured
from cimbench.benchmarks.commands.progress_bar import CellProgress, bar
from cimbench.benchmarks.records.differences import differences
from cimbench.benchmarks.records.kept_results import kept_records
from cimbench.benchmarks.records.record import Record, load_records
from cimbench.benchmarks.suite.config import Cell, Suite, find_cell
from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import InputError


def run(suite: Suite, arguments: argparse.Namespace) -> str:
    """Run one cell, or go on where it stopped."""
    from cimbench.benchmarks.cell.kept_model import ModelKeeper, model_of, model_path
    from cimbench.benchmarks.cell.run import run_cell

    cell = find_cell(suite, arguments.method, arguments.compressor, arguments.seed)
    progress, tracking = CellProgress(cell.title), trackers(cell, arguments.no_tracking)
    keeper = [ModelKeeper(cell.checkpoint)] if arguments.keep_model else []
    try:
        record = run_cell(cell, Listeners(progress, *keeper, *tracking), reuse=True)
    finally:
        progress.close()
        for listener in tracking:
            listener.close()
    if keeper and model_of(record) is None:
        raise InputError(
            f"--keep-model: {cell.folder} was measured already and its model was not kept; to learn it again, move the "
            "folder away first"
        )
    seconds = sum(sum(phase.seconds.values()) for phase in record.phases)
    if not progress.learnt:
        when = record.provenance["started"][:19]
        return f"{cell.folder}: measured already ({when}), with the same parameters and sources. Next: cimbench report"
    kept = f" Its model is {model_path(record)}." if keeper else ""
    return f"{cell.folder}: {len(record.phases)} phases in {seconds:.0f} s.{kept} Next: cimbench report"


def trackers(cell: Cell, off: bool) -> list[Any]:
    """The tracker, unless it is switched off or MLflow is not installed here (the cell can be imported later)."""
    if off:
        return []
    try:
        from cimbench.benchmarks.tracking.live import LiveTracking
        from cimbench.benchmarks.tracking.server import configure
    except ModuleNotFoundError as error:
        print(f"not tracked: {error.name} is not installed; later: cimbench track", file=sys.stderr)
        return []
    configure()
    group = {
        other.folder: other.resolved()
        for other in cell.suite.cells()
        if (other.method, other.compressor) == (cell.method, cell.compressor)
    }

    def complete() -> list[Record]:
        records, absent = load_records(group)
        return [] if absent else records

    return [LiveTracking(cell.folder, complete if cell.folder in group else None)]


def track(suite: Suite, arguments: argparse.Namespace) -> str:
    """Import cells into MLflow; runs that are there already are left alone."""
    from cimbench.benchmarks.tracking.imports import import_records
    from cimbench.benchmarks.tracking.server import address

    records, absent = all_measured(suite.results.parent) if arguments.all else measured(suite)
    with bar("importing") as progress:
        import_records(suite.results.parent, records, progress)
    left = "".join(f"\nnot imported: {cell}: {reason}" for cell, reason in absent.items())
    what = f"of all suites in {suite.results.parent}" if arguments.all else f"of suite {suite.suite}"
    return f"{len(records)} cells {what} are in {address()}{left}. Next: mlflow ui"


def cells(suite: Suite, _arguments: argparse.Namespace) -> str:
    """List the suite's cells, which are done, and what is kept of their other configurations."""
    expected = {cell.folder: cell.resolved() for cell in suite.cells()}
    records, absent = load_records(expected)
    for folder, config in expected.items():
        print(f"{folder.name}  {absent.get(folder.name, 'done')}")
        for place, record in kept_records(folder).items():
            print(f"  kept: {place}  {differences(record.config, config) or 'same parameters, other data or sources'}")
    return f"{len(records)} of {len(expected)} cells of suite {suite.suite} are done. Next: dvc repro"


def export(suite: Suite, arguments: argparse.Namespace) -> str:
    """Write the parameters as JSON, for a machine without a YAML reader."""
    write_json(Path(arguments.file), asdict(suite))
    return f"{arguments.file}: the parameters. There: cimbench --params {arguments.file} run ..."


def arguments_of_run(parser: argparse.ArgumentParser) -> None:
    """Which cell."""
    parser.add_argument("--method", required=True, help="a method of the registry, for instance replay")
    parser.add_argument("--compressor", required=True, help="a compressor of the registry, for instance none")
    parser.add_argument("--keep-model", action="store_true", help="keep the last phase's model, and log it to MLflow")
    parser.add_argument("--no-tracking", action="store_true", help="do not log to MLflow now")
    parser.add_argument("--seed", type=int, required=True, help="seed of class order and training")


def arguments_of_track(parser: argparse.ArgumentParser) -> None:
    """Whether all."""
    parser.add_argument(
        "--all", action="store_true", help="the cells of every suite in results/, as they were measured"
    )


def arguments_of_export(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("file", help="the JSON file to write")
