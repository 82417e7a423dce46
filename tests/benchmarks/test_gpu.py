"""The same cells on a GPU; skipped with the reason where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.registry import COMPRESSORS, METHODS
from cimbench.benchmarks.suite.config import find_cell
from cimbench.methods.compression.boxes.activation import activation_boxes, boxes_of_maps
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.compression.exemplars.packing import reconstructed
from tests.benchmarks.workplace import furnish
from tests.conftest import textured_images
from tests.methods.cells import Silent

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here"),
]


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("method", METHODS)
def test_a_cell_runs_there_and_holds_its_budget(workspace: Path, method: str, compressor: str) -> None:
    suite = furnish(
        workspace, device="cuda", training={"base_epochs": 12, "epochs": 4}, protocol={"validation_share": 0.25}
    )
    record = run_cell(find_cell(suite, method, compressor, 3), Silent())
    assert record.complete
    assert record.provenance["hardware"]["device"] != "cpu"
    assert next(iter(record.phases[0].correct.values()))[0] > 0.8 * record.tested[0]
    account = record.phases[-1].memory
    assert account["spent"] <= account["limit"]


@pytest.mark.parametrize("form", [Format(ratio=4.0), Format(ratio=4.0, inner_ratio=1.5)], ids=["kernels", "host"])
def test_boxes_and_reconstructions_are_the_cpus(form: Format) -> None:
    cam = torch.randn(8, 7, 7, generator=torch.Generator().manual_seed(0))
    images, sizes = textured_images(8, 50, 64, 0), torch.tensor([50, 64]).expand(8, 2)
    boxes = activation_boxes(cam, sizes, 0.6).xyxy
    there = boxes_of_maps(cam.cuda(), sizes, 0.6).xyxy
    assert torch.equal(there.cpu(), boxes)
    assert torch.equal(reconstructed(images.cuda(), there, form).cpu(), reconstructed(images, boxes, form))
