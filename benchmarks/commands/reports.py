"""The verbs that show what was measured: report, show, units, pictures."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from cimbench.benchmarks.commands.measured import measured
from cimbench.benchmarks.commands.progress_bar import bar
from cimbench.benchmarks.suite.config import Suite

PHOTOGRAPHS = "$CIMBENCH_SHARED/data/imagenet-samples-64.tar"


def report(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Write the suite's tables, pictures and page from its records."""
    from cimbench.benchmarks.report.suite_report import write_report

    records, absent = measured(suite)
    *others, page = write_report(suite, records, absent)
    return f"{', '.join(map(str, others))}: written. Next: cimbench show, or open {page} in a browser"


def show(suite: Suite, _arguments: argparse.Namespace) -> str:
    """Print the suite's table and where everything is."""
    from cimbench.benchmarks.report.page import NAME
    from cimbench.benchmarks.report.tables import caption, footnotes, formatted, reading_table

    records, absent = measured(suite)
    table = reading_table(records).drop(columns=["forgetting (%)", "spent", "filled (%)", "per class", "model (kB)"])
    print(f"\n{formatted(table, 'simple')}\n\n{caption(records)}")
    for note in footnotes(records, absent):
        print(f"- {note}")
    page = suite.results / NAME
    there = "everything, for a browser" if page.is_file() else "not there yet (cimbench report)"
    return (
        f"\npage     {page}: {there}"
        f"\ntable    {suite.results}/tables/comparison.md (also .csv, .tex)"
        f"\npicture  {suite.results}/plots/accuracy-over-phases.png"
        f"\ngallery  {suite.results}/plots/what-the-memory-keeps.png (all phases: {suite.results}/cells/)"
        "\nnext     mlflow ui: compare the runs in a browser; dvc exp run -S budget.exemplars_per_class=5: change a "
        'parameter;\n         dvc exp run -S suite=food101-mini: another suite (README, "Run something else")'
    )


def units(_suite: None, arguments: argparse.Namespace) -> str:
    """Put suites that differ in the budget's unit side by side."""
    from cimbench.benchmarks.report.units import write_units

    return f"{write_units(Path('results'), arguments.suites)}: the units side by side"


def pictures(_suite: Suite, arguments: argparse.Namespace) -> str:
    """Draw what each compressor keeps of two photographs, and bytes against eta on many."""
    from cimbench.benchmarks.report.compressors.compression import draw_bytes_against_eta, draw_compressors

    with bar("drawing") as progress:
        written = draw_compressors(progress)
    archive = Path(os.path.expandvars(arguments.photographs))
    if not archive.is_file():
        return f"{', '.join(map(str, written))}: drawn. Bytes against eta: not, {archive} is absent (--photographs)"
    with bar("measuring bytes") as progress:
        written += draw_bytes_against_eta(archive, progress)
    return f"{', '.join(map(str, written))}: drawn. Next: look at docs/compression.md"


def arguments_of_units(parser: argparse.ArgumentParser) -> None:
    """Which suites."""
    parser.add_argument("suites", nargs="+", help="names of suites with results, for instance tiny-masks")


def arguments_of_pictures(parser: argparse.ArgumentParser) -> None:
    """Which photographs."""
    parser.add_argument("--photographs", default=PHOTOGRAPHS, help=f"tar of photographs (default: {PHOTOGRAPHS})")
