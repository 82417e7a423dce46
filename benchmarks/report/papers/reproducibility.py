"""REPRODUCIBILITY.md: every published number beside ours, what has been measured, deviations, and what switches do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from cimbench.benchmarks.registry import METHODS, note
from cimbench.benchmarks.report.papers.cells import PaperCell, paper_cells
from cimbench.benchmarks.report.papers.spec import PaperTable, load_paper_table
from cimbench.benchmarks.report.tables import formatted
from cimbench.benchmarks.suite.compose import table_names
from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError

PAGE = Path("REPRODUCIBILITY.md")
HEADER = """# Reproducibility

Made by `cimbench reproducibility` from results/ and conf/; do not edit. A number is verified where the published one
lies within Student's 95 % interval of ours, half of which is at most two points; that takes three seeds or more.
"""
DEVIATIONS = (
    "What a method does otherwise than its paper, and what the papers leave open, is in docs/errata.md and "
    "docs/cim.md; what bears on the tables:"
)


def _published_section(table: PaperTable, cells: Sequence[PaperCell]) -> str:
    """One line a cell that was published."""
    rows = [
        {
            "method": cell.row.name,
            "setting": cell.setting.name,
            "published": f"{cell.published.value:.2f}",
            "ours": _ours(cell),
            "gap": "-" if cell.gap is None else f"{cell.gap:+.1f}",
            "n": str(len(cell.values)),
            "verified": cell.verified,
            "why not": _why_not(cell),
        }
        for cell in cells
        if cell.published is not None
    ]
    text = formatted(pd.DataFrame(rows), "github", 2)
    where = (
        f"Sources and notes: [results/{table.name}/tables/comparison.md](results/{table.name}/tables/comparison.md)."
    )
    return f"### {table.name}\n\n{table.title}. {where}\n\n{text}\n"


def _ours(cell: PaperCell) -> str:
    if cell.mean is None:
        return "-"
    return f"{cell.mean:.1f}" + ("" if cell.half_width is None else f" ± {cell.half_width:.1f}")


def _why_not(cell: PaperCell) -> str:
    if cell.reason:
        return cell.reason
    if cell.half_width is None:
        return "fewer than three seeds"
    if cell.verified == "open":
        return "our interval is too wide to tell"
    return "" if cell.verified == "yes" else "outside our interval"


def _measured_section(results: Path) -> str:
    """One line a suite with a table, as the table's own caption says it."""
    rows = []
    paths = {path.parents[1].name: path for path in results.glob("*/tables/comparison.csv")}
    paths |= {
        path.parents[1].name: path for path in results.glob("reference/*/tables/comparison.csv")
    }  # else not in git
    for name, path in sorted(paths.items()):
        if name in table_names():
            continue
        try:
            numbers = pd.read_csv(path)
        except pd.errors.ParserError as error:
            raise InputError(f"{path}: cannot be read ({error}); cimbench report writes it again") from error
        except pd.errors.EmptyDataError as error:
            raise InputError(f"{path}: is empty; cimbench report writes it again") from error
        rows.append(
            {
                "suite": f"[{name}]({path.with_suffix('.md').relative_to(results.parent)})",
                "hosts": ", ".join(dict.fromkeys(numbers.method)),
                "compressors": ", ".join(dict.fromkeys(numbers.compressor)),
                "how": path.with_name("comparison.md").read_text().split("\n", 1)[0],
            }
        )
    return formatted(pd.DataFrame(rows), "github", 4) if rows else "Nothing yet."


def reproducibility_text(results: Path = Path("results")) -> str:
    """The whole page."""
    from cimbench.benchmarks.report.papers.errata import NOTE, errata_table

    parts = [HEADER, "## Published numbers\n"]
    for name in table_names():
        table = load_paper_table(name)
        parts.append(_published_section(table, paper_cells(table)))
    notes = "\n".join(f"- {method}: {words}" for method in METHODS if (words := note(method)))
    parts += [
        "## What was measured here\n",
        f"Own settings have no published numbers beside them.\n\n{_measured_section(results)}\n",
        f"## Deviations\n\n{DEVIATIONS}\n\n{notes}\n",
        f"## What the switches of the errata do\n\n{NOTE}\n\n{formatted(errata_table(), 'github', 4)}\n",
    ]
    return "\n".join(parts)


def write_reproducibility(page: Path = PAGE) -> Path:
    """Write the page, atomically."""
    text = reproducibility_text()
    write_atomically(page, lambda file: file.write(text.encode()))
    return page
