"""One picture a compressor: photographs, boxes, what is stored of them, what replay sees, and the bytes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from cimbench.benchmarks.registry import COMPRESSORS, load
from cimbench.benchmarks.report.compressors.sample_photographs import CLOSE_UPS, random_crops, trained_network
from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.randomness import generator
from cimbench.methods.compression.compressor import Compressor, compressed
from cimbench.methods.compression.exemplars.codecs import RAW, Codec
from cimbench.methods.compression.exemplars.exemplar import costs_in_paper_units
from cimbench.methods.compression.exemplars.packing import stored_parts
from cimbench.methods.compression.exemplars.store import ExemplarStore
from cimbench.methods.networks.network import Network

COLUMNS = ("photograph", "box", "stored parts, to scale", "replayed", "replayed, close up")
CODED = Codec(name="jpeg", quality=90)
_HELD_OUT = 40  # crops of each photograph, for the compressor that chooses on held-out images


def parts(store: ExemplarStore, index: int) -> list[Tensor]:
    """The crop and the small image that exemplar `index` holds, each (3, h, w); absent ones left out."""
    both = stored_parts(store.content(index), store.headers[torch.tensor([index])], store.format)
    return [part for part in both if part.numel()]


def made(name: str) -> Compressor:
    """The compressor with its default parameters."""
    cls, parameters = load("compressor", COMPRESSORS, name)
    compressor: Compressor = cls(parameters())
    return compressor


class Stored(NamedTuple):
    """The photographs as one compressor stores them, under a raw and under a coded budget."""

    raw: ExemplarStore
    coded: ExemplarStore


def stored(name: str, photos: ImageStore, network: Network) -> Stored:
    """By a compressor with its default parameters; one whose masks learn does so beside a network of its own."""
    compressor = made(name)
    if compressor.rational_activations:
        network = trained_network(photos, lambda _done, _total: None, compressor)
    if compressor.needs_held_out:
        compressor.tune(random_crops(photos, _HELD_OUT, "held out"), network, compressor.format(RAW))
    forms = [compressor.format(codec) for codec in (RAW, CODED)]
    return Stored(*(compressed(photos, compressor, network, form, generator(0, name)).exemplars for form in forms))


def shares(held: Stored, plain: Stored) -> list[dict[str, float]]:
    """What each photograph costs in the three units, as shares of the same photograph stored whole."""
    paper = costs_in_paper_units(held.raw.headers.boxes, held.raw.headers.sizes, held.raw.format).tolist()
    raw, coded = ((one.lengths / whole.lengths).tolist() for one, whole in zip(held, plain, strict=True))
    names = ("paper units", "raw bytes", "coded bytes")
    return [dict(zip(names, row, strict=True)) for row in zip(paper, raw, coded, strict=True)]


def picture(name: str, photos: ImageStore, held: Stored, plain: Stored) -> Figure:
    """One row a photograph: as it is, its box, the stored parts at one scale, what replay sees; its bytes above."""
    height, width = photos.sizes[0].tolist()
    figure = Figure(figsize=(15, 2.5 * len(photos)), layout="constrained")
    grid = figure.subplots(len(photos), len(COLUMNS), squeeze=False)
    costs, shown = shares(held, plain), held.raw.images()
    for i, axes in enumerate(grid):
        x0, y0, x1, y1 = held.raw.headers.boxes[i].tolist()
        for panel in (0, 1):
            axes[panel].imshow(photos.image(i).permute(1, 2, 0))
        frame = {"edgecolor": "#D55E00", "facecolor": "none", "linewidth": 2}
        axes[1].add_patch(Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, **frame))
        _draw_parts(axes[2], parts(held.raw, i), height, width)
        axes[3].imshow(shown.image(i).permute(1, 2, 0))
        left, top, right, bottom = CLOSE_UPS[i]
        axes[4].imshow(shown.image(i)[:, top:bottom, left:right].permute(1, 2, 0), interpolation="nearest")
        axes[0].set_title(_bytes_in_words(held, i, costs[i]), loc="left", fontsize=9).set_in_layout(False)
        for panel, words in zip(axes, COLUMNS, strict=True):
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_xlabel(words, fontsize=8)
    figure.suptitle(name, x=0.01, ha="left", fontsize=12, fontweight="bold")
    return figure


def _bytes_in_words(held: Stored, index: int, costs: dict[str, float]) -> str:
    kilobytes = {"raw bytes": held.raw.lengths[index] / 1e3, "coded bytes": held.coded.lengths[index] / 1e3}
    sizes = ", ".join(
        f"{unit} {float(size):.0f} kB = {costs[unit]:.2f} of the whole" for unit, size in kilobytes.items()
    )
    return f"{sizes}; paper units {costs['paper units']:.2f}"


def _draw_parts(axes: Axes, pieces: list[Tensor], height: int, width: int) -> None:
    """The parts side by side on a canvas of the photograph's size, none of them enlarged; wider canvases shrink all."""
    gap = 12
    total = sum(piece.shape[2] for piece in pieces) + gap * max(0, len(pieces) - 1)
    left = 0
    for piece in pieces:
        axes.imshow(piece.permute(1, 2, 0), extent=(left, left + piece.shape[2], piece.shape[1], 0))
        left += piece.shape[2] + gap
    axes.set_xlim(0, max(width, total))
    axes.set_ylim(max(height, *(piece.shape[1] for piece in pieces)) if pieces else height, 0)
    axes.set_aspect("equal")
    axes.spines[:].set_visible(False)


def draw_all(folder: Path, photos: ImageStore, network: Network, progress: Callable[[int, int], None]) -> pd.DataFrame:
    """Write <compressor>.jpg for every compressor of the registry; returns what each photograph costs by each."""
    plain, rows = stored("none", photos, network), []
    for number, name in enumerate(COMPRESSORS):
        held = stored(name, photos, network)
        save(picture(name, photos, held, plain), folder / f"{name}.jpg")
        for i, costs in enumerate(shares(held, plain)):
            rows.append({"compressor": name, "photograph": photos.names[i], **costs})
        progress(number + 1, len(COMPRESSORS))
    return pd.DataFrame(rows)


def save(figure: Figure, path: Path) -> None:
    """Write a JPEG, atomically: these are photographs."""
    options = {"quality": 82, "optimize": True}
    write_atomically(path, lambda file: figure.savefig(file, format="jpg", dpi=100, pil_kwargs=options))
