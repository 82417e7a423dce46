"""Accuracy over all classes seen, phase after phase."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from cimbench.benchmarks.metrics import accuracy_per_phase
from cimbench.benchmarks.record import Record
from cimbench.benchmarks.report.plots import COLOURS
from cimbench.benchmarks.report.tables import groups_of_cells

STYLES = ("-", "--", ":")  # a head's line; the first head is drawn solid
CROWDED = 5  # methods with compressors from which on each method and head has a panel of its own


def curve_figure(records: Sequence[Record]) -> Figure:
    """Lines are means over seeds; the band spans the lowest to the highest seed.

    One colour a method and compressor, one style a head; where there are many of them a panel a method and head, and
    one colour a compressor.
    """
    groups = groups_of_cells(records)
    return _one_panel(groups) if len(groups) < CROWDED else _panels(groups)


def _one_panel(groups: dict[tuple[str, str], list[Record]]) -> Figure:
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for colour, ((method, compressor), members) in zip(cycle(COLOURS), groups.items(), strict=False):
        for style, head in zip(cycle(STYLES), members[0].heads, strict=False):
            _draw(axes, members, head, colour, style, f"{method} + {compressor} ({head})")
    _dress(axes)
    axes.set_xlabel("phase")
    axes.set_ylabel("accuracy over all classes seen (%)")
    figure.legend(fontsize=8, frameon=False, loc="outside right upper")
    return figure


def _panels(groups: dict[tuple[str, str], list[Record]]) -> Figure:
    wanted = list(dict.fromkeys((method, head) for (method, _), found in groups.items() for head in found[0].heads))
    looks = [(colour, style) for style in STYLES for colour in COLOURS]
    look = dict(zip(dict.fromkeys(compressor for _, compressor in groups), cycle(looks), strict=False))
    columns = min(4, len(wanted))
    rows = -(-len(wanted) // columns)
    figure = Figure(figsize=(2.6 * columns + 1.6, 2.3 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).flatten()
    for axes in panels[len(wanted) :]:
        axes.set_axis_off()
    for axes, (method, head) in zip(panels, wanted, strict=False):
        for (owner, compressor), members in groups.items():
            if owner == method and all(head in record.heads for record in members):
                _draw(axes, members, head, *look[compressor], compressor)
        _dress(axes)
        axes.set_title(f"{method}, {head}", fontsize=9, loc="left")
    lines = {line.get_label(): line for axes in panels for line in axes.get_lines()}
    figure.legend(
        list(lines.values()), [str(name) for name in lines], fontsize=8, frameon=False, loc="outside right upper"
    )
    figure.supxlabel("phase", fontsize=9)
    figure.supylabel("accuracy over all classes seen (%)", fontsize=9)
    return figure


def _draw(axes: Axes, members: Sequence[Record], head: str, colour: str, style: str, label: str) -> None:
    """A mean line, and a band over several seeds."""
    curve = 100 * np.array([accuracy_per_phase(r.counts(head).correct, r.tested) for r in members])
    phases = np.arange(1, curve.shape[1] + 1)
    axes.plot(phases, curve.mean(0), style, color=colour, marker="o", markersize=3, label=label)
    if len(curve) > 1:
        axes.fill_between(phases, curve.min(0), curve.max(0), color=colour, alpha=0.12, linewidth=0)


def _dress(axes: Axes) -> None:
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_ylim(0, 100)
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
