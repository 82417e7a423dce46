"""What the memory holds, phase after phase: how many exemplars, and how much of them keeps its pixels."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from cimbench.benchmarks.records.record import PhaseRecord, Record
from cimbench.benchmarks.report.figures.plots import colours_of, style_axes
from cimbench.benchmarks.report.intervals import band
from cimbench.benchmarks.report.tables import groups_of_cells

Measure = Callable[[PhaseRecord], float]


def held(phase: PhaseRecord) -> float:
    """Exemplars in the memory after a phase."""
    return float(sum(phase.memory["exemplars"]))


def box_share(phase: PhaseRecord) -> float:
    """Mean share, in percent, of an exemplar's area inside its box."""
    return 100 * float(phase.memory["mean_box_area"])


MEASURES: dict[str, Measure] = {"exemplars held": held, "box, share of the area (%)": box_share}


def with_memory(records: Sequence[Record]) -> list[Record]:
    """The cells that hold an exemplar after some phase."""
    return [record for record in records if any(held(phase) for phase in record.phases)]


def memory_values(members: Sequence[Record], measure: Measure) -> NDArray[np.float64]:
    """(seeds, phases) of a measure."""
    return np.array([[measure(phase) for phase in record.phases] for record in members])


def memory_figure(records: Sequence[Record]) -> Figure:
    """A row a method: exemplars on the left, boxes on the right; one line a compressor, bands as `intervals.WORDS`.

    records: of `with_memory`, at least one.
    """
    groups = groups_of_cells(records)
    methods = list(dict.fromkeys(method for method, _ in groups))
    look = colours_of(compressor for _, compressor in groups)
    figure = Figure(figsize=(5.0, 2.3 * len(methods) + 0.6 + 0.2 * -(-len(look) // 3)), layout="constrained")
    panels = figure.subplots(len(methods), 2, squeeze=False, sharex=True, sharey="col")
    for row, method in zip(panels, methods, strict=True):
        for axes, (words, measure) in zip(row, MEASURES.items(), strict=True):
            for (owner, compressor), members in groups.items():
                if owner == method:
                    _draw(axes, memory_values(members, measure), *look[compressor], compressor)
            axes.set_title(f"{method}: {words}", fontsize=9, loc="left")
            axes.xaxis.get_major_locator().set_params(integer=True)
            style_axes(axes)
    for axes in panels[-1]:
        axes.set_xlabel("phase", fontsize=9)
        axes.set_ylim(bottom=0)
    lines = {str(line.get_label()): line for axes in panels.flatten() for line in axes.get_lines()}
    place = {"loc": "outside lower center", "ncols": min(3, len(lines))}
    figure.legend(list(lines.values()), list(lines), fontsize=8, frameon=False, **place)
    return figure


def _draw(axes: Axes, values: NDArray[np.float64], colour: str, style: str, label: str) -> None:
    phases = np.arange(1, values.shape[1] + 1)
    axes.plot(phases, values.mean(0), style, color=colour, marker="o", markersize=3, label=label)
    if (ends := band(values)) is not None:
        axes.fill_between(phases, *ends, color=colour, alpha=0.12, linewidth=0)
