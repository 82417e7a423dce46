"""The verb for a machine with a GPU: check it, test on it, measure on it, learn the first cells; without a network."""

from __future__ import annotations

import argparse
import math
import sys
import time
from pathlib import Path
from typing import Any

from cimbench.benchmarks.gpu.environment import facts, why_no_gpu
from cimbench.benchmarks.gpu.steps import LOGS, STEPS, Step, outcome, run_step, steps
from cimbench.benchmarks.gpu.summary import PAGE, write_summary
from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import InputError

_LEAST = 20.0  # seconds for which no step is begun


def gpu(_suite: None, arguments: argparse.Namespace) -> str:
    """Run the steps that are left, within the time; a page with all outcomes last."""
    import torch

    from cimbench.benchmarks.records.provenance import surroundings

    if not 0 < arguments.limit_seconds < math.inf:
        raise InputError(f"--limit-seconds is {arguments.limit_seconds:g}; give more than 0")
    begun, suite = time.monotonic(), Path(arguments.suite)
    if not suite.is_file():
        raise InputError(f"{suite}: is not there; name a parameter file, see cimbench compose")
    wanted = [step for step in steps(suite, arguments.method, arguments.compressor) if step.name in arguments.steps]
    known, reason = facts(), why_no_gpu()
    for name, value in known.items():
        print(f"{name + ':':<14}{value}")
    if reason is not None:
        told = "\n".join(f"  {number}. {step.what}: {' '.join(step.command)}" for number, step in enumerate(wanted, 1))
        return f"Nothing is run: {reason}.\nWith a GPU this would run, in {arguments.limit_seconds:g} s:\n{told}"
    origin = surroundings(torch.device("cuda"))
    write_json(LOGS / "environment.json", {"facts": known, "surroundings": origin})
    of = {"device": origin["hardware"]["device"], "commit": origin["commit"], "torch": origin["versions"]["torch"]}
    done = []
    for step in wanted:
        left = arguments.limit_seconds - (time.monotonic() - begun)
        done.append(_ended(step, left, of, arguments.again))
        write_summary(known, origin, done)
    return f"{PAGE}: written; logs are in {LOGS}/. The same command does what is left. Next: cimbench report"


def _ended(step: Step, left: float, of: dict[str, Any], again: bool) -> dict[str, Any]:
    """How a step ended: earlier on the same card and sources, now, or not at all."""
    earlier = outcome(step)
    same = earlier is not None and earlier["status"] == 0 and all(earlier.get(name) == of[name] for name in of)
    if earlier is not None and same and not (again or step.goes_on):
        print(f"{step.name}: {step.what}: done earlier ({earlier['last']})", file=sys.stderr)
        return earlier
    if left < _LEAST:
        print(f"{step.name}: {step.what}: not begun, {max(0.0, left):.0f} s are left", file=sys.stderr)
        return {"step": step.name, "status": None, "ended": "was not begun: no time was left", "seconds": 0, "last": ""}
    seconds = left * step.share
    print(f"{step.name}: {step.what}, at most {seconds:.0f} s ...", file=sys.stderr, flush=True)
    found = run_step(step, seconds, of)
    print(f"{step.name}: {found['ended']} after {found['seconds']:.0f} s: {found['last']}", file=sys.stderr, flush=True)
    return found


def arguments_of_gpu(parser: argparse.ArgumentParser) -> None:
    """What is learnt, and how long it may take."""
    parser.add_argument("--suite", default="conf/plain/small.json", help="parameters of the cells that are learnt")
    parser.add_argument("--method", default="foster", help="of the profile")
    parser.add_argument("--compressor", default="cim", help="of the profile")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS, help="these alone, in their order")
    parser.add_argument("--limit-seconds", type=float, default=560.0, help="of all steps together (default: 560)")
    parser.add_argument("--again", action="store_true", help="repeat steps that ended well on this card")
