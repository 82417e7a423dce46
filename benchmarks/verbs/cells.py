"""The verbs about cells: run one, list them, track them, take the parameters elsewhere."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimbench.benchmarks.config import Cell, Suite, find_cell
from cimbench.benchmarks.progress import CellProgress, Listeners, bar
from cimbench.benchmarks.record import load_records
from cimbench.benchmarks.verbs.measured import measured
from cimbench.datasets.arrays import write_json


def run(suite: Suite, arguments: argparse.Namespace) -> str:
    """Run one cell, or go on where it stopped."""
    from cimbench.benchmarks.run import run_cell

    cell = find_cell(suite, arguments.method, arguments.compressor, arguments.seed)
    progress = CellProgress(cell.title)
    try:
        record = run_cell(cell, Listeners(progress, *_tracking(cell, arguments.no_tracking)))
    finally:
        progress.close()
    seconds = sum(sum(phase.seconds.values()) for phase in record.phases)
    return f"{cell.folder}: {len(record.phases)} phases in {seconds:.0f} s. Next: cimbench report"


def _tracking(cell: Cell, off: bool) -> list[Any]:
    """The tracker, unless it is switched off or MLflow is not installed here (the cell can be imported later)."""
    if off:
        return []
    try:
        from cimbench.benchmarks.tracking import Tracker, configure_logging
    except ModuleNotFoundError as error:
        print(f"not tracked: {error.name} is not installed; later: cimbench track", file=sys.stderr)
        return []
    configure_logging()
    return [Tracker(cell.folder)]


def track(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Import the suite's cells into MLflow; runs that are there already are left alone."""
    from cimbench.benchmarks.tracking import Tracker, configure_logging, tracking_uri

    configure_logging()
    records, absent = measured(suite)
    with bar(f"importing {suite.suite}") as progress:
        for number, record in enumerate(records):
            Tracker(suite.results / "cells" / record.cell).log(record)
            progress(number + 1, len(records))
    left = "".join(f"\nnot imported: {cell}: {reason}" for cell, reason in absent.items())
    return f"{len(records)} cells of suite {suite.suite} are in {tracking_uri()}{left}. Next: mlflow ui"


def cells(suite: Suite, _arguments: argparse.Namespace) -> str:
    """List the suite's cells and which are done."""
    expected = {cell.folder: cell.resolved() for cell in suite.cells()}
    records, absent = load_records(expected)
    for folder in expected:
        print(f"{folder.name}  {absent.get(folder.name, 'done')}")
    return f"{len(records)} of {len(expected)} cells of suite {suite.suite} are done. Next: dvc repro"


def export(suite: Suite, arguments: argparse.Namespace) -> str:
    """Write the parameters as JSON, for a machine without a YAML reader."""
    write_json(Path(arguments.file), asdict(suite))
    return f"{arguments.file}: the parameters. There: cimbench --params {arguments.file} run ..."


def arguments_of_run(parser: argparse.ArgumentParser) -> None:
    """Which cell."""
    parser.add_argument("--method", required=True, help="a method of the registry, for instance replay")
    parser.add_argument("--compressor", required=True, help="a compressor of the registry, for instance none")
    parser.add_argument("--no-tracking", action="store_true", help="do not log to MLflow now")
    parser.add_argument("--seed", type=int, required=True, help="seed of class order and training")


def arguments_of_export(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("file", help="the JSON file to write")
