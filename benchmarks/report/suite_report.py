"""Everything that `cimbench report` writes of a suite: tables, pictures, files for other programs, the page."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from cimbench.benchmarks.imported.imported_run import load_imported
from cimbench.benchmarks.records.places import cell_folder
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.boxes import write_boxes_table
from cimbench.benchmarks.report.figures.curves import curve_figure
from cimbench.benchmarks.report.figures.memory_curves import memory_figure, with_memory
from cimbench.benchmarks.report.figures.pareto import bounded_points, pareto_figure, pareto_points
from cimbench.benchmarks.report.figures.plots import boxes_figure, gallery_figure, own_style, save_figure
from cimbench.benchmarks.report.measurements import write_measurements
from cimbench.benchmarks.report.page import write_page
from cimbench.benchmarks.report.sizes import write_sizes
from cimbench.benchmarks.report.tables import write_tables
from cimbench.benchmarks.suite.config import Cell, Suite


@own_style()
def write_report(suite: Suite, records: Sequence[Record], absent: Mapping[str, str]) -> list[Path]:
    """Paths of what was written, the page last. records: the suite's complete ones; absent: reasons for the others."""
    tables, cells = suite.results / "tables", [cell_folder(suite.results, record.cell) for record in records]
    paths = write_tables(tables, records, absent, load_imported(), suite.metrics)
    paths += write_boxes_table(tables, records)
    paths += write_sizes(tables, records, cells, suite.store)
    firsts = first_cells(suite, records)
    for name, figure in _figures(records, firsts):
        path = suite.results / "plots" / f"{name}.png"
        save_figure(figure, path)
        paths.append(path)
    paths += write_measurements(suite.results, records)
    return [*paths, write_page(suite, records, absent, firsts)]


def first_cells(suite: Suite, records: Sequence[Record]) -> list[Cell]:
    """The complete cells of the first seed, whose pictures are shown."""
    complete = {record.cell for record in records}
    return [cell for cell in suite.cells() if cell.seed == suite.matrix.seeds[0] and cell.name in complete]


def _figures(records: Sequence[Record], firsts: Sequence[Cell]) -> Iterator[tuple[str, Figure]]:
    """File name and figure of each picture that there is something for."""
    yield "accuracy-over-phases", curve_figure(records)
    if bounded_points(pareto_points(records)):
        yield "accuracy-against-bytes", pareto_figure(records)
    if remembering := with_memory(records):
        yield "memory-over-phases", memory_figure(remembering)
    shown = [(cell.title, cell.folder / "gallery-phase-1.png") for cell in firsts]
    if shown := [(title, path) for title, path in shown if path.is_file()]:
        yield "what-the-memory-keeps", gallery_figure(shown)
    phases = range(1, len(records[0].phases) + 1)
    boxes = [(cell.title, [cell.folder / f"boxes-phase-{phase}.png" for phase in phases]) for cell in firsts]
    if boxes := [(title, paths) for title, paths in boxes if any(path.is_file() for path in paths)]:
        yield "boxes", boxes_figure(boxes)
