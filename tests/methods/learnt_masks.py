"""Hosts and masks that have learnt some phases."""

from __future__ import annotations

from typing import Any

from cimbench.benchmarks.cell.run import Bench, build, remember, task
from cimbench.benchmarks.suite.config import find_cell
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, Silent, place

VARIANTS = ("cim", "cim_joint", "cim_last_block", "cim_foreground")


def learnt(method: str = "replay", compressor: str = "cim", phases: int = 1, **sections: Any) -> Bench:
    """A host and masks that have learnt and remembered some phases."""
    plain = {"ratio": 4.0, "threshold": 0.5, "weight_decay": 0.0}  # with decay phi would move without a gradient
    given = {compressor: {**plain, **sections.pop("masks", {})}} if compressor.startswith("cim") else {}
    suite = tiny_suite(training={"base_epochs": 2, "epochs": 2}, compressors=given, **sections)
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, compressor, SEED))
    for number in range(phases):
        bench.method.learn(task(bench, bench.stream.phase(number), [], Silent()))
        remember(bench, bench.stream.phase(number))
    return bench
