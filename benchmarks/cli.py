"""The verbs, from fetch to pictures (`cimbench --help`). params.yaml says what is done."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from cimbench.benchmarks.commands import cells, check, data, imports, papers, reports
from cimbench.benchmarks.commands import suites as runner
from cimbench.benchmarks.suite.config import PARAMETERS_FILE, Suite, load_suite
from cimbench.datasets.errors import InputError
from cimbench.methods.errors import NonFiniteLossError

Verb = Callable[[Suite, argparse.Namespace], str] | Callable[[Suite | None, argparse.Namespace], str]

# in the order of their use; each says how it ended, and what comes next
VERBS: tuple[tuple[Verb, Callable[[argparse.ArgumentParser], None] | None], ...] = (
    (runner.compose, runner.arguments_of_compose),
    (runner.plan, runner.arguments_of_plan),
    (runner.run_suite, runner.arguments_of_run_suite),
    (data.fetch, None),
    (data.prepare, None),
    (data.verify, None),
    (data.split, data.arguments_of_split),
    (cells.run, cells.arguments_of_run),
    (reports.report, None),
    (reports.show, None),
    (cells.track, cells.arguments_of_track),
    (cells.cells, None),
    (reports.units, reports.arguments_of_units),
    (papers.papers, papers.arguments_of_papers),
    (papers.reproducibility, None),
    (cells.export, cells.arguments_of_export),
    (imports.import_log, imports.arguments_of_import_log),
    (reports.pictures, reports.arguments_of_pictures),
    (check.check, check.arguments_of_check),
)
WITHOUT_SUITE = {check.check}  # they read no parameter file


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="cimbench", description=__doc__)
    top.add_argument("--params", type=Path, default=PARAMETERS_FILE, help="parameter file (default: params.yaml)")
    verbs = top.add_subparsers(dest="verb", required=True, metavar="verb")
    for verb, add_arguments in VERBS:
        sub = verbs.add_parser(verb.__name__.replace("_", "-"), help=verb.__doc__, description=verb.__doc__)
        sub.set_defaults(action=verb)
        if add_arguments is not None:
            add_arguments(sub)
    return top


def prepare_process() -> None:
    """Global switches, set once at the entry: deterministic kernels; no time spent on filling fresh memory."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    import torch

    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the console script; input errors are printed without a traceback and end with status 2."""
    parsed = parser().parse_args(arguments)
    prepare_process()
    try:
        suite = None if parsed.action in WITHOUT_SUITE else load_suite(parsed.params)
        print(parsed.action(suite, parsed), flush=True)
    except BrokenPipeError:  # the reader (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(f"\ncimbench {parsed.verb}: stopped; the same command goes on from there", file=sys.stderr)
        return 130
    except (InputError, NonFiniteLossError) as error:
        print(f"cimbench {parsed.verb}: {error}", file=sys.stderr)
        return 2
    except (runner.FailedCellsError, check.FailedRequirementsError) as error:
        print(f"cimbench {parsed.verb}: {error}", file=sys.stderr)
        return 1
    except json.JSONDecodeError as error:
        print(f"cimbench {parsed.verb}: {parsed.params}: is not valid JSON: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
