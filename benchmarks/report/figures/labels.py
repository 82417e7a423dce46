"""Words beside points of a picture, none over another or over a point."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.text import Annotation, Text
from matplotlib.transforms import Bbox

Place = tuple[float, float]

CLEAR = 5.0  # points of 1/72 inch around a marker that stay free
DISTANCES = (8, 16, 26, 40, 60)  # of a label from its point, in the same
DIRECTIONS = 12


def _candidates() -> Iterator[tuple[float, float, str, str]]:
    """Offsets and alignments: the nearest first, to the upper right first."""
    for distance in DISTANCES:
        for step in range(DIRECTIONS):
            angle = math.radians(45 + 360 / DIRECTIONS * step)
            x, y = distance * math.cos(angle), distance * math.sin(angle)
            beside = "left" if x > 0.3 * distance else "right" if x < -0.3 * distance else "center"
            yield x, y, beside, "bottom" if y > 0 else "top"


def place_labels(axes: Axes, points: Sequence[Place], words: Mapping[Place, str]) -> list[Annotation]:
    """The labels, each at the first place where it covers no point, no earlier label and no edge of the axes.

    points: places in the data that stay free; words: what stands at some of them. A label for which there is no such
    place is left out: the legend says it too. The figure's layout is final after this.
    """
    figure = axes.get_figure(root=True)
    assert figure is not None
    renderer = FigureCanvasAgg(figure).get_renderer()
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    clear = CLEAR * figure.dpi / 72
    taken = [Bbox.from_bounds(x - clear, y - clear, 2 * clear, 2 * clear) for x, y in axes.transData.transform(points)]
    taken += [text.get_window_extent(renderer) for text in axes.texts]
    inside = axes.get_window_extent(renderer)
    placed: list[Annotation] = []
    for place, word in words.items():
        label = _label(axes, place, word, renderer, inside, taken)
        if label is not None:
            taken.append(extent(label, renderer))
            placed.append(label)
    return placed


def _label(
    axes: Axes, place: Place, word: str, renderer: RendererAgg, inside: Bbox, taken: Sequence[Bbox]
) -> Annotation | None:
    """The label at its first free place, with a line to its point; None where there is no free one."""
    line = {"arrowstyle": "-", "color": "#777777", "linewidth": 0.6, "shrinkB": CLEAR}
    for x, y, beside, above in _candidates():
        label = axes.annotate(
            word, place, (x, y), textcoords="offset points", ha=beside, va=above, fontsize=8, arrowprops=line
        )
        box = extent(label, renderer)
        within = inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        if within and not any(box.overlaps(other) for other in taken):
            return label
        label.remove()
    return None


def extent(label: Annotation, renderer: RendererAgg) -> Bbox:
    """The rectangle of the words, in pixels, without the line to the point."""
    label.update_positions(renderer)
    return Text.get_window_extent(label, renderer)
