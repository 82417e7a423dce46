"""Accuracy against all the bytes that are kept between phases, exemplars and model; the Pareto front of the means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record, shared_heads
from cimbench.benchmarks.registry import sees_all_data
from cimbench.benchmarks.report.figures.labels import place_labels
from cimbench.benchmarks.report.figures.plots import colours_of, style_axes
from cimbench.benchmarks.report.intervals import band
from cimbench.benchmarks.report.tables import groups_of_cells

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
NOTE = (
    "A point is a method with a compressor after the last phase: average accuracy against the bytes of exemplars and "
    "of the model's weights and buffers. Of a method's heads the one with the highest mean over its cells is shown. "
    "Ringed and joined: the Pareto front, points for which no other has fewer bytes and a higher accuracy. It goes by "
    "means; the paired differences say which of them differ significantly."
)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A method with a compressor: bytes (exemplars and model, one a seed) and average accuracies in percent."""

    method: str
    compressor: str
    head: str
    sizes: tuple[float, ...]
    accuracies: tuple[float, ...]

    @property
    def size(self) -> float:
        """Mean bytes."""
        return float(np.mean(self.sizes))

    @property
    def accuracy(self) -> float:
        """Mean average accuracy in percent."""
        return float(np.mean(self.accuracies))

    @property
    def title(self) -> str:
        """For instance replay + none."""
        return f"{self.method} + {self.compressor}"


def _accuracies(members: Sequence[Record], head: str) -> tuple[float, ...]:
    return tuple(100 * headline(record.counts(head))["average_accuracy"] for record in members)


def _best_heads(records: Sequence[Record]) -> dict[str, str]:
    """Each method's head with the highest mean over its cells; of equal ones the first."""
    scores: dict[str, dict[str, list[float]]] = {}
    for (method, _), members in groups_of_cells(records).items():
        for head in shared_heads(members):
            scores.setdefault(method, {}).setdefault(head, []).extend(_accuracies(members, head))
    return {
        method: max(heads, key=lambda head, heads=heads: float(np.mean(heads[head])))  # type: ignore[misc]
        for method, heads in scores.items()
    }


def pareto_points(records: Sequence[Record]) -> list[Point]:
    """One point a method and compressor, in the order of the records; those that keep every image among them."""
    heads = _best_heads(records)
    return [
        Point(
            method=method,
            compressor=compressor,
            head=heads[method],
            sizes=tuple(
                float(record.phases[-1].memory["bytes_held"] + record.phases[-1].model_bytes) for record in members
            ),
            accuracies=_accuracies(members, heads[method]),
        )
        for (method, compressor), members in groups_of_cells(records).items()
    ]


def bounded_points(points: Sequence[Point]) -> list[Point]:
    """Those that do not keep every image."""
    return [point for point in points if not sees_all_data(point.method)]


def pareto_front(points: Sequence[Point]) -> list[Point]:
    """The points that no other beats in bytes or accuracy without being worse in the other; fewest bytes first."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.size, -point.accuracy)):
        last = front[-1] if front else None
        twin = last is not None and (point.size, point.accuracy) == (last.size, last.accuracy)
        if last is None or twin or point.accuracy > last.accuracy:
            front.append(point)
    return front


def pareto_figure(records: Sequence[Record]) -> Figure:
    """Colour a compressor, marker a method; bars over seeds (`intervals.WORDS`), the front's points named."""
    points = pareto_points(records)
    bounded = bounded_points(points)
    colours = {name: colour for name, (colour, _) in colours_of(point.compressor for point in bounded).items()}
    markers = dict(zip(dict.fromkeys(point.method for point in bounded), MARKERS * 3, strict=False))
    lines = -(-(len(colours) + len(markers)) // 3)
    figure = Figure(figsize=(5.0, 4.0 + 0.2 * lines), layout="constrained")
    axes = figure.subplots()
    for point in bounded:
        _draw(axes, point, colours[point.compressor], markers[point.method])
    front = pareto_front(bounded)
    places = [(point.size / 1e6, point.accuracy) for point in front]
    axes.plot(*zip(*places, strict=True), "o--", color="#777777", linewidth=1, mfc="none", markersize=11, zorder=1,
              drawstyle="steps-post")  # fmt: skip
    for point in points:
        if sees_all_data(point.method):
            _draw_bound(axes, point)
    _scales(axes, bounded)
    figure.legend(handles=_legend(colours, markers), fontsize=8, frameon=False, loc="outside lower center", ncols=3)
    place_labels(axes, _covered(bounded), dict(zip(places, [point.title for point in front], strict=True)))
    return figure


def _ends(values: Sequence[float]) -> tuple[float, float]:
    """Lower and upper end of the bar over seeds; the one value where there is no bar."""
    ends = band(values)
    return (values[0], values[0]) if ends is None else (float(ends[0]), float(ends[1]))


def _covered(points: Sequence[Point]) -> list[tuple[float, float]]:
    """Places that words leave free: the points, and steps along their bars."""
    found = []
    for point in points:
        steps = np.linspace(*_ends(point.accuracies), 25)
        found += [(point.size / 1e6, float(accuracy)) for accuracy in [point.accuracy, *steps]]
    return found


def _draw(axes: Axes, point: Point, colour: str, marker: str) -> None:
    (left, right), (low, high) = _ends(point.sizes), _ends(point.accuracies)
    size, look = point.size / 1e6, {"color": colour, "linewidth": 1}
    axes.plot([left / 1e6, right / 1e6], [point.accuracy] * 2, **look)
    axes.plot([size, size], [low, high], **look)
    axes.plot([size], [point.accuracy], marker, color=colour, markersize=6, alpha=0.9)


def _draw_bound(axes: Axes, point: Point) -> None:
    axes.axhline(point.accuracy, color="#777777", linewidth=1, linestyle=":")
    words, where = f"{point.method} (keeps every image)", ("axes fraction", "data")
    axes.annotate(words, (0.01, point.accuracy), (0, 3), xycoords=where, textcoords="offset points", fontsize=8)


def _scales(axes: Axes, points: Sequence[Point]) -> None:
    """Bytes from 0, or by their logarithm where they span more than a factor of ten."""
    sizes = [point.size for point in points]
    if max(sizes) > 10 * min(sizes) > 0:
        axes.set_xscale("log")
    else:
        axes.set_xlim(0, 1.12e-6 * max(sizes))
    axes.margins(y=0.15)
    axes.set_xlabel("exemplars and model (MB)")
    axes.set_ylabel("average accuracy (%)")
    style_axes(axes)


def _legend(colours: dict[str, str], markers: dict[str, str]) -> list[Line2D]:
    methods = [
        Line2D([], [], color="#777777", marker=marker, linestyle="", label=name) for name, marker in markers.items()
    ]
    compressors = [Line2D([], [], color=colour, linewidth=4, label=name) for name, colour in colours.items()]
    return [*methods, *compressors]
