"""What boxes do, phase by phase averaged: how much they keep, where they lie, and what learning them costs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cimbench.benchmarks.records.record import PhaseRecord, Record
from cimbench.benchmarks.report.tables import formatted, groups_of_cells, spread
from cimbench.datasets.arrays import write_atomically

NOTE = (
    "Means over phases, ± the deviation over seeds. Box: share of an exemplar's area that keeps its pixels. Overlap: "
    "intersection over union of new exemplars' boxes with ground-truth boxes. Phi: root mean square of how far the "
    "activations' coefficients have moved by the last phase. Mask level: share of training time spent on mask updates; "
    "memory of one update's autograd graph, and peak memory of training."
)


def _mean(record: Record, value: str) -> float:
    """Of a number in the memory's account, over the phases that have it; NaN where none has."""
    found = [float(one) for one in (phase.memory.get(value) for phase in record.phases) if one is not None]
    return float(np.mean(found)) if found else float("nan")


def _share_of_time(phase: PhaseRecord) -> float:
    return float(phase.memory["measured"].get("mask_seconds", np.nan)) / phase.seconds["learn"]


def _graph(record: Record) -> float:
    return max(float(phase.memory["measured"].get("mask_graph_bytes", np.nan)) for phase in record.phases)


def boxes_table(records: Sequence[Record]) -> pd.DataFrame:
    """One row a method and compressor with a memory."""
    rows = []
    for (method, compressor), members in groups_of_cells(records).items():
        if not any(sum(record.phases[-1].memory["exemplars"]) for record in members):
            continue
        classes = len(members[0].class_names)
        overlap = [100 * _mean(record, "box_overlap") for record in members]
        held = [sum(record.phases[-1].memory["exemplars"]) / classes for record in members]
        moved = [float(record.phases[-1].memory["measured"].get("rational_shift", np.nan)) for record in members]
        share = [100 * float(np.mean([_share_of_time(phase) for phase in record.phases])) for record in members]
        peak = max(float(phase.peak_memory_bytes or np.nan) for record in members for phase in record.phases)
        learns = not np.isnan(moved[0])
        rows.append(
            {
                "method": method,
                "compressor": compressor,
                "box (%)": spread([100 * _mean(record, "mean_box_area") for record in members]).text(),
                "overlap (%)": "-" if np.isnan(overlap[0]) else spread(overlap).text(),
                "exemplars a class": spread(held).text(),
                "phi": spread(moved).text(3) if learns else "-",
                "mask level, time (%)": spread(share).text() if learns else "-",
                "mask level, graph (MB)": f"{max(map(_graph, members)) / 1e6:.1f} of {peak / 1e6:.0f}"
                if learns
                else "-",
            }
        )
    return pd.DataFrame(rows)


def write_boxes_table(folder: Path, records: Sequence[Record]) -> list[Path]:
    """boxes.md; none where no cell has a memory."""
    table = boxes_table(records)
    if not len(table):
        return []
    path = folder / "boxes.md"
    text = f"{formatted(table, 'github', 2)}\n\n{NOTE}\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    return [path]
