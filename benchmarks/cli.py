"""The command line: its verbs, and what each ends with. A verb's module is imported when the verb is asked for."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

from cimbench.datasets.errors import InputError, unknown_name

PARAMETERS_FILE = Path("params.yaml")
_COMMANDS = "cimbench.benchmarks.commands"


class Verb(NamedTuple):
    """module: of benchmarks/commands that has the verb's function, and arguments_of_VERB where it takes some.

    needs_suite: whether the parameter file is read first. function: in the module, where it is not the verb's name.
    learns: whether networks are trained, for which the process is prepared.
    """

    module: str
    help: str
    needs_suite: bool = True
    function: str = ""
    learns: bool = False


# in the order of their use; each says how it ended, and what comes next
VERBS = {
    "list": Verb("listing", "List the suites, methods, compressors or sources that can be named", False, "list_names"),
    "compose": Verb("suites", "Write a suite's parameters to a file", False),
    "repro": Verb("repro", "Run the suite by DVC, print its table, compare it with the committed one: `make repro`"),
    "plan": Verb("suites", "Say what a suite has to run and how long that takes; run nothing"),
    "run-suite": Verb("suites", "Run the cells of the suite that are not done, without DVC", learns=True),
    "fetch": Verb("data", "Download and verify the data set's archives"),
    "prepare": Verb("data", "Decode and pack the images once"),
    "verify": Verb("data", "Compare every byte of the prepared images with their digest"),
    "split": Verb("data", "Assign images to phases (training, validation, test)"),
    "run": Verb("cells", "Run one cell (method, compressor, seed), or resume it", learns=True),
    "report": Verb("reports", "Write tables, figures and report.html from the records"),
    "show": Verb("reports", "Print the suite's table, and where everything is"),
    "compare": Verb("compare", "Did I reproduce it? Your numbers beside the committed ones"),
    "track": Verb("cells", "Log finished cells to MLflow; runs that are there are left alone"),
    "cells": Verb("cells", "List the suite's cells, and which are done"),
    "units": Verb("reports", "Compare suites that differ in the unit of the budget", False),
    "papers": Verb("papers", "Write the papers' tables, published beside measured numbers", False),
    "reproducibility": Verb("papers", "Write REPRODUCIBILITY.md", False),
    "export": Verb("cells", "Write the parameters as JSON, for a machine without a YAML reader"),
    "import-log": Verb("imports", "Import runs from text logs of PyCIL, FOSTER or CIM-CIL", False),
    "doctor": Verb("doctor", "Say what this environment is and what is wrong with it, with the remedy", False),
    "check": Verb("check", "Check a compressor, method or source of your own against the contract", False, learns=True),
    "gpu": Verb("gpu", "Check a GPU, test and measure on it, learn a suite's first cells; without a network", False),
    "pictures": Verb("reports", "Draw what each compressor keeps of two photographs", learns=True),
}


def _version() -> str:
    try:
        return version("cim-bench")
    except PackageNotFoundError:  # run from build/links, without an installation
        return "(not installed)"


def _top_parser() -> argparse.ArgumentParser:
    width = max(map(len, VERBS))
    verbs = "\n".join(f"  {name:<{width}}  {verb.help}" for name, verb in VERBS.items())
    top = argparse.ArgumentParser(
        prog="cimbench",
        description="Benchmark of exemplar compression in class-incremental learning.",
        epilog=f"verbs:\n{verbs}\n\n`cimbench VERB --help` shows the options of a verb.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"cim-bench {_version()}")
    top.add_argument("--params", type=Path, default=PARAMETERS_FILE, help="parameter file (default: params.yaml)")
    top.add_argument("verb", help="what to do, see below")
    top.add_argument("rest", nargs=argparse.REMAINDER, metavar="...", help="options of the verb")
    return top


def parse(words: Sequence[str] | None) -> argparse.Namespace:
    """The arguments, with the verb's `action`; InputError for an unknown verb, with the nearest one."""
    top = _top_parser().parse_args(words)
    if top.verb not in VERBS:
        raise unknown_name("verb", top.verb, VERBS)
    verb = VERBS[top.verb]
    name = verb.function or top.verb.replace("-", "_")
    module: ModuleType = import_module(f"{_COMMANDS}.{verb.module}")
    own = argparse.ArgumentParser(prog=f"cimbench {top.verb}", description=f"{verb.help}.")
    add_arguments: Callable[[argparse.ArgumentParser], None] | None = getattr(module, f"arguments_of_{name}", None)
    if add_arguments is not None:
        add_arguments(own)
    parsed = own.parse_args(top.rest)
    parsed.params, parsed.verb, parsed.action = top.params, top.verb, getattr(module, name)
    return parsed


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry of the console script; input errors are printed without a traceback and end with status 2."""
    verb = "cimbench"
    try:
        parsed = parse(arguments)
        verb = f"cimbench {parsed.verb}"
        print(parsed.action(_suite(parsed), parsed), flush=True)
    except BrokenPipeError:  # the reader (head, say) has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except KeyboardInterrupt:
        print(f"\n{verb}: stopped; the same command goes on from there", file=sys.stderr)
        return 130
    except Exception as error:
        status = _status(error)
        if status is None:
            raise
        print(f"{verb}: {error}", file=sys.stderr)
        return status
    return 0


def _suite(parsed: argparse.Namespace) -> Any:
    """The suite of the parameter file, where the verb needs one."""
    if VERBS[parsed.verb].learns:
        from cimbench.benchmarks.cell.process import prepare_process

        prepare_process()
    if not VERBS[parsed.verb].needs_suite:
        return None
    from cimbench.benchmarks.suite.config import load_suite

    return load_suite(parsed.params)


def _status(error: Exception) -> int | None:
    """The status that an error ends with when its words say it all; None for a defect of the program."""
    from cimbench.benchmarks.commands.errors import FailedCellsError, FailedRequirementsError
    from cimbench.methods.errors import NonFiniteLossError

    if isinstance(error, FailedCellsError | FailedRequirementsError):
        return 1
    return 2 if isinstance(error, InputError | NonFiniteLossError) else None


if __name__ == "__main__":
    sys.exit(main())
