"""The findings' tables are rows of committed tables, and those are what the committed cells give."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cimbench.benchmarks.report.boxes import write_boxes_table
from cimbench.benchmarks.report.tables import write_tables
from cimbench.benchmarks.report.units import suite_records, write_units
from tests.conftest import ROOT, table_rows
from tests.test_documents import committed

MARK = re.compile(r"<!-- from: (\S+) -->\n(.*?)<!-- end -->", re.S)
PAGES = ("results/README.md", "README.md", "docs/performance.md")
BLOCKS = [(page, *found) for page in PAGES for found in MARK.findall((ROOT / page).read_text())]
SUITES = ("tiny", "tiny-masks", "tiny-masks-paper", "tiny-masks-coded")


@pytest.mark.parametrize(("page", "source", "block"), BLOCKS, ids=lambda value: value[:40])
def test_every_row_is_in_the_table_it_is_from(page: str, source: str, block: str) -> None:
    theirs, mine = table_rows(committed(source)), table_rows(block)
    assert mine, page
    for row in mine:
        assert any(row.items() <= other.items() for other in theirs), (page, source, row)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed cells alone."""
    folder = tmp_path_factory.mktemp("results")
    names = [f"results/{suite}/cells" for suite in SUITES]
    listed = subprocess.run(["git", "ls-files", *names], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        place = folder / Path(name).relative_to("results")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place)
    return folder


@pytest.mark.parametrize("suite", SUITES)
def test_the_committed_tables_are_what_the_committed_cells_give(suite: str, results: Path, tmp_path: Path) -> None:
    """In the order of the matrix, which the table's own rows tell."""
    table = table_rows(committed(f"results/{suite}/tables/comparison.md"))
    order = list(dict.fromkeys((row["method"], row["compressor"]) for row in table))
    records = sorted(suite_records(results / suite), key=lambda record: record.config["seed"])
    records.sort(key=lambda r: order.index((r.config["method"]["name"], r.config["compressor"]["name"])))
    write_tables(tmp_path, records, {})
    write_boxes_table(tmp_path, records)
    there = subprocess.run(
        ["git", "ls-files", f"results/{suite}/tables"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    compared = [path for path in sorted(tmp_path.iterdir()) if f"results/{suite}/tables/{path.name}" in there]
    assert {"comparison.md", "comparison.csv", "comparison.tex"} <= {path.name for path in compared}
    for path in compared:
        made, there = path.read_text(), committed(f"results/{suite}/tables/{path.name}")
        there = "\n".join(line for line in there.splitlines() if ": not run" not in line)
        assert made.split() == there.split(), path.name


def test_the_units_side_by_side_are_what_the_committed_cells_give(results: Path) -> None:
    path = write_units(results, ["tiny-masks", "tiny-masks-paper", "tiny-masks-coded"])
    assert path.read_text() == committed("results/units/tiny-masks.md")
