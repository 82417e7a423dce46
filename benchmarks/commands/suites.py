"""The verbs about a whole suite: compose it, plan it, run it or a part of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from cimbench.benchmarks.commands import cells as of_cells
from cimbench.benchmarks.commands import data
from cimbench.benchmarks.commands.errors import FailedCellsError
from cimbench.benchmarks.commands.progress_bar import Bars
from cimbench.benchmarks.commands.side_by_side import run_cells, told
from cimbench.benchmarks.planning.deadline import Deadline
from cimbench.benchmarks.planning.plan import make_plan, ordered_cells, plan_rows, state_of, totals
from cimbench.benchmarks.suite.config import Cell, Suite
from cimbench.benchmarks.suite.parameter_file import check_ending, write_parameters
from cimbench.benchmarks.suite.parameters import build


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
    chosen, deadline = _chosen(suite, arguments), Deadline(arguments.limit_seconds)
    if data.bring_data(suite, list(dict.fromkeys(cell.seed for cell in chosen if not _done(cell)))):
        deadline.gain()
    left, bars, failed, in_time = [cell for cell in chosen if not _done(cell)], Bars(), dict[str, str](), True
    jobs = of_cells.prepared_jobs(suite, left, arguments)

    def watched(cell: Cell) -> list[Deadline]:
        """The deadline is told last, so that all others know of what is done."""
        deadline.watch(cell)
        return [deadline]

    def may_begin() -> bool:
        nonlocal in_time
        in_time = in_time and not deadline.reached
        return in_time

    shown = partial(of_cells.CellShown, off=arguments.no_tracking, among=bars)
    for result in run_cells(left, jobs, shown, watched, may_begin):
        if result.error:  # the others go on; each is named at the end
            failed[result.cell.name] = told(result)
        in_time = in_time and not result.stopped
        deadline.gain()
    return _ended(suite, chosen, failed, in_time)


def _chosen(suite: Suite, arguments: argparse.Namespace) -> list[Cell]:
    return ordered_cells(suite, arguments.method, arguments.compressor, arguments.seed)


def _done(cell: Cell) -> bool:
    return state_of(cell)[0].startswith("done")


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
    of_cells.arguments_of_jobs(parser)
