"""Records of cells that nobody has run."""

from __future__ import annotations

from typing import Any

from cimbench.benchmarks.records.record import PhaseRecord, Record
from cimbench.benchmarks.suite.config import find_cell
from tests.conftest import tiny_suite


def record(seed: int, correct: list[list[int]], method: str = "replay", unit: str = "raw_bytes") -> Record:
    """Two phases of two classes each, ten test images a group."""
    suite = tiny_suite(budget={"unit": unit})
    config = find_cell(suite, method, "none", seed).resolved()
    memory: dict[str, Any] = {"unit": unit, "budget": 12000, "limit": 12000, "spent": 11000.0 + seed}
    memory |= {"exemplars": [3, 4], "bytes_held": 11000 + seed, "mean_box_area": 1.0}
    memory |= {"kept_whole": 0, "exhausted_classes": 0, "chosen": {}, "measured": {}}
    phases = [
        PhaseRecord(
            correct={"linear": row},
            correct_top5={"linear": row},
            losses=[1.0],
            memory=memory,
            seconds={"learn": 2.0, "evaluate": 1.0},
            model_bytes=5000,
        )
        for row in correct
    ]
    origin: dict[str, Any] = {
        "commit": "0123456789abcdef",
        "sources_changed": False,
        "started": "then",
        "versions": {"torch": "2.8.0"},
        "hardware": {"processor": "A processor", "threads": 2, "device": "cpu"},
    }
    return Record(
        run_id="x",
        suite="test",
        cell=f"{method}-none-{seed}",
        config=config,
        provenance=origin,
        data_digest="d",
        class_names=["a", "b", "c", "d"],
        group_sizes=[2, 2],
        tested=[10, 10],
        phases=phases,
    )


TWO_SEEDS = [record(1, [[8], [4, 6]]), record(2, [[10], [6, 8]])]
