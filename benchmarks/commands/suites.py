"""The verbs about a whole suite: compose it, plan it, run it or a part of it."""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.commands import cells as of_cells
from cimbench.benchmarks.commands import data
from cimbench.benchmarks.commands.errors import FailedCellsError
from cimbench.benchmarks.commands.progress_bar import CellProgress
from cimbench.benchmarks.planning.deadline import Deadline, LimitReachedError
from cimbench.benchmarks.planning.plan import make_plan, ordered_cells, plan_rows, state_of, totals
from cimbench.benchmarks.suite.config import Cell, Suite
from cimbench.benchmarks.suite.parameter_file import check_ending, write_parameters
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError
from cimbench.methods.errors import NonFiniteLossError


def compose(_suite: None, arguments: argparse.Namespace) -> str:
    """Write a suite's parameters to a file, without touching params.yaml."""
    from cimbench.benchmarks.suite.compose import compose_parameters

    path = Path(arguments.file)
    check_ending(path)
    parameters = compose_parameters(arguments.suite, arguments.overrides)
    build(Suite, parameters, f"conf/suite/{arguments.suite}.yaml")
    write_parameters(parameters, path)
    return f"{path}: suite {arguments.suite}. Next: cimbench --params {path} plan"


def plan(suite: Suite, arguments: argparse.Namespace) -> str:
    """Say what a suite has to run, and how long that takes; nothing is run."""
    planned = make_plan(suite, _chosen(suite, arguments))
    print(_table(plan_rows(planned)))
    print("Image-epochs: images learnt times epochs; exemplars are counted as if not compressed.")
    return f"suite {suite.suite}: {totals(planned)}"


def _table(rows: Sequence[dict[str, str]]) -> str:
    """The rows with their names; aligned where tabulate is installed, else with tabs between."""
    names = list(rows[0])
    lines = [list(row.values()) for row in rows]
    try:
        from tabulate import tabulate
    except ModuleNotFoundError:
        return "\n".join("\t".join(line) for line in [names, *lines])
    numbers = {"seed", "image-epochs", "first phase", "left", "time"}
    alignment = ["right" if name in numbers else "left" for name in names]
    return tabulate(lines, names, "simple", colalign=alignment, disable_numparse=True)


def run_suite(suite: Suite, arguments: argparse.Namespace) -> str:
    """Run the suite's cells that are not done, seed by seed; data are fetched and prepared where missing."""
    chosen = _chosen(suite, arguments)
    deadline = Deadline(arguments.limit_seconds)
    if data.bring_data(suite, list(dict.fromkeys(cell.seed for cell in chosen if not _done(cell)))):
        deadline.gain()
    failed: dict[str, str] = {}
    in_time = True
    for cell in chosen:
        if _done(cell):
            continue
        in_time = not deadline.reached
        if not in_time:
            break
        try:
            _run(cell, deadline, arguments.no_tracking)
        except LimitReachedError:
            in_time = False
            break
        except Exception as error:  # the others go on; each is named at the end
            failed[cell.name] = _told(cell, error)
    return _ended(suite, chosen, failed, in_time)


def _chosen(suite: Suite, arguments: argparse.Namespace) -> list[Cell]:
    return ordered_cells(suite, arguments.method, arguments.compressor, arguments.seed)


def _done(cell: Cell) -> bool:
    return state_of(cell)[0].startswith("done")


def _run(cell: Cell, deadline: Deadline, no_tracking: bool) -> None:
    """One cell, as `cimbench run`; the deadline is told last, so that all others know of what is done."""
    from cimbench.benchmarks.cell.run import run_cell

    progress, tracking = CellProgress(cell.title), of_cells.trackers(cell, no_tracking)
    deadline.watch(cell)
    try:
        run_cell(cell, Listeners(progress, *tracking, deadline), reuse=True)
    finally:
        progress.close()
        for listener in tracking:
            listener.close()


def _told(cell: Cell, error: Exception) -> str:
    """The error in one line, printed at once; with its traceback where it is none of the input's."""
    expected = isinstance(error, InputError | NonFiniteLossError)
    words = str(error) if expected else f"{type(error).__name__}: {error}"
    print(f"{cell.name}: failed: {words}", file=sys.stderr, flush=True)
    if not expected:
        traceback.print_exception(error)
    return words


def _ended(suite: Suite, chosen: Sequence[Cell], failed: dict[str, str], in_time: bool) -> str:
    """How it ended; FailedCellsError where a cell failed."""
    left = [cell.name for cell in chosen if not _done(cell) and cell.name not in failed]
    words = f"suite {suite.suite}: {len(chosen) - len(left) - len(failed)} of {len(chosen)} cells are done"
    if not in_time:
        words += f". The time is up: the same command goes on. Left: {', '.join(left)}"
    if failed:
        raise FailedCellsError("".join([words, *(f"\nfailed: {name}: {error}" for name, error in failed.items())]))
    return words if left else f"{words}. Next: cimbench report"


def arguments_of_compose(parser: argparse.ArgumentParser) -> None:
    """Which suite, and where to."""
    parser.add_argument("suite", help="a file of conf/suite/ without its ending, for instance tiny")
    parser.add_argument("file", help="the .yaml or .json file to write")
    parser.add_argument("overrides", nargs="*", help="other values, for instance training.epochs=3")


def arguments_of_plan(parser: argparse.ArgumentParser) -> None:
    """Which cells; all without."""
    parser.add_argument("--method", nargs="+", default=[], help="these methods alone")
    parser.add_argument("--compressor", nargs="+", default=[], help="these compressors alone")
    parser.add_argument("--seed", nargs="+", type=int, default=[], help="these seeds alone")


def arguments_of_run_suite(parser: argparse.ArgumentParser) -> None:
    """Which cells, and how long."""
    arguments_of_plan(parser)
    parser.add_argument("--limit-seconds", type=float, help="stop at the last checkpoint within this time")
    parser.add_argument("--no-tracking", action="store_true", help="do not log to MLflow now")
