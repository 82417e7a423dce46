"""The verb that checks a method, a compressor or a source, of the registry or of one's own."""

from __future__ import annotations

import argparse
import json
from typing import Any

from cimbench.benchmarks.commands.errors import FailedRequirementsError
from cimbench.datasets.errors import InputError


def check(_suite: None, arguments: argparse.Namespace) -> str:
    """Check a method, compressor or source: what it must satisfy, one line a requirement."""
    import torch

    from cimbench.benchmarks.contract.requirements import outcomes, subject

    torch.set_num_threads(1)  # fastest for networks this small
    try:
        checked = subject(arguments.name, _given(arguments.parameters))
    except InputError as error:
        raise FailedRequirementsError(str(error)) from error
    failed = count = 0
    for outcome in outcomes(checked):
        count += 1
        failed += outcome.reason is not None
        line = f"passed  {outcome.requirement}"
        print(line if outcome.reason is None else f"FAILED  {outcome.requirement}: {outcome.reason}", flush=True)
    if failed:
        raise FailedRequirementsError(f"{checked.kind} {checked.name}: {failed} of {count} requirements are not met")
    return f"{checked.kind} {checked.name}: all {count} requirements are met. Next: name it in a suite"


def _given(pairs: list[str]) -> dict[str, Any]:
    """ "ratio=4" -> {"ratio": 4}: JSON values, or else text."""
    given: dict[str, Any] = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals or not name:
            raise InputError(f"{pair}: is no parameter; write name=value, for instance ratio=4")
        try:
            given[name] = json.loads(text)
        except json.JSONDecodeError:
            given[name] = text
    return given


def arguments_of_check(parser: argparse.ArgumentParser) -> None:
    """What, and its parameters."""
    parser.add_argument("name", help="a name of the registry, or module:Class of an installed package")
    parser.add_argument("parameters", nargs="*", help="parameters without a default, for instance images=6")
