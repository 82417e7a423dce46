"""Intervals, the Pareto picture and what the memory holds, against hand-worked and brute-force answers."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.figures.curves import curve_figure
from cimbench.benchmarks.report.figures.labels import extent, place_labels
from cimbench.benchmarks.report.figures.memory_curves import memory_figure, with_memory
from cimbench.benchmarks.report.figures.pareto import (
    Point,
    bounded_points,
    pareto_figure,
    pareto_front,
    pareto_points,
)
from cimbench.benchmarks.report.figures.plots import own_style, save_figure
from cimbench.benchmarks.report.intervals import accuracy_text, band, interval
from tests.benchmarks.records import record


def cell(method: str, compressor: str, seed: int, last: int, held: int = 11000, head: str = "linear") -> Record:
    """Average accuracy (80 + 5 * last) / 2 percent under `head`, half of it under "nme"."""
    made = record(seed, [[8], [4, last - 4]], method)
    made.config["method"], made.config["compressor"] = {"name": method}, {"name": compressor}
    made.phases = [
        dataclasses.replace(
            phase,
            correct={head: phase.correct["linear"], "nme": [count // 2 for count in phase.correct["linear"]]},
            memory={**phase.memory, "bytes_held": held},
        )
        for phase in made.phases
    ]
    for phase in made.phases:
        phase.correct_top5.update(phase.correct)
    return made


def point(size: float, accuracy: float) -> Point:
    return Point(method="m", compressor=f"{size} {accuracy}", head="h", sizes=(size,), accuracies=(accuracy,))


def test_the_interval_by_hand() -> None:
    """Of 50, 60, 70: the mean 60, the deviation 10; t(2) = 4.302653."""
    half = 4.302653 * 10 / 3**0.5
    assert interval([50, 60, 70]) == pytest.approx((60 - half, 60 + half), abs=1e-4)
    assert interval([50, 60]) is None
    assert accuracy_text([50, 60, 70]) == "35.2 to 84.8"
    assert accuracy_text([5, 20, 99]) == "0.0 to 100.0"
    assert accuracy_text([50, 60]) == "-"


def test_bands_of_three_two_and_one_seed() -> None:
    low, high = band([[1.0, 50.0], [1.0, 60.0], [1.0, 70.0]]) or ([], [])
    np.testing.assert_allclose([low, high], [[1.0, 60 - 24.84138], [1.0, 60 + 24.84138]], atol=1e-4)
    low, high = band([[1.0, 4.0], [3.0, 2.0]]) or ([], [])
    np.testing.assert_array_equal([low, high], [[1.0, 2.0], [3.0, 4.0]])
    assert band([[1.0, 2.0]]) is None


def test_the_band_of_three_seeds_is_the_interval() -> None:
    (axes,) = curve_figure([record(seed, [[8], [4, last - 4]]) for seed, last in ((1, 10), (2, 12), (3, 14))]).axes
    corners = axes.collections[0].get_paths()[0].vertices
    assert [corners[:, 1].min(), corners[:, 1].max()] == pytest.approx([60 - 24.84138, 60 + 24.84138], abs=1e-3)


def test_points_by_hand() -> None:
    records = [cell("replay", "none", 1, 10), cell("replay", "none", 2, 12), cell("replay", "full", 1, 14, held=9000)]
    plain, full = pareto_points(records)
    assert (plain.head, plain.sizes, plain.accuracies) == ("linear", (16000.0, 16000.0), (65.0, 70.0))
    assert (full.size, full.accuracy, full.title) == (14000.0, 75.0, "replay + full")


def test_a_method_has_the_head_that_is_best_over_all_its_cells() -> None:
    records = [cell("replay", "none", 1, 10), cell("replay", "full", 1, 20), cell("icarl", "none", 1, 10)]
    records[2].phases[1].correct.update({"linear": [0, 0], "nme": [9, 9]})
    assert [point.head for point in pareto_points(records)] == ["linear", "linear", "nme"]


def test_a_method_that_keeps_every_image_is_a_line_and_no_point() -> None:
    records = [cell("joint", "none", 1, 20, held=0), cell("replay", "none", 1, 10)]
    assert [point.method for point in bounded_points(pareto_points(records))] == ["replay"]
    axes = pareto_figure(records).axes[0]
    assert [text.get_text() for text in axes.texts] == ["joint (keeps every image)", "replay + none"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(0, 9)), min_size=1, max_size=12))
def test_the_front_is_what_comparing_all_pairs_gives(places: list[tuple[int, int]]) -> None:
    points = [point(*place) for place in places]
    free = [
        one
        for one in points
        if not any(
            other.size <= one.size
            and other.accuracy >= one.accuracy
            and (other.size < one.size or other.accuracy > one.accuracy)
            for other in points
        )
    ]
    front = pareto_front(points)
    assert sorted(map(id, front)) == sorted(map(id, free))
    assert [one.size for one in front] == sorted(one.size for one in front)


@pytest.mark.parametrize("seed", range(4))
def test_labels_cover_neither_each_other_nor_a_point(seed: int) -> None:
    random = np.random.default_rng(seed)
    axes = Figure(figsize=(5, 4), layout="constrained").subplots()
    places = [(float(x), float(y)) for x, y in random.random((9, 2)) * [0.2, 1] + [0.8 * (seed % 2), 0]]
    axes.plot(*zip(*places, strict=True), "o")
    placed = place_labels(axes, places, dict.fromkeys(places, "a label of some length"))
    assert len(placed) >= 5
    renderer = FigureCanvasAgg(axes.get_figure()).get_renderer()
    boxes = [extent(label, renderer) for label in placed]
    for number, box in enumerate(boxes):
        assert not any(box.overlaps(other) for other in boxes[number + 1 :])
        assert not any(box.contains(x, y) for x, y in axes.transData.transform(places))
        assert axes.get_window_extent(renderer).contains(box.x0, box.y0)
        assert axes.get_window_extent(renderer).contains(box.x1, box.y1)


def test_the_memorys_picture_has_exemplars_and_boxes_of_each_method() -> None:
    records = [cell("replay", "none", 1, 10), cell("icarl", "none", 1, 10), cell("finetune", "none", 1, 10)]
    for phase, (held, area) in zip(records[0].phases, [([3, 4], 1.0), ([2, 2, 2, 3], 0.25)], strict=True):
        phase.memory.update({"exemplars": held, "mean_box_area": area})
    for phase in records[2].phases:
        phase.memory.update({"exemplars": [0, 0]})
    remembering = with_memory(records)
    assert [one.config["method"]["name"] for one in remembering] == ["replay", "icarl"]
    panels = memory_figure(remembering).axes
    titles = [axes.get_title(loc="left") for axes in panels]
    assert titles[:2] == ["replay: exemplars held", "replay: box, share of the area (%)"]
    assert len(titles) == 4
    assert [axes.get_lines()[0].get_ydata().tolist() for axes in panels[:2]] == [[7, 9], [100, 25]]


def test_a_users_own_settings_change_no_byte(tmp_path: Path) -> None:
    """A matplotlibrc may ask for TeX, which ended the report, or for other sizes and colours."""
    paths = [tmp_path / "plain.png", tmp_path / "other.png"]
    other = {"text.usetex": True, "font.size": 20, "axes.facecolor": "red"}
    for path, settings in zip(paths, ({}, other), strict=True):
        with matplotlib.rc_context(settings), own_style():
            figure = Figure(figsize=(2, 2))
            figure.subplots().set_title("accuracy_5 %")
            save_figure(figure, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
