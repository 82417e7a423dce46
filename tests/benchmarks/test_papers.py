"""The papers' tables: every printed number against the collected ones, measured cells against hand-made records."""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cimbench.benchmarks.commands.papers import papers
from cimbench.benchmarks.report.papers.cells import paper_cells
from cimbench.benchmarks.report.papers.published_numbers import NUMBERS
from cimbench.benchmarks.report.papers.spec import check_comparable
from cimbench.benchmarks.report.papers.tables import numbers_frame, reading_frame, write_paper_table
from cimbench.benchmarks.suite.compose import CONFIGURATIONS, table_names
from cimbench.datasets.errors import InputError
from tests.benchmarks.paper_records import cell_of, record_of, table_of
from tests.conftest import ROOT

# the poster's main table, typed from it: FOSTER and FOSTER with CIM, in the order of the table's settings
POSTER = {
    "DER": [73.88, 70.76, 64.39, 78.50, 76.12, 73.79, 78.13, 73.45, None, 79.08, 77.73, None],
    "DER w/ CIM": [75.63, 73.09, 69.17, 79.63, 77.57, 75.36, 79.25, 75.76, None, 80.30, 79.05, None],
    "FOSTER (teacher)": [75.03, 72.72, 66.73, 79.93, 76.55, 74.49, 79.08, 75.07, 68.08, 80.07, 77.54, 72.40],
    "FOSTER w/ CIM (teacher)": [76.44, 74.85, 70.20, 80.58, 77.94, 75.23, 79.76, 76.86, 70.50, 80.93, 78.66, 75.74],
}
TABLES = ("paper-ablation", "paper-sizes", "paper-table1", "paper-table2")


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """conf/ of the project, but no data and no results."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    yield


def test_the_papers_tables_are_there() -> None:
    assert tuple(table_names(ROOT / CONFIGURATIONS)) == TABLES


def test_the_main_table_prints_what_the_poster_prints() -> None:
    table = table_of("paper-table1")
    cells = paper_cells(table)
    for row, expected in POSTER.items():
        found = {cell.setting.name: cell.published for cell in cells if cell.row.name == row}
        values = [found[setting.name] for setting in table.settings]
        assert [value and value.value for value in values] == expected, row


@pytest.mark.parametrize("name", TABLES)
def test_every_printed_number_is_in_the_collection_with_its_source(name: str) -> None:
    """Read again from the written file, by a reader of its own."""
    with NUMBERS.open(newline="") as file:
        collected = [row for row in csv.DictReader(file) if row["confidence"].startswith("seen")]
    (paths, _), table = write_paper_table(table_of(name)), table_of(name)
    with paths[1].open(newline="") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == len(table.rows) * len(table.settings)
    settings = {setting.name: setting for setting in table.settings}
    printed = [line for line in lines if line["published"]]
    assert printed
    for line in printed:
        setting = settings[line["setting"]]
        metric = setting.published_metric or table.published_metric
        same = [
            row
            for row in collected
            if float(row["value"]) == float(line["published"])
            and f"{row['source']}; {row['seen_at']}" == line["published_source"]
            and row["metric"] == metric
            and row["dataset"].split(" (")[0] == setting.dataset
            and (setting.phases is None or float(row["phases"]) == setting.phases)
            and (setting.protocol is None or row["protocol"] == setting.protocol)
        ]
        assert same, line
    text = paths[0].read_text()
    for line in printed:
        assert re.search(rf"\| +{float(line['published']):.2f} \[\d+\]", text), line


@pytest.mark.parametrize("name", TABLES)
def test_an_empty_cell_says_why(name: str) -> None:
    table = table_of(name)
    cells = paper_cells(table)
    assert {cell.reason for cell in cells} <= {
        f"not run, needs {data}" for data in ("food101", "imagenet100", "imagenet1000")
    }
    frame, notes = reading_frame(table, cells)
    ours = frame[frame[" "] == "ours"].drop(columns=["method", " "])
    for mark in set(ours.to_numpy().flatten()):
        assert notes[int(mark.strip("- []")) - 1].startswith(f"{mark[2:]} Empty: not run, needs ")


def test_every_cell_of_every_table_has_a_configuration() -> None:
    for name in TABLES:
        table = table_of(name)
        for setting in table.settings:
            there = {(c.method, c.compressor) for suite in setting.suites for c in table.suites[suite].cells()}
            assert {(row.method, row.compressor) for row in table.rows} <= there, (name, setting.name)


def test_measured_cells_by_hand() -> None:
    """Averages 80, 82 and 87: mean 83, deviation 3.6056, half of the interval 4.3027 * 3.6056 / sqrt(3) = 8.957."""
    for seed, (first, last) in {1993: (90, 140), 1994: (90, 148), 1995: (94, 160)}.items():
        record_of("imagenet100", "foster", "none", seed, [[first], [first, last - first]])
    table = table_of("paper-table1")
    cells = {c.row.name: c for c in paper_cells(table) if c.setting.name == "ImageNet-100 LFS 10"}
    cell = cells["FOSTER (teacher)"]
    assert cell.values == pytest.approx((80.0, 82.0, 87.0)) and cell.reason == ""
    assert cell.half_width == pytest.approx(8.957, abs=1e-3)
    assert cell.gap == pytest.approx(83.0 - 76.55) and cell.verified == "open"  # as wide as that it tells nothing
    frame, _ = reading_frame(table, list(paper_cells(table)))
    place = frame.index[frame["method"] == "FOSTER (teacher)"][0]
    column = frame["ImageNet-100 LFS 10"]
    assert column[place] == "83.0 ± 9.0 (3)" and column[place + 2] == "+6.5"
    numbers = numbers_frame(table, list(cells.values()))
    assert list(numbers[numbers.row == "FOSTER (teacher)"].seeds) == [3]


def test_one_seed_has_no_interval_and_verifies_nothing() -> None:
    record_of("imagenet100", "foster", "cim", 1993, [[90], [90, 60]])
    cell = cell_of("paper-table1", "FOSTER w/ CIM (student)", "ImageNet-100 LFS 10")
    assert (cell.values, cell.half_width, cell.verified) == ((pytest.approx(82.5),), None, "open")


def test_last_accuracy_where_a_setting_asks_for_it() -> None:
    record_of("imagenet1000", "foster", "cim", 1993, [[90], [90, 60]])
    cells = [cell_of("paper-table2", "FOSTER w/ CIM (teacher)", f"M 20k N 10 {which}") for which in ("average", "last")]
    assert [cell.values for cell in cells] == [(pytest.approx(82.5),), (pytest.approx(75.0),)]


def test_a_cell_is_found_in_the_second_suite_of_a_setting() -> None:
    record_of("imagenet100-tau", "foster", "phase_tau", 1993, [[50], [50, 50]])
    assert cell_of("paper-ablation", "7 Phase-wise tau", "ImageNet-100 LFS 10").values == (50.0,)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"phases": []}, "stopped after phase 0 of 2"),
        ({"suite": "food101"}, "is of food101/foster-none-1993"),
        ({"config": {}}, "measured with another configuration"),
        ({"unheard_of": 1}, "is damaged or of another version"),
    ],
)
def test_foreign_unfinished_and_older_cells_are_named_and_never_averaged(change: dict[str, Any], words: str) -> None:
    record_of("imagenet100", "foster", "none", 1993, [[90], [90, 60]], **change)
    cell = cell_of("paper-table1", "FOSTER (teacher)", "ImageNet-100 LFS 10")
    assert cell.values == () and words in cell.reason


def test_a_half_written_record_is_named() -> None:
    path = record_of("imagenet100", "foster", "none", 1993, [[90], [90, 60]])
    path.write_text(path.read_text()[:200])
    cell = cell_of("paper-table1", "FOSTER (teacher)", "ImageNet-100 LFS 10")
    assert cell.values == () and "imagenet100/cells/foster-none/1993/record.json: is damaged" in cell.reason


def test_mixed_units_and_protocols_are_refused() -> None:
    table = table_of("paper-table2")
    object.__setattr__(table.suites["imagenet1000"].budget, "unit", "raw_bytes")
    with pytest.raises(InputError, match=r"mixes budget units .*imagenet1000: raw_bytes"):
        check_comparable(table)
    table = table_of("paper-table2")
    object.__setattr__(table.suites["imagenet1000"].protocol, "phases", 7)
    with pytest.raises(InputError, match=r"setting M 20k N 10 average is LFS 10, but suite imagenet1000 is LFS 7"):
        check_comparable(table)


def test_an_unknown_table_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="did you mean 'paper-table1'"):
        papers(None, argparse.Namespace(tables=["paper-tabel1"]))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "value", "words"), [("budget", "5000 total", "budget"), ("dataset", "Food-101", "data set")]
)
def test_a_suite_of_another_budget_or_data_set_is_refused(field: str, value: str, words: str) -> None:
    table = table_of("paper-table2")
    object.__setattr__(table.settings[0], field, value)
    with pytest.raises(InputError, match=f"setting M 20k N 5 average has {words}"):
        check_comparable(table)
