"""The table of boxes, from records worked by hand."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.boxes import boxes_table, write_boxes_table
from tests.benchmarks.records import record


def with_boxes(seed: int, compressor: str, areas: list[float], overlaps: list[float | None], learns: bool) -> Record:
    """Two phases that took 2 s of learning, half of it the mask level's in the second."""
    made = record(seed, [[8], [6, 5]])
    made.config["compressor"]["name"] = compressor
    phases = []
    for number, phase in enumerate(made.phases):
        measured = {"mask_seconds": 0.5 + 0.5 * number, "mask_graph_bytes": 3e6, "rational_shift": 0.25 + number}
        account = {"mean_box_area": areas[number], "box_overlap": overlaps[number]}
        account["measured"] = measured if learns else {}
        phases.append(dataclasses.replace(phase, memory={**phase.memory, **account}, peak_memory_bytes=2 * 10**9))
    return dataclasses.replace(made, phases=phases)


def test_means_over_phases_and_deviations_over_seeds() -> None:
    cim = [with_boxes(1, "cim", [0.2, 0.4], [0.5, 0.7], True), with_boxes(2, "cim", [0.4, 0.6], [0.6, 0.8], True)]
    plain = [with_boxes(1, "center_box", [0.5, 0.5], [None, None], False)]
    first, second = boxes_table([*cim, *plain]).to_dict("records")
    assert first["box (%)"] == "40.0 ± 14.1"  # 30 and 50
    assert first["overlap (%)"] == "65.0 ± 7.1"  # 60 and 70
    assert first["exemplars a class"] == "1.8 ± 0.0"  # 7 of 4 classes
    assert first["phi"] == "1.250 ± 0.000"
    assert first["mask level, time (%)"] == "37.5 ± 0.0"  # 25 and 50 of each phase
    assert first["mask level, graph (MB)"] == "3.0 of 2000"
    assert second == {
        "method": "replay", "compressor": "center_box", "box (%)": "50.0", "overlap (%)": "-",
        "exemplars a class": "1.8", "phi": "-", "mask level, time (%)": "-", "mask level, graph (MB)": "-",
    }  # fmt: skip


def test_without_a_memory_there_is_no_table(tmp_path: Path) -> None:
    made = with_boxes(1, "none", [0.0, 0.0], [None, None], False)
    for phase in made.phases:
        phase.memory["exemplars"] = [0, 0]
    assert write_boxes_table(tmp_path, [made]) == []
    (path,) = write_boxes_table(tmp_path, [with_boxes(1, "cim", [0.2, 0.4], [0.5, 0.7], True)])
    assert path.name == "boxes.md" and "| replay   | cim " in path.read_text()
