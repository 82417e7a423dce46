"""REPRODUCIBILITY.md is what its generator writes, and says of each number what the records say."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.report.papers.errata import FILE, changed_options, errata_table
from cimbench.benchmarks.report.papers.reproducibility import reproducibility_text
from cimbench.benchmarks.suite.compose import load_mapping
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.errors import InputError
from tests.benchmarks.paper_records import cell_of, record_of, suite_of
from tests.conftest import ROOT

SEEDS = (1993, 1994, 1995)


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    yield


def test_the_committed_page_is_what_the_committed_results_give(tmp_path: Path) -> None:
    """Cells that git does not hold are not needed, and data that happen to be here change nothing."""
    listed = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split("\n")
    for name in listed:
        if name.endswith((".json", ".csv", ".npz", "comparison.md")) and (ROOT / name).is_file():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tmp_path / name)
    assert (ROOT / "REPRODUCIBILITY.md").read_text() == reproducibility_text(), "run: cimbench reproducibility"


def test_a_measured_number_stands_beside_the_published_one() -> None:
    """The average of 90 and 75 %; one seed verifies nothing."""
    record_of("imagenet100", "foster", "cim", 1993, [[90], [90, 60]])
    row = find_row(reproducibility_text(), "FOSTER w/ CIM (teacher)", "ImageNet-100 LFS 10")
    assert row[2:] == ["77.94", "82.5", "+4.6", "1", "open", "fewer than three seeds"]


@pytest.mark.parametrize(
    ("values", "said"),
    [((77.5, 78.0, 78.5), "yes"), ((76.0, 78.0, 80.0), "open"), ((81.9, 82.0, 82.1), "no"), ((77.94,), "open")],
)
def test_verified_is_what_lies_within_the_interval(values: tuple[float, ...], said: str) -> None:
    """78 +- 1.24 holds 77.94; 78 +- 4.97 would hold anything; 82 +- 0.25 does not; one seed has no interval."""
    empty = cell_of("paper-table1", "FOSTER w/ CIM (teacher)", "ImageNet-100 LFS 10")
    assert empty.verified == "open"
    assert dataclasses.replace(empty, values=values, reason="").verified == said


def find_row(text: str, name: str, setting: str) -> list[str]:
    lines = [[part.strip() for part in line.strip("|").split("|")] for line in text.splitlines() if name in line]
    return next(parts for parts in lines if parts[:2] == [name, setting])


def test_switches_are_named_and_their_effects_paired_by_seed() -> None:
    """Last accuracies 60, 62, 64 with the switch and 50, 50, 50 without: 12 on average, deviation 2, so
    half of the interval is 4.303 * 2 / sqrt(3) = 4.97."""
    for number, seed in enumerate(SEEDS):
        record_of("errata", "foster", "cim", seed, [[50], [50, 50]])
        record_of("errata-c19", "foster", "cim", seed, [[50], [60 + 2 * number, 60 + 2 * number]])
    table = errata_table().set_index("#")
    assert table.loc["C19", "option"] == "`methods.foster.selector: student`"
    assert table.loc["C19", "teacher, last"] == "+12.0 [+7.0, +17.0]"
    assert table.loc["C19", "seeds"] == "3"
    assert set(table.drop(index="C19")["student, last"]) == {"not run"}


def test_every_switch_changes_the_one_option_that_the_errata_name() -> None:
    page = (ROOT / "docs" / "errata.md").read_text()
    record_of("errata", "foster", "cim", 1993, [[50], [50, 50]])
    base = load_record(find_cell(suite_of("errata"), "foster", "cim", 1993).folder)
    for switch in load_mapping(FILE)["switches"]:
        path = record_of(switch["suite"], "foster", "cim", 1993, [[50], [50, 50]])
        option = changed_options(base, load_record(path.parent)).partition(":")[0]
        row = next(line for line in page.splitlines() if line.startswith(f"| {switch['number']} |"))
        assert f"`{option}`" in row


def test_a_file_that_is_no_mapping_is_named(tmp_path: Path) -> None:
    path = tmp_path / "errata.yaml"
    for text, words in (("- a\n", "holds no mapping"), ("a: [", "is not valid YAML")):
        path.write_text(text)
        with pytest.raises(InputError, match=f"errata.yaml: {words}"):
            load_mapping(path)
    with pytest.raises(InputError, match="is not there"):
        load_mapping(tmp_path / "none.yaml")


def test_switches_measured_on_other_pictures_are_not_paired() -> None:
    for seed in SEEDS:
        record_of("errata", "foster", "cim", seed, [[50], [50, 50]])
        record_of("errata-c4", "foster", "cim", seed, [[50], [60, 60]], data_digest="f" * 64)
        record_of("errata-c5", "foster", "cim", seed, [[50], [60, 60]], phases=[])
    table = errata_table().set_index("#")
    assert table.loc["C4", "teacher, last"] == "fewer than two seeds of the same pictures"
    assert table.loc["C5", "teacher, last"] == "stopped after phase 0 of 2"
    assert table.loc["C8", "teacher, last"] == "not run"


@pytest.mark.parametrize(("text", "words"), [("", "is empty"), ('a,b\n1,2\n1,2,3,"4\n', "cannot be read")])
def test_a_table_that_cannot_be_read_is_named(text: str, words: str) -> None:
    path = Path("results/some/tables/comparison.csv")
    path.parent.mkdir(parents=True)
    path.write_text(text)
    with pytest.raises(InputError, match=f"{path}: {words}.*cimbench report"):
        reproducibility_text()
