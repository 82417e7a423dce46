"""A lost database comes back from results/; importing twice adds nothing; a summary is of exactly the runs below it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.suite.config import Suite, load_suite
from cimbench.benchmarks.tracking import content
from cimbench.benchmarks.tracking.runs import Tracker
from tests.benchmarks.interruption import PowerCutError
from tests.benchmarks.invented import invent
from tests.benchmarks.tracked import PARENT, by_name, contents, runs
from tests.conftest import tiny_parameters

pytestmark = [pytest.mark.xdist_group("tracking"), pytest.mark.slow]
NOON = 1740830400000  # 2025-03-01T12:00:00Z, when the invented cells began; each phase took ten seconds


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new database, which takes seconds to make."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def new_store(workspace: Path, empty: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], MlflowClient]:
    """Makes an empty database of that name and points everything to it."""

    def make(name: str) -> MlflowClient:
        shutil.copy(empty, workspace / f"{name}.db")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{workspace}/{name}.db")
        return MlflowClient(f"sqlite:///{workspace}/{name}.db")

    return make


def suite_of(*seeds: int, name: str = "test", compressors: Sequence[str] = ("none", "full")) -> Suite:
    """A suite of replay with and without compression, its parameters written."""
    matrix = {"methods": ["replay"], "compressors": list(compressors), "seeds": list(seeds), "bounds": []}
    Path("params.json").write_text(json.dumps(tiny_parameters(suite=name, matrix=matrix)))
    return load_suite(Path("params.json"))


def measure(suite: Suite) -> None:
    """Invent the cells of the suite that are not there: with seed s, s of ten answers are right in the end."""
    for cell in suite.cells():
        if not cell.folder.exists():
            invent(cell, [9, cell.seed])


def track(*arguments: str) -> int:
    return main(["--params", "params.json", "track", *arguments])


def test_a_lost_database_comes_back_whole(
    new_store: Callable[[str], MlflowClient], workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    client = new_store("first")
    measure(suite_of(2, 4, name="other", compressors=["none"]))
    measure(suite_of(2, 4))
    half = workspace / "results/other/cells/replay-none/2/record.json"
    half.write_text(half.read_text()[:-40])
    assert track("--all") == 0
    told = capsys.readouterr().out
    assert "5 cells of all suites in results are in sqlite:///" in told
    assert "not imported: other/replay-none-2: " in told and "is damaged" in told
    before = {name: contents(client, name) for name in ("test", "other")}
    assert set(before["test"]) == {
        *("experiment", "replay + none, mean of 2 seeds", "replay + full, mean of 2 seeds"),
        *(f"replay + {compressor}, seed {seed}" for compressor in ("none", "full") for seed in (2, 4)),
    }
    assert "replay + none, one seed" in before["other"]
    (workspace / "first.db").unlink()
    shutil.rmtree(workspace / "mlruns")
    client = new_store("second")
    assert track("--all") == 0
    for name, content_before in before.items():
        assert contents(client, name) == content_before
    assert track("--all") == 0
    for name, content_before in before.items():
        assert contents(client, name) == content_before


def test_what_is_restored_is_what_was_recorded(new_store: Callable[[str], MlflowClient]) -> None:
    """By hand: seeds 2 and 4 have 2 and 4 right of ten a phase, nme one more in the newest."""
    client = new_store("first")
    measure(suite_of(2, 4))
    assert track() == 0
    found = contents(client, "test")
    cell, summary = found["replay + none, seed 4"], found["replay + none, mean of 2 seeds"]
    assert cell["metrics"]["accuracy/linear"] == [(1, 0.9, NOON + 10_000), (2, 0.4, NOON + 20_000)]
    assert cell["metrics"]["accuracy/nme"] == [(1, 1.0, NOON + 10_000), (2, 0.45, NOON + 20_000)]
    assert cell["metrics"]["final/seconds"] == [(2, 20.0, NOON + 20_000)]
    assert cell["times"] == summary["times"] == (NOON, NOON + 20_000)
    assert cell["parent"] == "replay + none, mean of 2 seeds"
    assert cell["parameters"]["seed"] == "4" and "seed" not in summary["parameters"]
    assert summary["parameters"]["seeds"] == "2, 4"
    assert [value for _, value, _ in summary["metrics"]["accuracy/linear"]] == pytest.approx([0.9, 0.3])
    deviations = summary["metrics"]["seed_deviation/accuracy/linear"]
    assert [value for _, value, _ in deviations] == pytest.approx([0, 0.1 * 2**0.5])  # sqrt of (0.01 + 0.01) / 1
    ((step, value, when),) = summary["metrics"]["seed_deviation/final/last_accuracy/linear"]
    assert (step, when) == (2, NOON + 20_000) and value == pytest.approx(0.1 * 2**0.5)
    assert summary["metrics"]["memory/exemplars"] == [(1, 6.0, NOON + 10_000), (2, 12.0, NOON + 20_000)]
    digest = ("d1" * 32)[:36]
    assert [(name, d, context) for name, d, *_, context in cell["inputs"]] == [
        ("coloured (testing)", digest, "testing"),
        ("coloured (training)", digest, "training"),
    ]
    assert json.loads(cell["inputs"][0][4]) == {"classes": 4, "classes_by_phase": [2, 2], "images": 20}
    assert set(cell["artifacts"]) >= {"record/record.json", "gallery/gallery-phase-2.png", "confusion-nme.png"}
    assert set(summary["artifacts"]) == {"accuracy-over-phases.png"}


class Cut:
    """Lets the client's calls that write through, and cuts after one of them."""

    def __init__(self, patched: pytest.MonkeyPatch, last: int) -> None:
        self.calls, self._last = 0, last
        for name in ("create_run", "log_batch", "set_tag", "log_inputs", "log_figure", "log_artifact"):
            patched.setattr(MlflowClient, name, self._counted(getattr(MlflowClient, name)))

    def _counted(self, real: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **named: object) -> object:
            done = real(*arguments, **named)
            self.calls += 1
            if self.calls == self._last:
                raise PowerCutError
            return done

        return call


