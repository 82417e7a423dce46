"""What other programs read: metrics.json for `dvc metrics`, phases.csv for `dvc plots` and spreadsheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cimbench.benchmarks.records.metrics import accuracy_per_phase, headline
from cimbench.benchmarks.records.record import PhaseRecord, Record, shared_heads
from cimbench.benchmarks.registry import sees_all_data
from cimbench.benchmarks.report.figures.memory_curves import box_share, held
from cimbench.benchmarks.report.tables import groups_of_cells
from cimbench.datasets.arrays import write_atomically, write_json

METRICS, PHASES = "metrics.json", "phases.csv"
DIGITS = 4


def _mean(values: Sequence[float]) -> float:
    return round(float(np.mean(values)), DIGITS)


def metrics_tree(records: Sequence[Record]) -> dict[str, Any]:
    """method -> compressor -> head -> metric: means over seeds after the last phase, accuracies in percent."""
    tree: dict[str, Any] = {}
    for (method, compressor), members in groups_of_cells(records).items():
        kept = {
            "seeds": len(members),
            "exemplars": _mean([held(record.phases[-1]) for record in members]),
            "bytes_held": _mean([record.phases[-1].memory["bytes_held"] for record in members]),
            "model_bytes": _mean([record.phases[-1].model_bytes for record in members]),
        }
        for head in shared_heads(members):
            found = [headline(record.counts(head)) for record in members]
            accuracies = {name: _mean([100 * one[name] for one in found]) for name in found[0]}
            tree.setdefault(method, {}).setdefault(compressor, {})[head] = {**accuracies, **kept}
    return tree


def phases_table(records: Sequence[Record]) -> pd.DataFrame:
    """One row a cell, head and phase: accuracies in percent, what the memory holds after it, and bytes."""
    rows = []
    for record in records:
        for head in record.heads:
            counts = record.counts(head)
            accuracies = accuracy_per_phase(counts.correct, counts.tested)
            for number, (phase, accuracy) in enumerate(zip(record.phases, accuracies, strict=True), 1):
                rows.append(
                    {
                        "phase": number,
                        "method": record.config["method"]["name"],
                        "compressor": record.config["compressor"]["name"],
                        "head": head,
                        "seed": record.config["seed"],
                        "accuracy": round(100 * accuracy, DIGITS),
                        "average_so_far": _mean([100 * value for value in accuracies[:number]]),
                        "exemplars": int(held(phase)),
                        "box_share": round(box_share(phase), DIGITS),
                        "bytes_held": phase.memory["bytes_held"],
                        "model_bytes": phase.model_bytes,
                        "kept_bytes": kept_bytes(record, phase),
                    }
                )
    return pd.DataFrame(rows)


def kept_bytes(record: Record, phase: PhaseRecord) -> int | str:
    """Exemplars and model; nothing for a method that keeps every image instead."""
    if sees_all_data(record.config["method"]["name"]):
        return ""
    return int(phase.memory["bytes_held"]) + phase.model_bytes


def write_measurements(folder: Path, records: Sequence[Record]) -> list[Path]:
    """metrics.json and phases.csv."""
    write_json(folder / METRICS, metrics_tree(records))
    text = phases_table(records).to_csv(index=False)
    write_atomically(folder / PHASES, lambda file: file.write(text.encode()))
    return [folder / METRICS, folder / PHASES]
