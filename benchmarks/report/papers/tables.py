"""A paper's table as people read it: ours, the published number and the gap below one another; md, csv and tex."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cimbench.benchmarks.report.papers.cells import PaperCell, paper_cells
from cimbench.benchmarks.report.papers.spec import PaperTable
from cimbench.benchmarks.report.tables import UNIT_WORDS, formatted
from cimbench.datasets.arrays import write_atomically

_LATEX = {character: f"\\{character}" for character in "&%$#_{}"} | {"±": "$\\pm$", "~": r"\textasciitilde{}"}
KINDS = ("ours", "published", "gap")


class Footnotes:
    """Texts that many cells share, numbered in the order of their first use."""

    def __init__(self) -> None:
        self._texts: dict[str, int] = {}

    def mark(self, text: str) -> str:
        """The text's number in brackets."""
        return f"[{self._texts.setdefault(text, len(self._texts) + 1)}]"

    def lines(self) -> list[str]:
        """All of them."""
        return [f"[{number}] {text}" for text, number in self._texts.items()]


def numbers_frame(table: PaperTable, cells: Sequence[PaperCell]) -> pd.DataFrame:
    """One row a cell: plain numbers, where the published one is from, and why ours is absent."""
    rows = []
    for cell in cells:
        setting, published = cell.setting, cell.published
        rows.append(
            {
                "row": cell.row.name,
                "setting": setting.name,
                "method": cell.row.method,
                "compressor": cell.row.compressor,
                "head": cell.row.head,
                "suite": cell.records[0].suite if cell.records else "",
                "metric": setting.metric or table.metric,
                "seeds": len(cell.values),
                "ours": cell.mean,
                "half_width_95": cell.half_width,
                "published": None if published is None else published.value,
                "gap": cell.gap,
                "imported": " ".join(f"{value:.2f}" for value in cell.imported_values),
                "imported_logs": " ".join(run.log_name for run in cell.imported),
                "why_empty": cell.reason,
                "published_source": "" if published is None else f"{published.source}; {published.seen_at}",
            }
        )
    return pd.DataFrame(rows)


def reading_frame(table: PaperTable, cells: Sequence[PaperCell]) -> tuple[pd.DataFrame, list[str]]:
    """Three lines a row of the paper, a fourth where logs were imported, one column a setting; and the footnotes."""
    notes = Footnotes()
    places = {(cell.row.name, cell.setting.name): cell for cell in cells}
    lines: list[dict[str, str]] = []
    for row in table.rows:
        mine = [places[row.name, setting.name] for setting in table.settings]
        told = [_told(table, cell, notes) for cell in mine]
        for number, kind in enumerate(KINDS):
            line = {"method": row.name if number == 0 else "", " ": kind}
            line |= {cell.setting.name: text[number] for cell, text in zip(mine, told, strict=True)}
            lines.append(line)
        if any(cell.imported or cell.left_out for cell in mine):
            line = {"method": "", " ": "imported"}
            lines.append(line | {cell.setting.name: _imported(cell, notes) for cell in mine})
    return pd.DataFrame(lines), notes.lines()


def _told(table: PaperTable, cell: PaperCell, notes: Footnotes) -> tuple[str, str, str]:
    """ours, published, gap."""
    if cell.mean is None:
        ours = f"- {notes.mark(f'Empty: {cell.reason}.')}"
    else:
        half = "" if cell.half_width is None else f" ± {cell.half_width:.1f}"
        ours = f"{cell.mean:.1f}{half} ({len(cell.values)})"
        ours += f" {notes.mark(f'Left out: {cell.note}.')}" if cell.note else ""
    if cell.published is None:
        published = f"- {notes.mark('Not published, as far as seen.')}"
    else:
        source = f"{cell.published.source}; {cell.published.seen_at}; {cell.published.confidence}."
        marks = [notes.mark(source), *(notes.mark(n.text) for n in table.notes if n.is_about(cell.row, cell.setting))]
        published = f"{cell.published.value:.2f} {''.join(marks)}"
    return ours, published, "-" if cell.gap is None else f"{cell.gap:+.1f}"


def _imported(cell: PaperCell, notes: Footnotes) -> str:
    """What other codes' logs say, and whose they are; incomplete ones are named and not counted."""
    marks = [
        notes.mark(f"Imported from {run.log_name} ({run.source}, seed {run.seed}), not run here.")
        for run in cell.imported
    ]
    marks += [
        notes.mark(f"{run.log_name} stops after {len(run.curve)} of {run.evaluations} phases and is left out.")
        for run in cell.left_out
    ]
    by_source: dict[str, list[float]] = {}
    for run, value in zip(cell.imported, cell.imported_values, strict=False):
        by_source.setdefault(run.source, []).append(value)
    told = [f"{source} {np.mean(values):.1f} ({len(values)})" for source, values in by_source.items()]
    return " ".join([", ".join(told) or "-", "".join(marks)]).strip()


def caption(table: PaperTable) -> str:
    """What the table is about and how to make its cells."""
    first = next(iter(table.suites.values()))
    unit = UNIT_WORDS[first.budget.unit].format(codec=first.budget.codec, quality=first.budget.quality)
    network = first.network
    return (
        f"{table.title}. Budget counted in {unit}. Network: {network.architecture}, width {network.width}, "
        f"{network.input_side} px. Recipe: {first.recipe}. Ours: mean, ± half of Student's 95 % interval from three "
        f"seeds on, number of seeds in brackets. Gap: ours less the published number. "
        f"Suites: {', '.join(table.suites)}; one of them: dvc exp run -S suite={first.suite}."
    )


def latex_text(words: str) -> str:
    """The words with LaTeX's own characters written as such."""
    return "".join(_LATEX.get(character, character) for character in words)


def write_paper_table(table: PaperTable, results: Path = Path("results")) -> tuple[list[Path], list[PaperCell]]:
    """results/<name>/tables/comparison.{md,csv,tex}, and the cells."""
    cells = paper_cells(table)
    frame, notes = reading_frame(table, cells)
    text = caption(table)
    footer = "".join(f"\n- {line}" for line in notes)
    latex = formatted(frame, "latex_booktabs", 2).replace("±", "$\\pm$")
    contents = {
        "comparison.md": f"{text}\n\n{formatted(frame, 'github', 2)}\n{footer}\n",
        "comparison.csv": numbers_frame(table, cells).to_csv(index=False, float_format="%.6g"),
        "comparison.tex": f"{latex}\n\n" + "".join(f"\\par {latex_text(line)}\n" for line in [text, *notes]),
    }
    paths = []
    for name, content in contents.items():
        path = results / table.name / "tables" / name
        write_atomically(path, lambda file, content=content: file.write(content.encode()))  # type: ignore[misc]
        paths.append(path)
    return paths, cells
