"""Did I reproduce it: prediction intervals by hand, equal bits, what may and must not differ; the lock goes back."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.commands import repro
from cimbench.benchmarks.records.places import folder_of
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.compared import comparisons, half_width, same_bits, what_differs
from cimbench.benchmarks.suite.config import find_cell
from tests.benchmarks.records import record
from tests.benchmarks.workplace import furnish
from tests.methods.cells import Silent


def last(seed: int, right: int) -> Record:
    """A cell that has so many of 20 right after its second phase."""
    return record(seed, [[8], [right // 2, right - right // 2]])


def test_the_interval_is_the_prediction_interval_of_a_mean() -> None:
    known = [50.0, 60.0, 70.0, 60.0]
    deviation = (200 / 3) ** 0.5
    assert half_width(known, 2) == pytest.approx(3.18244630528 * deviation * (1 / 4 + 1 / 2) ** 0.5)
    assert half_width(known[:2], 2) is None
    random = np.random.default_rng(0)  # 95 of 100 means over two new seeds belong into it
    draws = random.normal(50, 3, (4000, 10))
    inside = [abs(row[8:].mean() - row[:8].mean()) <= (half_width(list(row[:8]), 2) or 0) for row in draws]
    assert np.mean(inside) == pytest.approx(0.95, abs=0.012)
    assert stats.t.ppf(0.975, 3) == pytest.approx(3.18244630528)


def test_numbers_are_within_or_not() -> None:
    committed = [last(seed, right) for seed, right in ((1, 10), (2, 11), (3, 12))]
    (average, accuracy) = comparisons([last(1, 11), last(9, 11)], committed)
    assert (accuracy.number, accuracy.within, average.within) == ("last accuracy", True, True)
    assert accuracy.committed == pytest.approx(accuracy.own)
    assert [one.within for one in comparisons([last(1, 2), last(9, 1)], committed)] == [False, False]
    assert [one.within for one in comparisons([last(1, 2)], committed[:2])] == [None, None]


def test_equal_cells_are_counted_by_their_counts_and_losses() -> None:
    committed = [last(seed, 10) for seed in (1, 2)]
    assert same_bits([last(1, 10), last(2, 10), last(3, 10)], committed) == (2, 2)
    other = last(2, 10)
    other.phases[0].losses[:] = [0.123]
    assert same_bits([last(1, 10), other], committed) == (1, 2)


def measured(workspace: Path) -> tuple[list[Record], Path]:
    suite = furnish(workspace, matrix={"methods": ["icarl"], "compressors": ["none"], "seeds": [1, 2, 3]})
    records = [run_cell(find_cell(suite, "icarl", "none", seed), Silent()) for seed in (1, 2, 3)]
    assert main(["--params", "params.json", "report"]) == 0
    return records, workspace / "results/reference/test"


def test_own_results_become_the_committed_and_are_then_reproduced(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, place = measured(workspace)
    assert main(["--params", "params.json", "compare"]) == 2
    assert "results/reference/test/cells: no committed cell of suite test to compare with" in capsys.readouterr().err
    assert main(["--params", "params.json", "compare", "--replace"]) == 0
    assert (place / "tables/comparison.md").is_file() and (
        folder_of(place.parent, records[0]) / "record.json"
    ).is_file()
    capsys.readouterr()
    assert main(["--params", "params.json", "compare"]) == 0
    told = capsys.readouterr().out
    assert "Of 3 cells with the same seed, 3 have the same counts and losses in every phase." in told
    rows = [line.split() for line in told.splitlines() if line.startswith("icarl")]
    assert [(row[2], row[-1]) for row in rows] == [("linear", "yes"), ("nme", "yes")]
    assert "4 of 4 numbers are inside their committed interval. Next" in told
    assert "Different here" not in told


def test_what_is_committed_is_replaced_as_a_whole_or_not_at_all(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records, place = measured(workspace)
    assert main(["--params", "params.json", "compare", "--replace"]) == 0
    before = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    shutil.rmtree("results/test/plots")
    assert main(["--params", "params.json", "compare", "--replace"]) == 2
    assert "results/test/plots: is not there; cimbench report writes it" in capsys.readouterr().err
    (folder_of(Path("results"), records[2]) / "record.json").unlink()
    assert main(["--params", "params.json", "compare", "--replace"]) == 2
    assert "--replace: not done: icarl-none-3; run them first" in capsys.readouterr().err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == before
    assert [path.name for path in place.parent.iterdir()] == ["test"]


def test_equal_seeds_have_an_interval_of_no_width() -> None:
    committed = [last(seed, 7) for seed in (1, 2, 3)]
    assert [one.within for one in comparisons([last(1, 7), last(2, 7), last(3, 7)], committed)] == [True, True]
    assert not any(one.within for one in comparisons([last(1, 8)], committed))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            lambda content: content["config"]["training"].update(epochs=9),
            "the configuration: training.epochs is 9",
        ),
        (lambda content: content.update(data_digest="other"), "the pictures (their digests differ)"),
        (lambda content: content["class_names"].reverse(), "the order of the classes"),
    ],
)
def test_another_experiment_is_no_reproduction(
    workspace: Path, capsys: pytest.CaptureFixture[str], change: Any, words: str
) -> None:
    records, place = measured(workspace)
    assert main(["--params", "params.json", "compare", "--replace"]) == 0
    path = folder_of(place.parent, records[1]) / "record.json"
    content = json.loads(path.read_text())
    del content["digest"]
    change(content)
    path.write_text(json.dumps(content))
    assert main(["--params", "params.json", "compare"]) == 2
    told = capsys.readouterr().err
    assert "not the same experiment as the committed one" in told and f"icarl-none-2: {words}" in told


def test_another_machine_is_named() -> None:
    own, committed = last(1, 10), last(1, 10)
    assert what_differs([own, last(9, 3)], [last(8, 3), committed]) == []
    own.provenance["hardware"] = {**own.provenance["hardware"], "processor": "another"}
    own.provenance["source_digest"] = "others"
    assert what_differs([own], [committed]) == [
        "processor another (committed: A processor)",
        "the sources that decide a cell's numbers",
    ]


@pytest.fixture
def repository(workspace: Path) -> Path:
    """A repository with a committed dvc.lock."""
    Path("dvc.lock").write_text("committed")
    git = ("git", "-c", "user.name=t", "-c", "user.email=t@t")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "lock"]):
        subprocess.run([*git, *words], check=True)
    return workspace


def clean() -> bool:
    return subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False).returncode == 0


@pytest.mark.usefixtures("repository")
def test_the_lock_is_ones_own_while_dvc_runs_and_the_committed_one_afterwards() -> None:
    with repro.own_lock():
        assert Path("dvc.lock").read_text() == "committed"
        Path("dvc.lock").write_text("own")
    assert Path("dvc.lock").read_text() == "committed" and clean()
    with repro.own_lock():
        assert Path("dvc.lock").read_text() == "own"
    with pytest.raises(KeyboardInterrupt), repro.own_lock():
        Path("dvc.lock").write_text("own 2")
        raise KeyboardInterrupt
    assert clean() and repro.OWN.read_text() == "own 2"
    repro.THEIRS.write_text("committed")  # killed within the block
    Path("dvc.lock").write_text("own 3")
    with repro.own_lock():
        assert Path("dvc.lock").read_text() == "own 3"
    assert clean()


@pytest.mark.usefixtures("repository")
def test_a_lock_changed_by_hand_or_outside_of_git_stays() -> None:
    Path("dvc.lock").write_text("mine")
    with repro.own_lock():
        assert Path("dvc.lock").read_text() == "mine"
    assert Path("dvc.lock").read_text() == "mine" and not repro.OWN.exists()
    Path("dvc.lock").unlink()
    with repro.own_lock():
        Path("dvc.lock").write_text("new")
    assert Path("dvc.lock").read_text() == "new"
