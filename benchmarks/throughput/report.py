"""pytest-benchmark's JSON as a table and a plot in results/throughput/: `python -m` this, with the file."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from cimbench.benchmarks.report.figures.plots import COLOURS, own_style, save_figure
from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError

RESULTS = Path("results/throughput")
NOTE = (
    "Medians. MB: bytes that the step has to read and write, an image. Share: of the ceiling's speed, measured in the "
    "same run: a copy of as many bytes on the same device, or what the row names. Reference: the procedure of the "
    "published code (docs/cim.md), image by image on one core (benchmarks/throughput/reference.py), from activation "
    "maps and decoded pictures. Memory: the most that is allocated at once, of what the ceiling allocates."
)


def read(path: Path) -> list[dict[str, Any]]:
    """The rows that benchmarks/throughput wrote into pytest-benchmark's JSON."""
    try:
        benchmarks = json.loads(path.read_text())["benchmarks"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: is no pytest-benchmark JSON ({error}); make it with make bench") from error
    return [benchmark["extra_info"] for benchmark in benchmarks]


def table(rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
    """One row a measurement, numbers plain."""
    return pd.DataFrame(
        {
            "step": row["step"],
            "input": row["input"],
            "images/s": row["images"] / row["seconds"],
            "MB": row["moved"] / row["images"] / 1e6,
            "ceiling": row["ceiling_name"],
            "share": row["ceiling_seconds"] / row["seconds"],
            "times the reference": row["reference_seconds"] / row["seconds"] if row["reference_seconds"] else None,
            "memory": row.get("memory"),
            "bound by": row["bound"],
        }
        for row in rows
    )


def header(rows: Sequence[dict[str, Any]]) -> str:
    """Hardware, versions and commit of a run."""
    origin = rows[0]["surroundings"]
    hardware, versions = origin["hardware"], origin["versions"]
    device = (
        hardware["device"] if hardware["device"] != "cpu" else f"{hardware['processor']}, {hardware['cores']} cores"
    )
    commit = f"{(origin['commit'] or 'unknown')[:10]}{' with changes' if origin['sources_changed'] else ''}"
    return (
        f"{device}; Python {versions['python']}, torch {versions['torch']}, torchvision {versions['torchvision']}, "
        f"numpy {versions['numpy']}; commit {commit}; {origin['started'][:10]}."
    )


def markdown(numbers: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> str:
    """The table for people, with its header and what the columns mean."""
    words = numbers.assign(
        **{
            "images/s": numbers["images/s"].map("{:,.0f}".format),
            "MB": numbers["MB"].map("{:.3f}".format),
            "share": numbers["share"].map("{:.0%}".format),
            "times the reference": numbers["times the reference"].map(
                lambda times: "-" if pd.isna(times) else f"{times:.1f} x"
            ),
            "memory": numbers["memory"].map(lambda share: "-" if pd.isna(share) else f"{share:.0%}"),
        }
    )
    alignment = ["left", "left", "right", "right", "left", "right", "right", "right", "left"]
    text = words.to_markdown(index=False, disable_numparse=True, colalign=alignment)
    return f"{header(rows)}\n\n{text}\n\n{NOTE}\nMade by `make bench`.\n"


def figure(numbers: pd.DataFrame, rows: Sequence[dict[str, Any]]) -> Figure:
    """Each step's share of its ceiling; where there is a reference, how many times as fast."""
    drawn = Figure(figsize=(9, 0.42 * len(numbers) + 1.2), layout="constrained")
    axes = drawn.subplots()
    names = [f"{step}, {data}" for step, data in zip(numbers["step"], numbers["input"], strict=True)]
    places = range(len(names))
    axes.barh(places, 100 * numbers["share"], color=COLOURS[0], height=0.62)
    for place, (share, rate, times) in enumerate(
        zip(numbers["share"], numbers["images/s"], numbers["times the reference"], strict=True)
    ):
        told = f"{rate:,.0f} images/s" + ("" if pd.isna(times) else f", {times:.1f} x the reference")
        axes.text(100 * share + 1, place, told, va="center", fontsize=8)
    axes.axvline(100, color=COLOURS[1], linewidth=1)
    axes.set_yticks(places, names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, max(150.0, 135 * float(numbers["share"].max())))
    axes.set_xlabel("share of the ceiling's speed (%)")
    axes.set_title(header(rows), fontsize=8, loc="left")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    return drawn


@own_style()
def write(path: Path, folder: Path = RESULTS, part: str = "") -> list[Path]:
    """For each device in the JSON: cpu.md, .csv, .png (or cuda.md, ...) in `folder`; of a part, learning-cpu.md, ..."""
    measured, written = read(path), list[Path]()
    for device in sorted({row["device"] for row in measured}):
        rows = [row for row in measured if row["device"] == device]
        numbers, name = table(rows), f"{part}-{device}" if part else device
        _write_text(folder / f"{name}.md", markdown(numbers, rows))
        _write_text(folder / f"{name}.csv", numbers.to_csv(index=False))
        save_figure(figure(numbers, rows), folder / f"{name}.png")
        written += [folder / f"{name}.{kind}" for kind in ("md", "csv", "png")]
    return written


def _write_text(path: Path, text: str) -> None:
    write_atomically(path, lambda file: file.write(text.encode()))


def main() -> None:
    """Write the report of the JSON file on the command line, under the name of a part that follows; say where it is."""
    written = write(Path(sys.argv[1]), part="".join(sys.argv[2:3]))
    for path in written:
        if path.suffix == ".md":
            print(path.read_text())
    print(f"Written: {', '.join(map(str, written))}. Commit them to keep them.")


if __name__ == "__main__":
    main()
