"""Where a cell's results are: results/<suite>/cells/<method>-<compressor>/<seed>, a stage a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cimbench.benchmarks.records.record import Record

FILE_NAME = "record.json"


def cell_folder(results: Path, cell: str) -> Path:
    """The folder of a cell by its name, for instance foster-cim-1993; results: its suite's folder."""
    stage, _, seed = cell.rpartition("-")
    return results / "cells" / stage / seed


def folder_of(results: Path, record: Record) -> Path:
    """The folder of a record's cell; results: the folder of all suites."""
    return cell_folder(results / record.suite, record.cell)


def name_of(folder: Path) -> str:
    """The name of the cell whose folder it is."""
    return f"{folder.parent.name}-{folder.name}"


def suite_of(folder: Path) -> str:
    """The name of the suite that a cell's folder belongs to."""
    return folder.parents[2].name


def record_folders(results: Path, suite: str = "*") -> list[Path]:
    """The folders of all cells that have a record, in the order of their names."""
    return sorted(path.parent for path in results.glob(f"{suite}/cells/*/*/{FILE_NAME}"))
