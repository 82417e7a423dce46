"""The verbs about cells: run one, list them, track them, take the parameters elsewhere."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.commands.errors import FailedCellsError
from cimbench.benchmarks.commands.measured import all_measured, measured
from cimbench.benchmarks.commands.progress_bar import Bars, CellProgress, bar
from cimbench.benchmarks.commands.side_by_side import Result, run_cells, told
from cimbench.benchmarks.planning.capacity import jobs_for
from cimbench.benchmarks.records.differences import differences
from cimbench.benchmarks.records.kept_results import kept_records
from cimbench.benchmarks.records.places import name_of
from cimbench.benchmarks.records.record import Record, load_records
from cimbench.benchmarks.suite.config import Cell, Suite, find_cell
from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import InputError


class CellShown:
    """A listener that shows a cell's progress and logs it to MLflow, until it is closed."""

    def __init__(self, cell: Cell, off: bool, among: Bars) -> None:
        """off: no tracking. among: the bars of the cells beside it."""
        self._parts = [CellProgress(cell.title, among), *trackers(cell, off)]
        listeners = Listeners(*self._parts)
        self.started, self.epoch, self.batch = listeners.started, listeners.epoch, listeners.batch
        self.phase = listeners.phase

    def close(self) -> None:
        """The cell ended, or is cut off."""
        for part in self._parts:
            part.close()


def run(suite: Suite, arguments: argparse.Namespace) -> str:
    """Run a method with a compressor, all seeds beside each other, or go on where they stopped."""
    from cimbench.benchmarks.cell.kept_model import ModelKeeper

    seeds = arguments.seed or suite.matrix.seeds
    cells = [find_cell(suite, arguments.method, arguments.compressor, seed) for seed in dict.fromkeys(seeds)]
    jobs, bars = prepared_jobs(suite, cells, arguments), Bars()

    def keepers(cell: Cell) -> list[ModelKeeper]:
        return [ModelKeeper(cell.checkpoint)] if arguments.keep_model else []

    results = []
    for result in run_cells(cells, jobs, lambda cell: CellShown(cell, arguments.no_tracking, bars), keepers):
        if result.error and (result.trace or len(cells) > 1):
            told(result)
        results.append(result)
    return _ended(cells, results, arguments.keep_model)


def prepared_jobs(suite: Suite, cells: Sequence[Cell], arguments: argparse.Namespace) -> int:
    """How many cells are learnt beside each other; each is learnt on --threads threads, from now on.

    One thread a cell gives the same numbers beside others as alone, and does the most work a core.
    """
    import torch

    if arguments.threads < 1:
        raise InputError(f"--threads is {arguments.threads}; give 1 or more")
    torch.set_num_threads(arguments.threads)
    return jobs_for(suite, cells, arguments.jobs)


def _ended(cells: Sequence[Cell], results: Sequence[Result], keep_model: bool) -> str:
    """What was learnt, in a line; FailedCellsError where a cell failed."""
    from cimbench.benchmarks.cell.kept_model import model_of, model_path

    folder = cells[0].folder if len(cells) == 1 else cells[0].folder.parent
    failed = [result for result in results if result.error]
    if failed and len(cells) == 1:
        raise (FailedCellsError if failed[0].trace else InputError)(failed[0].error)
    if failed:
        names = "".join(f"\nfailed: {result.cell.name}: {result.error}" for result in failed)
        raise FailedCellsError(f"{folder}: {len(results) - len(failed)} of {len(cells)} seeds are done{names}")
    records = [result.record for result in results if result.record is not None]
    if keep_model and (without := [record.cell for record in records if model_of(record) is None]):
        raise InputError(
            f"--keep-model: {folder}: {', '.join(without)} was measured already and its model was not kept; to learn "
            "it again, move the folder away first"
        )
    learnt = [result.record for result in results if result.learnt and result.record is not None]
    seconds = sum(sum(phase.seconds.values()) for record in learnt for phase in record.phases)
    parts = [f"{_cells(len(learnt))} learnt in {seconds:.0f} s of computing"] if learnt else []
    if len(learnt) < len(records):
        parts.append(f"{_cells(len(records) - len(learnt))} measured already, with the same parameters and sources")
    kept = f" Models: {', '.join(str(model_path(record)) for record in records)}." if keep_model else ""
    return f"{folder}: {', '.join(parts)}.{kept} Next: cimbench report"


def _cells(count: int) -> str:
    return f"{count} cell" if count == 1 else f"{count} cells"


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
        print(f"{name_of(folder)}  {absent.get(name_of(folder), 'done')}")
        for place, record in kept_records(folder).items():
            print(f"  kept: {place}  {differences(record.config, config) or 'same parameters, other data or sources'}")
    return f"{len(records)} of {len(expected)} cells of suite {suite.suite} are done. Next: dvc repro"


def export(suite: Suite, arguments: argparse.Namespace) -> str:
    """Write the parameters as JSON, for a machine without a YAML reader."""
    write_json(Path(arguments.file), asdict(suite))
    return f"{arguments.file}: the parameters. There: cimbench --params {arguments.file} run ..."


def arguments_of_run(parser: argparse.ArgumentParser) -> None:
    """Which cells."""
    parser.add_argument("--method", required=True, help="a method of the registry, for instance replay")
    parser.add_argument("--compressor", required=True, help="a compressor of the registry, for instance none")
    parser.add_argument("--keep-model", action="store_true", help="keep the last phase's model, and log it to MLflow")
    parser.add_argument("--no-tracking", action="store_true", help="do not log to MLflow now")
    parser.add_argument("--seed", nargs="+", type=int, default=[], help="these seeds; without, all of the matrix")
    arguments_of_jobs(parser)


def arguments_of_jobs(parser: argparse.ArgumentParser) -> None:
    """How much is learnt at a time."""
    parser.add_argument("--jobs", type=int, help="cells beside each other (default: one a core, or one on a GPU)")
    parser.add_argument("--threads", type=int, default=1, help="threads of a cell on a CPU (default: 1)")


def arguments_of_track(parser: argparse.ArgumentParser) -> None:
    """Whether all."""
    parser.add_argument(
        "--all", action="store_true", help="the cells of every suite in results/, as they were measured"
    )


def arguments_of_export(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("file", help="the JSON file to write")
