"""Pictures of a suite: what the memory keeps, boxes, confusion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import imread

from cimbench.benchmarks.records.record import Record
from cimbench.datasets.arrays import load_arrays, write_atomically

# Okabe and Ito's colours, told apart by colour-blind readers too
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#F0E442")
STYLES = ("-", "--", ":")  # of lines: the first is drawn solid
TILE = 132  # pixels a column of a gallery takes


@contextmanager
def own_style() -> Iterator[None]:
    """Draw with Matplotlib's own settings, whatever the user's matplotlibrc says: the same bytes for everybody."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        yield


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG, atomically."""
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=150, bbox_inches="tight"))


def colours_of(names: Iterable[str]) -> dict[str, tuple[str, str]]:
    """A colour and a line's style for each name, in the order of their first appearance."""
    every = [(colour, style) for style in STYLES for colour in COLOURS]
    return dict(zip(dict.fromkeys(names), cycle(every), strict=False))


def style_axes(axes: Axes) -> None:
    """A light grid; no frame at the top and right."""
    axes.grid(alpha=0.25)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)


def gallery_figure(pictures: Sequence[tuple[str, Path]]) -> Figure:
    """What the memory keeps: the cells' first galleries, four in a row at most, each under its title."""
    drawn = [(title, imread(path)) for title, path in pictures]
    columns = min(4, len(drawn))
    rows = -(-len(drawn) // columns)
    tallest = max(picture.shape[0] / picture.shape[1] for _, picture in drawn)
    figure = Figure(figsize=(3.4 * columns, (3.2 * tallest + 0.6) * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flatten()
    for axes in panels[len(drawn) :]:
        axes.set_axis_off()
    for axes, (title, picture) in zip(panels, drawn, strict=False):
        axes.imshow(picture)
        axes.set_title(title, fontsize=9)
        wide = picture.shape[1] > 3.5 * TILE  # galleries of compressors that read a map show it
        words = ("image", "map", "box", "replayed") if wide else ("image", "box", "replayed")
        places = [picture.shape[1] * (2 * i + 1) / (2 * len(words)) for i in range(len(words))]
        axes.set_xticks(places, words, fontsize=8)
        axes.set_yticks([])
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    return figure


def boxes_figure(pictures: Sequence[tuple[str, Sequence[Path]]]) -> Figure:
    """Boxes and maps without their pictures: a row a cell, its phases side by side; empty where one has no picture."""
    drawn = [(title, [imread(path) if path.is_file() else None for path in paths]) for title, paths in pictures]
    columns = max(len(row) for _, row in drawn)
    figure = Figure(figsize=(2.9 * columns, 1.05 * len(drawn) + 0.3), layout="constrained")
    panels = figure.subplots(len(drawn), columns, squeeze=False)
    for axes in panels.flatten():
        axes.set_axis_off()
    for row, (title, shown) in enumerate(drawn):
        for column, picture in enumerate(shown):
            if picture is not None:
                panels[row, column].imshow(picture)
            panels[row, column].set_title(f"{title}, phase {column + 1}", fontsize=7, loc="left")
    return figure


def confusion_figure(folder: Path, record: Record) -> Iterator[tuple[str, Figure]]:
    """Per head: true class against predicted class after the last phase, rows normalised, phases marked."""
    arrays, _ = load_arrays(folder / "confusion.npz")
    for head, counts in arrays.items():
        share = counts / np.maximum(1, counts.sum(1, keepdims=True))
        figure = Figure(figsize=(5.4, 4.6), layout="constrained")
        axes = figure.subplots()
        image = axes.imshow(share, cmap="viridis", vmin=0, vmax=1)
        for edge in np.cumsum(record.group_sizes)[:-1] - 0.5:
            axes.axhline(edge, color="white", linewidth=0.5)
            axes.axvline(edge, color="white", linewidth=0.5)
        if len(record.class_names) <= 30:
            axes.set_xticks(range(len(record.class_names)), record.class_names, rotation=90, fontsize=6)
            axes.set_yticks(range(len(record.class_names)), record.class_names, fontsize=6)
        axes.set_xlabel("predicted class, in order of arrival")
        axes.set_ylabel("true class")
        figure.colorbar(image, label="share of the true class")
        yield head, figure
