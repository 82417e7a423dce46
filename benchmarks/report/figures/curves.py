"""Accuracy over all classes seen, phase after phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cimbench.benchmarks.records.metrics import accuracy_per_phase
from cimbench.benchmarks.records.record import Record, shared_heads
from cimbench.benchmarks.report.figures.plots import COLOURS, STYLES, colours_of, style_axes
from cimbench.benchmarks.report.intervals import band
from cimbench.benchmarks.report.tables import groups_of_cells

CROWDED = 5  # methods with compressors from which on each method and head has a panel of its own


def curve_figure(records: Sequence[Record], columns: int = 4) -> Figure:
    """Lines are means over seeds, bands their 95 % interval (`intervals.WORDS`).

    One colour a method and compressor, one style a head; where there are many of them a panel a method and head, at
    most `columns` side by side, and one colour a compressor.
    """
    groups = groups_of_cells(records)
    return _one_panel(groups) if len(groups) < CROWDED else _panels(groups, columns)


def _one_panel(groups: dict[tuple[str, str], list[Record]]) -> Figure:
    lines = sum(len(shared_heads(members)) for members in groups.values())
    figure = Figure(figsize=(5.0, 3.8 + 0.2 * -(-lines // 2)), layout="constrained")
    axes = figure.subplots()
    for colour, ((method, compressor), members) in zip(cycle(COLOURS), groups.items(), strict=False):
        for style, head in zip(cycle(STYLES), shared_heads(members), strict=False):
            _draw(axes, members, head, colour, style, f"{method} + {compressor} ({head})")
    _dress(axes)
    axes.set_xlabel("phase")
    axes.set_ylabel("accuracy over all classes seen (%)")
    figure.legend(fontsize=8, frameon=False, loc="outside lower center", ncols=2)
    return figure


def _panels(groups: dict[tuple[str, str], list[Record]], columns: int) -> Figure:
    wanted = list(
        dict.fromkeys((method, head) for (method, _), found in groups.items() for head in shared_heads(found))
    )
    look = colours_of(compressor for _, compressor in groups)
    columns = min(columns, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = Figure(figsize=(2.5 * max(2, columns), 2.3 * rows + 0.7), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes in panels[len(wanted) :]:
        axes.set_axis_off()
    for axes, (method, head) in zip(panels, wanted, strict=False):
        for (owner, compressor), members in groups.items():
            if owner == method and all(head in record.heads for record in members):
                _draw(axes, members, head, *look[compressor], compressor)
        _dress(axes)
        axes.set_title(f"{method}, {head}", fontsize=9, loc="left")
    for axes in panels[len(wanted) - columns : len(wanted)]:
        axes.set_xlabel("phase", fontsize=9)
        axes.tick_params(labelbottom=True)
    lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    names = [str(name) for name in lines]
    place = {"loc": "outside lower center", "ncols": min(len(names), 2 * columns - 1)}
    figure.legend(list(lines.values()), names, fontsize=8, frameon=False, **place)
    figure.supylabel("accuracy over all classes seen (%)", fontsize=9)
    return figure


def _draw(axes: Axes, members: Sequence[Record], head: str, colour: str, style: str, label: str) -> None:
    """A mean line, and a band over several seeds."""
    curve = 100 * np.array([accuracy_per_phase(r.counts(head).correct, r.tested) for r in members])
    phases = np.arange(1, curve.shape[1] + 1)
    axes.plot(phases, curve.mean(0), style, color=colour, marker="o", markersize=3, label=label)
    if (ends := band(curve)) is not None:
        axes.fill_between(phases, *ends, color=colour, alpha=0.12, linewidth=0)


def _dress(axes: Axes) -> None:
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, 100)
    style_axes(axes)
