"""results/<suite>/report.html: one page with everything in it, for a phone, a desk and paper."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from cimbench.benchmarks.records.places import cell_folder
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report import page_tables
from cimbench.benchmarks.report.figures.curves import curve_figure
from cimbench.benchmarks.report.figures.inline import Drawing, inline_png, inline_svg
from cimbench.benchmarks.report.figures.memory_curves import memory_figure, with_memory
from cimbench.benchmarks.report.figures.pareto import NOTE, bounded_points, pareto_figure, pareto_points
from cimbench.benchmarks.report.intervals import WORDS
from cimbench.benchmarks.report.tables import caption, footnotes
from cimbench.benchmarks.suite.config import Cell, Suite
from cimbench.datasets.arrays import write_atomically

NAME = "report.html"
PICTURE_BYTES = 900_000  # of galleries, and as many of boxes, in the page; the others are named
GALLERY = "Each row a class: the image, the map (where there is one), its box, and what is replayed of it."
BOXES = (
    "A row a cell, from the first phase to the last. White: the exemplar's box. Black: ground-truth box. Grey: no map."
)


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A drawing, its title, and the words under it."""

    key: str
    title: str
    drawing: Drawing
    words: str


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """PNG files of cells, one row of data addresses a cell; left_out: how many cells' were too many for one page."""

    title: str
    words: str
    rows: tuple[tuple[str, tuple[str, ...]], ...]
    left_out: int

    @property
    def single(self) -> bool:
        """Whether each cell has one picture."""
        return all(len(images) == 1 for _, images in self.rows)


def figures(records: Sequence[Record]) -> list[Figure]:
    """Accuracy over phases; accuracy against bytes; what the memory holds."""
    words = f"Accuracy over all classes seen so far, mean over seeds. {WORDS}"
    drawn = [("curves", "Accuracy over phases", curve_figure(records, columns=2), words)]
    if bounded_points(pareto_points(records)):
        drawn.append(("pareto", "Accuracy against bytes", pareto_figure(records), f"{NOTE} {WORDS}"))
    if remembering := with_memory(records):
        words = f"After each phase: exemplars held, and the share of an exemplar's area that keeps its pixels. {WORDS}"
        drawn.append(("memory", "Exemplars and boxes over phases", memory_figure(remembering), words))
    return [
        Figure(
            key=key,
            title=title,
            drawing=inline_svg(figure, key, f"{title}; the numbers are in phases.csv"),
            words=said,
        )
        for key, title, figure, said in drawn
    ]


def pictures(title: str, words: str, cells: Sequence[tuple[str, Sequence[Path]]]) -> Pictures | None:
    """The files that are there, cell by cell until they are too many bytes; None where there is none."""
    found = [(name, [path for path in paths if path.is_file()]) for name, paths in cells]
    found = [(name, paths) for name, paths in found if paths]
    spent, rows = 0, list[tuple[str, tuple[str, ...]]]()
    for name, paths in found:
        spent += sum(path.stat().st_size for path in paths)
        if spent > PICTURE_BYTES:
            break
        rows.append((name, tuple(map(inline_png, paths))))
    if not found:
        return None
    return Pictures(title=title, words=words, rows=tuple(rows), left_out=len(found) - len(rows))


def galleries(firsts: Sequence[Cell], phases: int) -> list[Pictures]:
    """What the memory keeps of the first phase, and the boxes of every phase, of the cells of one seed."""
    kept = [(cell.title, [cell.folder / "gallery-phase-1.png"]) for cell in firsts]
    numbers = range(1, phases + 1)
    boxes = [(cell.title, [cell.folder / f"boxes-phase-{number}.png" for number in numbers]) for cell in firsts]
    found = (pictures("What the memory keeps", GALLERY, kept), pictures("Boxes and maps", BOXES, boxes))
    return [one for one in found if one is not None]


def _shared_configuration(records: Sequence[Record]) -> str:
    """What all cells have in common, as JSON."""
    first = records[0].config
    same = {name: value for name, value in first.items() if all(record.config[name] == value for record in records)}
    return json.dumps(same, indent=1, sort_keys=True)


def contents(
    suite: Suite, records: Sequence[Record], absent: Mapping[str, str], firsts: Sequence[Cell]
) -> dict[str, Any]:
    """Everything that the template prints."""
    cells = [cell_folder(suite.results, record.cell) for record in records]
    return {
        "suite": records[0].suite,
        "caption": caption(records),
        "comparison": page_tables.comparison(records),
        "footnotes": footnotes(records, {}),
        "differences": page_tables.differences(records),
        "absences": page_tables.absences(absent),
        "figures": figures(records),
        "galleries": galleries(firsts, len(records[0].phases)),
        "boxes": page_tables.boxes(records),
        "sizes": page_tables.sizes(records, cells, suite.store),
        "throughput": page_tables.throughput(),
        "provenance": page_tables.provenance(records),
        "configuration": _shared_configuration(records),
        "commit": records[0].provenance["commit"],
        "results": str(suite.results),
    }


def page(content: Mapping[str, Any]) -> str:
    """The HTML; every value is escaped but the drawings."""
    folder = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja").render(content)


def write_page(suite: Suite, records: Sequence[Record], absent: Mapping[str, str], firsts: Sequence[Cell]) -> Path:
    """The page in the suite's folder; the same records give the same bytes."""
    path = suite.results / NAME
    text = page(contents(suite, records, absent, firsts))
    write_atomically(path, lambda file: file.write(text.encode()))
    return path
