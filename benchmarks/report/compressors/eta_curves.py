"""Bytes against eta on real photographs: where the area that papers count and the bytes that a disk holds part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import pandas as pd
import torch
from matplotlib.figure import Figure
from torch import Tensor

from cimbench.benchmarks.report.figures.plots import COLOURS
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import area_shares, whole_image_boxes
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format, costs_in_paper_units
from cimbench.methods.compression.exemplars.packing import pack_store

ETAS = (1.5, 2.0, 3.0, 4.0, 6.0, 9.0, 16.0)
BOX_SHARE = 0.35  # of the area, in the middle: at eta 4 that is the published mean cost of about half an image
HOST = torch.device("cpu")


class Curve(NamedTuple):
    """One way to store: its name in the plot, its codec, and how the small image is resampled."""

    name: str
    codec: Codec
    resampling: str


CURVES = (
    Curve("raw pixels", Codec(), "nearest"),
    Curve("JPEG, quality 90, nearest", Codec(name="jpeg", quality=90), "nearest"),
    Curve("JPEG, quality 90, area", Codec(name="jpeg", quality=90), "area_bilinear"),
    Curve("JPEG, quality 50, area", Codec(name="jpeg", quality=50), "area_bilinear"),
    Curve("WebP, quality 90, area", Codec(name="webp", quality=90), "area_bilinear"),
)


def centre_boxes(sizes: Tensor, share: float) -> Tensor:
    """(N, 4) boxes of `share` of each image's area, in its middle."""
    extents = (sizes.flip(1) * share**0.5).round().long()
    corners = (sizes.flip(1) - extents) // 2
    return torch.cat([corners, corners + extents], 1)


def measured(photos: ImageStore, progress: Callable[[int, int], None]) -> pd.DataFrame:
    """For each box, way and eta: stored bytes over those of the whole image stored the same way."""
    boxes = {"box": centre_boxes(photos.sizes, BOX_SHARE), "no box": torch.zeros(len(photos), 4, dtype=torch.int64)}
    whole = whole_image_boxes(photos.sizes)
    rows, done, total = [], 0, len(CURVES) * len(boxes) * len(ETAS)
    for curve in CURVES:
        form = Format(ratio=1.0, resampling=curve.resampling, codec=curve.codec)
        plain = pack_store(photos, whole, form, HOST).headers.lengths
        for kept, xyxy in boxes.items():
            for eta in ETAS:
                held = pack_store(photos, xyxy, replace(form, ratio=eta), HOST).headers.lengths
                rows.append({"box": kept, "way": curve.name, "eta": eta, **_spread(held / plain)})
                done += 1
                progress(done, total)
    return pd.DataFrame([*_paper_rows(photos, boxes), *rows])


def _paper_rows(photos: ImageStore, boxes: dict[str, Tensor]) -> Iterator[dict[str, float | str]]:
    for kept, xyxy in boxes.items():
        for eta in ETAS:
            cost = costs_in_paper_units(xyxy, photos.sizes, Format(ratio=eta))
            yield {"box": kept, "way": "paper units", "eta": eta, **_spread(cost)}


def _spread(shares: Tensor) -> dict[str, float]:
    return {"mean": float(shares.mean()), "lowest": float(shares.min()), "highest": float(shares.max())}


def figure(table: pd.DataFrame, photos: ImageStore) -> Figure:
    """Two panels, with a box and without; a line a way, from 0 to what the whole image takes."""
    drawn = Figure(figsize=(10.5, 4.4), layout="constrained")
    share = float(area_shares(centre_boxes(photos.sizes, BOX_SHARE), photos.sizes).mean())
    titles = {"box": f"a box of {share:.0%} of the area kept", "no box": "everything downsampled"}
    panels = drawn.subplots(1, 2, sharey=True)
    for axes, (kept, title) in zip(panels, titles.items(), strict=True):
        for number, way in enumerate(["paper units", *(curve.name for curve in CURVES)]):
            line = table[(table["box"] == kept) & (table["way"] == way)]
            style = {"color": "black", "linestyle": "--"} if number == 0 else {"color": COLOURS[number - 1]}
            axes.plot(line["eta"], line["mean"], marker="o", markersize=3, label=way, **style)
        axes.set_xscale("log", base=2)
        axes.set_xticks(ETAS, [f"{eta:g}" for eta in ETAS])
        axes.minorticks_off()
        axes.set_xlabel("eta: area by which the image outside the box shrinks")
        axes.set_title(title, fontsize=10)
        axes.axhline(1, color="grey", linewidth=0.8)
        axes.grid(alpha=0.25)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    panels[0].set_ylim(0, None)
    panels[0].set_ylabel("cost, the same image whole = 1")
    drawn.legend(*panels[0].get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside right upper")
    return drawn
