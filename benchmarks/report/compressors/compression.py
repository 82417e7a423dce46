"""The pictures and numbers of docs/compression.md, in results/compression/."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd

from cimbench.benchmarks.report.compressors.compressor_pictures import draw_all
from cimbench.benchmarks.report.compressors.eta_curves import figure, measured
from cimbench.benchmarks.report.compressors.sample_photographs import (
    read_photographs,
    sample_photographs,
    trained_network,
)
from cimbench.benchmarks.report.figures.plots import own_style, save_figure
from cimbench.datasets.arrays import write_atomically

RESULTS = Path("results/compression")
Progress = Callable[[int, int], None]


@own_style()
def draw_compressors(progress: Progress) -> list[Path]:
    """One picture a compressor, and a table of what each photograph costs in the three units."""
    photos = sample_photographs()
    network = trained_network(photos, progress)
    table = draw_all(RESULTS, photos, network, progress)
    units = ["paper units", "raw bytes", "coded bytes"]
    table[units] = table[units].map("{:.2f}".format)
    return [_write_table(RESULTS / "costs.md", table), RESULTS / f"{table['compressor'].iloc[0]}.jpg"]


@own_style()
def draw_bytes_against_eta(archive: Path, progress: Progress) -> list[Path]:
    """The curves, and the numbers behind them."""
    photos = read_photographs(archive)
    table = measured(photos, progress)
    save_figure(figure(table, photos), RESULTS / "bytes-against-eta.png")
    numbers = table.assign(**{name: table[name].map("{:.3f}".format) for name in ("mean", "lowest", "highest")})
    return [RESULTS / "bytes-against-eta.png", _write_table(RESULTS / "bytes-against-eta.md", numbers)]


def _write_table(path: Path, table: pd.DataFrame) -> Path:
    text = table.to_markdown(index=False, disable_numparse=True) + "\n"
    write_atomically(path, lambda file: file.write(text.encode()))
    return path
