"""Imported runs are kept once, and refused once they were edited."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.imported.imported_run import ImportedRun, comparable, load_imported, save_imported
from cimbench.benchmarks.report.tables import write_tables
from cimbench.datasets.errors import InputError
from tests.benchmarks.logs import CIM, REPORTED, log, phases, settings
from tests.benchmarks.records import TWO_SEEDS, record
from tests.benchmarks.workplace import furnish
from tests.conftest import table_rows


def test_importing_twice_adds_nothing(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    furnish(workspace)
    text = settings(CIM) + phases(REPORTED, [85.0])
    log(workspace, text)
    log(workspace, text, "the-same.log")

    def run(*arguments: str) -> tuple[int, str]:
        status = main(["--params", "params.json", "import-log", *arguments])
        return status, capsys.readouterr().out

    status, told = run("output.log", "--dataset", "food101")
    assert status == 0
    assert "output.log: CIM-CIL, foster + cim (teacher), seed 1993, food101 LFS 10: average 74.64 %" in told
    assert "(student), seed 1993, food101 LFS 10: incomplete, 2 of 10 evaluations; no average" in told
    assert told.endswith("2 of 2 imported into results/imported. Next: cimbench report\n")
    before = {path: path.read_bytes() for path in Path("results/imported").iterdir()}
    assert run("output.log", "the-same.log")[1].endswith(
        "0 of 4 imported into results/imported. Next: cimbench report\n"
    )
    assert {path: path.read_bytes() for path in Path("results/imported").iterdir()} == before
    assert {(run.head, run.complete) for run in load_imported()} == {("teacher", True), ("student", False)}


def test_of_several_files_with_a_bad_one_none_is_imported(workspace: Path) -> None:
    furnish(workspace)
    log(workspace, settings(CIM) + phases(REPORTED))
    log(workspace, "nothing", "bad.log")
    assert main(["--params", "params.json", "import-log", "output.log", "bad.log"]) == 2
    assert load_imported() == []


def kept(folder: Path) -> Path:
    """A run's file."""
    path = save_imported(of_the_suite(curve=(90.0, 80.5)), folder)
    assert path is not None
    return path


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    kept(tmp_path)
    (run,) = load_imported(tmp_path)
    assert (run.curve, run.average, run.complete) == ((90.0, 80.5), 85.25, True)
    assert load_imported(tmp_path / "nowhere") == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content.update(curve=[90.0, 95.0]), "was changed after it was imported"),
        (lambda content: content.update(curve=[90.0, 800.0]), r"curve has 800.0 after phase 2; .* 0 to 100; delete it"),
        (lambda content: content.update(protocol="b0"), "protocol is 'b0'"),
        (lambda content: content.update(more=1), "run.more is not a parameter"),
        (lambda content: content.pop("seed"), "run.seed is missing"),
        (
            lambda content: content.pop("digest"),
            "is damaged or of another version .*delete it and import the log again",
        ),
    ],
)
def test_a_file_that_was_edited_is_refused(tmp_path: Path, change: Any, message: str) -> None:
    path = kept(tmp_path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=rf"{path.name}: {message}"):
        load_imported(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[1]", '"x"'])
def test_a_damaged_file_is_refused(tmp_path: Path, text: str) -> None:
    path = kept(tmp_path)
    path.write_text(text)
    with pytest.raises(InputError, match=r"is damaged or of another version .*delete it and import the log again"):
        load_imported(tmp_path)


def of_the_suite(**changes: Any) -> ImportedRun:
    """A run of the task of `test_report`'s records: two phases, four classes, three exemplars a class."""
    told = {
        "source": "PyCIL",
        "log_name": "a.log",
        "log_digest": "0" * 64,
        "method": "icarl",
        "compressor": "none",
        "head": "nme",
        "dataset": "coloured",
        "protocol": "lfs",
        "phases": 2,
        "seed": 1,
        "curve": (90.0, 80.0),
        "exemplars_total": 12,
    }
    return ImportedRun(**(told | changes))


def test_imported_runs_are_rows_of_the_suites_table(tmp_path: Path) -> None:
    runs = [
        of_the_suite(),
        of_the_suite(seed=2, curve=(80.0, 70.0), log_name="b.log"),
        of_the_suite(seed=3, curve=(99.0,), log_name="short.log"),
    ]
    write_tables(tmp_path, TWO_SEEDS, {}, runs)
    text = (tmp_path / "comparison.md").read_text()
    ours, theirs = table_rows(text)
    assert ours["method"] == "replay"
    assert (theirs["method"], theirs["compressor"], theirs["head"]) == ("icarl (imported)", "none", "nme")
    assert theirs["average accuracy (%)"] == "80.0 ± 7.1"  # 85 and 75
    assert theirs["last accuracy (%)"] == "75.0 ± 7.1"
    assert (theirs["budget"], theirs["forgetting (%)"], theirs["time (s)"]) == ("12 images", "-", "-")
    assert (
        "- icarl (imported) + none, nme: a run of PyCIL, read from a.log (seed 1), b.log (seed 2); not measured" in text
    )
    assert "- icarl (imported) + none, nme: short.log (seed 3) stops after 1 of 2 evaluations and is in no row." in text
    assert "imported" not in (tmp_path / "comparison.csv").read_text()
    write_tables(tmp_path, TWO_SEEDS, {}, [])
    assert "imported" not in (tmp_path / "comparison.md").read_text()


@pytest.mark.parametrize(
    ("changes", "unit", "fits"),
    [
        ({}, "raw_bytes", True),
        ({}, "paper_units", True),
        ({}, "coded_bytes", False),
        ({"compressor": "cim"}, "paper_units", True),  # their memory counts areas, as published
        ({"compressor": "cim"}, "raw_bytes", False),
        ({"dataset": "cifar100"}, "raw_bytes", False),
        ({"protocol": "lfh"}, "raw_bytes", False),
        ({"phases": 3}, "raw_bytes", False),
        ({"exemplars_total": 2000}, "raw_bytes", False),
        ({"exemplars_total": None, "exemplars_per_class": 3}, "raw_bytes", False),
        ({"exemplars_total": None}, "raw_bytes", False),
    ],
)
def test_only_runs_of_the_same_task_and_budget_are_comparable(changes: dict[str, Any], unit: str, fits: bool) -> None:
    run = of_the_suite(**changes)
    ours = record(1, [[8], [4, 6]], unit=unit)
    assert comparable([run], ours.config, len(ours.class_names)) == ([run] if fits else [])
