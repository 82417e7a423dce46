"""Suites side by side, from records worked by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from cimbench.benchmarks.records.places import folder_of
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.units import units_table, write_units
from cimbench.datasets.errors import InputError
from tests.benchmarks.records import record
from tests.conftest import table_rows


def cell(seed: int, right: int, unit: str, compressor: str = "none", held: tuple[int, int] = (3, 4)) -> Record:
    """Of 20 test images after the last phase, `right` are right."""
    made = record(seed, [[8], [right - 5, 5]], unit=unit)
    made.config["compressor"]["name"] = compressor
    made.suite = f"suite-{unit}"
    made.cell = f"replay-{compressor}-{seed}"
    for phase in made.phases:
        phase.memory["exemplars"] = list(held)
    return made


def suites() -> list[list[Record]]:
    raw = [cell(1, 10, "raw_bytes"), cell(2, 12, "raw_bytes")]
    raw += [cell(1, 14, "raw_bytes", "full", (8, 8)), cell(2, 14, "raw_bytes", "full", (8, 10))]
    return [raw, [cell(1, 11, "coded_bytes"), cell(1, 9, "coded_bytes", "full")]]


def test_differences_are_paired_within_each_unit() -> None:
    """Raw: 70 - 50 and 70 - 60, so 15 with a deviation of 7.07 and t(1) = 12.706; coded: one pair has no interval."""
    none, full = units_table(suites()).to_dict("records")
    assert none["raw bytes: last accuracy"] == "55.0 ± 7.1"
    assert none["raw bytes: exemplars"] == "7 ± 0"
    assert full["raw bytes: exemplars"] == "17 ± 1"
    assert full["raw bytes: last accuracy"] == "70.0 ± 0.0 (+15.0 [-48.5, +78.5])"
    assert full["coded bytes: last accuracy"] == "45.0 (-10.0)"


def test_a_cell_that_one_suite_lacks_says_so() -> None:
    raw, coded = suites()
    _, full = units_table([raw, coded[:1]]).to_dict("records")
    assert full["coded bytes: last accuracy"] == "not run"


def test_suites_that_differ_in_more_are_refused() -> None:
    raw, coded = suites()
    with pytest.raises(InputError, match="count in raw_bytes, raw_bytes; name suites with"):
        units_table([raw, raw])
    coded[0].config["training"]["learning_rate"] = 0.5
    with pytest.raises(InputError, match=r"suite-raw_bytes and suite-coded_bytes differ .* training.learning_rate"):
        units_table([raw, coded])


def test_the_table_is_written_from_folders(tmp_path: Path) -> None:
    for records in suites():
        for made in records:
            made.save(folder_of(tmp_path, made))
    path = write_units(tmp_path, ["suite-raw_bytes", "suite-coded_bytes"])
    assert path == tmp_path / "units/suite-raw_bytes.md"
    assert table_rows(path.read_text())[0]["raw bytes: exemplars"] == "17 ± 1"
    with pytest.raises(InputError, match="nothing/cells: no cell is complete; run the suite first"):
        write_units(tmp_path, ["nothing"])
