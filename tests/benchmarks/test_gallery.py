"""Pictures of what the memory keeps: their columns have names, and boxes can be shown without the photographs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torchvision.io import decode_image

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.report.figures.plots import boxes_figure, gallery_figure
from cimbench.benchmarks.suite.config import find_cell
from tests.benchmarks.workplace import furnish
from tests.conftest import coloured_store
from tests.methods.cells import Silent


def test_the_columns_of_a_gallery_are_named(workspace: Path) -> None:
    """Three, or four where there is a map, each name under the middle of its column."""
    suite = furnish(workspace)
    pictures = []
    for compressor in ("none", "class_activation"):
        cell = find_cell(suite, "replay", compressor, 3)
        run_cell(cell, Silent())
        pictures.append((compressor, cell.folder / "gallery-phase-1.png"))
    plain, with_map = gallery_figure(pictures).axes
    assert [label.get_text() for label in plain.get_xticklabels()] == ["image", "box", "replayed"]
    assert [label.get_text() for label in with_map.get_xticklabels()] == ["image", "map", "box", "replayed"]
    for axes, columns in ((plain, 3), (with_map, 4)):
        middles = [4 + 132 * number + 64 for number in range(columns)]
        assert axes.get_xticks().tolist() == pytest.approx(middles, abs=4)


def test_boxes_are_drawn_without_the_pictures(workspace: Path) -> None:
    """Grey where there is no map; the exemplar's box is white; people's box, drawn last, is black."""
    store = coloured_store()
    suite = furnish(workspace, store)
    cell = find_cell(suite, "replay", "center_box", 3)
    run_cell(cell, Silent())
    picture = decode_image(str(cell.folder / "boxes-phase-1.png"))
    tiles = [picture[:, 4:132, 4 + 132 * number : 132 + 132 * number] for number in range(2)]  # two classes a phase
    assert picture.shape == (3, 136, 4 + 132 * 2)
    for tile in tiles:
        small = tile[:, 4::8, 4::8]  # a pixel of the 16 x 16 image takes 8 x 8
        assert set(small.flatten().tolist()) <= {0, 128, 255}
        ys, xs = torch.nonzero(small[0] == 0, as_tuple=True)
        assert (int(ys.max() - ys.min()) + 1, int(xs.max() - xs.min()) + 1) == (5, 5)  # people's: a third of 16
        assert int((small[0] == 255).sum()) > 8
    grey = find_cell(suite, "replay", "class_activation", 3)
    run_cell(grey, Silent())
    heat = decode_image(str(grey.folder / "boxes-phase-1.png"))[:, 4:132, 4:132]
    assert len(torch.unique(heat.flatten(1), dim=1).T) > 20


def test_boxes_of_all_phases_stand_side_by_side(workspace: Path) -> None:
    """A row a cell; the report writes it for the first seed."""
    suite = furnish(workspace)
    rows = []
    for compressor in ("center_box", "class_activation"):
        cell = find_cell(suite, "replay", compressor, 3)
        run_cell(cell, Silent())
        rows.append((cell.title, sorted(cell.folder.glob("boxes-phase-*.png"))))
    axes = boxes_figure(rows).axes
    assert [one.get_title(loc="left") for one in axes] == [
        f"replay + {compressor}, seed 3, phase {phase}"
        for compressor in ("center_box", "class_activation")
        for phase in (1, 2)
    ]
    shown = axes[1].images[0].get_array()
    assert shown is not None and shown.shape[:2] == (136, 268)
    assert main(["--params", "params.json", "report"]) == 2  # the suite's own cells are not run
    run_cell(find_cell(suite, "replay", "none", 3), Silent())
    assert main(["--params", "params.json", "report"]) == 0
    assert (suite.results / "plots/boxes.png").read_bytes()[:4] == b"\x89PNG"