def test_a_half_logged_run_is_completed(
    new_store: Callable[[str], MlflowClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cut after one of the store's calls, then imported: nothing is missing, nothing is there twice."""
    suite = suite_of(4, compressors=["none"])
    measure(suite)
    whole = new_store("whole")
    assert track() == 0
    expected = contents(whole, "test")
    (cell,) = suite.cells()
    for cut in (1, 2, 5, 7, 10):
        client = new_store(f"cut{cut}")
        with monkeypatch.context() as patched, pytest.raises(PowerCutError):
            Cut(patched, cut)
            Tracker().log(load_record(cell.folder), cell.folder)
        assert track() == 0
        assert contents(client, "test") == expected


def test_more_seeds_make_a_new_summary_in_place_of_the_old(new_store: Callable[[str], MlflowClient]) -> None:
    client = new_store("first")
    measure(suite_of(2, 4))
    assert track() == 0
    old = by_name(client, "test")["replay + none, seed 4"]
    measure(suite_of(2, 4, 6))
    assert track() == 0
    named = by_name(client, "test")
    assert {name for name in named if "none" in name} == {
        *("replay + none, mean of 3 seeds", *(f"replay + none, seed {seed}" for seed in (2, 4, 6))),
    }
    assert named["replay + none, seed 4"].info.run_id == old.info.run_id
    for seed in (2, 4, 6):
        parent = named[f"replay + none, seed {seed}"].data.tags[PARENT]
        assert parent == named["replay + none, mean of 3 seeds"].info.run_id


def test_a_cell_measured_again_leaves_its_earlier_run_free(new_store: Callable[[str], MlflowClient]) -> None:
    client = new_store("first")
    suite = suite_of(2, 4)
    measure(suite)
    assert track() == 0
    again = next(cell for cell in suite.cells() if (cell.compressor, cell.seed) == ("none", 4))
    invent(again, [9, 8], started="2025-04-01T12:00:00.000000+00:00")
    assert track() == 0
    found = [run for run in runs(client, "test") if run.info.run_name == "replay + none, seed 4"]
    assert sorted(PARENT in run.data.tags for run in found) == [False, True]
    (summary,) = [run for run in runs(client, "test") if run.info.run_name == "replay + none, mean of 2 seeds"]
    assert summary.data.metrics["final/last_accuracy/linear"] == pytest.approx(0.5)  # of 0.2 and 0.8


def test_cells_of_one_group_differ_in_the_seed_alone(workspace: Path) -> None:
    suite = suite_of(2, 4)
    measure(suite)
    groups = {cell.name: content.group_of(load_record(cell.folder)) for cell in suite.cells()}
    assert groups["replay-none-2"] == groups["replay-none-4"] != groups["replay-full-2"]
    assert workspace.exists()
