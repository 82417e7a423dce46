"""What the benchmarks print: a reference procedure that is the reference's, and arithmetic on what was timed."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from cimbench.benchmarks.throughput import reference, report
from cimbench.benchmarks.throughput.inputs import SQUARE, THRESHOLD, WIDE, peaked_maps
from cimbench.datasets.errors import InputError
from cimbench.methods.compression.boxes.activation import boxes_of_maps, class_activation_maps
from cimbench.methods.compression.boxes.boxes import area_shares
from cimbench.methods.memory.herding import herding_order

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize("name", ["bbox_single", "bbox_multi", "bbox_negative"])
def test_the_reference_procedure_boxes_as_the_reference_codes_do(golden: Golden, name: str) -> None:
    data = golden(name)
    for i, (height, width) in enumerate(data["original_sizes"].tolist()):
        row = torch.from_numpy(data["fc_weight"][data["targets"][i]])
        cam = reference.activation_map(torch.from_numpy(data["fmaps"][i]), row)
        for k, threshold in enumerate(data["taus"].tolist()):
            y0, y1, x0, x1 = data["bbox"][k, i].tolist()
            assert reference.box(cam, height, width, threshold) == (x0, y0, x1, y1)


def test_the_reference_procedure_blurs_as_the_reference_codes_do(golden: Golden) -> None:
    data = golden("compress_02")
    y0, y1, x0, x1 = data["bbox"].tolist()
    for eta in data["etas"].tolist():
        shown = reference.blurred(Image.fromarray(data["image"]), (x0, y0, x1, y1), eta)
        np.testing.assert_array_equal(np.asarray(shown), data[f"out_eta{int(eta)}"])


def test_the_reference_procedure_herds_as_the_reference_codes_do(golden: Golden) -> None:
    data = golden("herding_a")
    chosen = reference.herding(data["features"].astype(np.float64), len(data["plain_selected"]))
    assert chosen == data["plain_selected"].tolist()
    assert chosen == herding_order(torch.from_numpy(data["features"]), len(chosen)).tolist()


def test_synthetic_boxes_keep_about_a_third() -> None:
    """As the boxes of the reference's own timing (0.31)."""
    for shape in (WIDE, SQUARE):
        boxes = boxes_of_maps(class_activation_maps(*peaked_maps(64)), shape.sizes(64), THRESHOLD).xyxy
        assert 0.2 < float(area_shares(boxes, shape.sizes(64)).mean()) < 0.45


ORIGIN = {
    "commit": "0123456789abcdef", "sources_changed": False, "started": "2026-01-02T03:04:05",
    "versions": {"python": "3", "torch": "2", "torchvision": "0", "numpy": "1"},
    "hardware": {"processor": "abacus", "cores": 2, "threads": 1, "device": "cpu"},
}  # fmt: skip


def row(**changes: Any) -> dict[str, Any]:
    values = {
        "step": "count", "input": "beads", "device": "cpu", "images": 50, "moved": 2_000_000, "bound": "fingers",
        "ceiling_name": "copy", "seconds": 0.5, "ceiling_seconds": 0.1, "reference_seconds": 6.0,
        "surroundings": ORIGIN,
    }  # fmt: skip
    return {**values, **changes}


def test_rates_shares_and_times_by_hand(tmp_path: Path) -> None:
    measured = [
        row(memory=0.25),
        row(step="stack", reference_seconds=None),
        row(device="cuda", surroundings=gpu("Z80")),
    ]
    path = tmp_path / "benchmarks.json"
    path.write_text(json.dumps({"benchmarks": [{"extra_info": one} for one in measured]}))
    written = report.write(path, tmp_path / "out")
    assert [file.name for file in written] == ["cpu.md", "cpu.csv", "cpu.png", "cuda.md", "cuda.csv", "cuda.png"]
    text = (tmp_path / "out/cpu.md").read_text()
    assert text.startswith("abacus, 2 cores; Python 3, torch 2, torchvision 0, numpy 1; commit 0123456789; 2026-01-02.")
    cells = [cell.strip() for cell in text.splitlines()[4].strip("|").split("|")]
    assert cells == ["count", "beads", "100", "0.040", "copy", "20%", "12.0 x", "25%", "fingers"]
    assert [cell.strip() for cell in text.splitlines()[5].split("|")][7:9] == ["-", "-"]
    assert (tmp_path / "out/cuda.md").read_text().startswith("Z80; ")
    numbers = list(csv.DictReader((tmp_path / "out/cpu.csv").open()))
    assert float(numbers[0]["images/s"]) == 100
    assert float(numbers[0]["times the reference"]) == 12
    assert (tmp_path / "out/cpu.png").read_bytes()[:4] == b"\x89PNG"


def gpu(name: str) -> dict[str, Any]:
    return {**ORIGIN, "hardware": {**ORIGIN["hardware"], "device": name}}


@pytest.mark.parametrize("content", ["", "{}", "[1]"])
def test_another_file_is_no_measurement(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(content)
    with pytest.raises(InputError, match=r"x\.json: is no pytest-benchmark JSON .*make it with make bench"):
        report.write(path, tmp_path)
    assert list(tmp_path.iterdir()) == [path]
