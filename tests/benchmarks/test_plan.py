"""A plan's image-epochs are those that are learnt; its times come from what was measured on this machine alone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.planning.plan import make_plan, ordered_cells, state_of, totals
from cimbench.benchmarks.planning.speeds import Speeds, machine
from cimbench.benchmarks.planning.workload import TrainingCounts, image_epochs, learner_of, training_counts
from cimbench.benchmarks.registry import METHODS
from cimbench.benchmarks.suite.config import Suite, find_cell
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError
from cimbench.methods.training import trainer as optimisation
from tests.benchmarks.interruption import CutAt, PowerCutError
from tests.benchmarks.workplace import furnish
from tests.conftest import coloured_store, composed, replaced, tiny_suite
from tests.methods.cells import Silent

TWO_EACH = TrainingCounts(phases=((12, 12), (12, 12)))
EPOCHS = {"base_epochs": 4, "epochs": 3}
TWO_SEEDS: dict[str, Any] = {
    "matrix": {"methods": ["replay", "icarl"], "compressors": ["none", "full"], "seeds": [3, 4], "bounds": ["finetune"]}
}


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        # 24 images in 4 epochs; then 24 new ones and 6 exemplars of each of 2 classes (3 a class of 4) in 3 epochs
        ("replay", [96, 108]),
        ("finetune", [96, 72]),
        ("joint", [96, 192]),  # all 48 in 4 epochs
        ("foster", [96, 108 + 180]),  # 36 images in 5 epochs of compression
        ("der", [96, 108 + 48]),  # 6 of each of 4 classes in 2 epochs of tuning
    ],
)
def test_image_epochs_worked_by_hand(method: str, expected: list[int]) -> None:
    own = {"foster": {"compression_epochs": 5}, "der": {"tuning_epochs": 2}, "joint": {"epochs": None}}
    suite = tiny_suite(training=EPOCHS, methods=own)
    assert image_epochs(learner_of(find_cell(suite, method, "none", 3)), TWO_EACH) == expected


def test_image_epochs_of_the_papers_own_recipes() -> None:
    """Food-101 from half: 51 classes and five times 10, 20 exemplars a class; FOSTER by its own recipe."""
    suite = build(Suite, composed("suite=food101", "protocol.name=lfh", "protocol.phases=5"), "params.yaml")
    suite = replaced(suite, budget=dataclasses.replace(suite.budget, sharing="fixed_per_class", exemplars_per_class=20))
    counts = training_counts(suite, 1993)
    assert counts is not None
    work = image_epochs(learner_of(find_cell(suite, "foster", "none", 1993)), counts)
    later = [(170 + 130) * (10 * 750 + 20 * old) for old in (51, 61, 71, 81, 91)]
    assert work == [200 * 51 * 750, *later]


@pytest.mark.parametrize("method", METHODS)
def test_as_many_images_are_learnt_as_planned(workspace: Path, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    suite = furnish(workspace, protocol={"phases": 3}, training={"base_epochs": 2, "epochs": 1})
    cell, real = find_cell(suite, method, "none", 3), optimisation.augment
    learnt = 0

    def counted(images: torch.Tensor, *rest: Any) -> torch.Tensor:
        nonlocal learnt
        learnt += len(images)
        return real(images, *rest)

    (planned,) = make_plan(suite, [cell])
    monkeypatch.setattr(optimisation, "augment", counted)
    run_cell(cell, Silent())
    assert planned.work is not None
    assert learnt == sum(planned.work)


def test_what_is_known_without_data(workspace: Path) -> None:
    def counts(*overrides: str) -> TrainingCounts | None:
        return training_counts(build(Suite, composed(*overrides), "params.yaml"), 1993)

    digits = counts("suite=embedded", "protocol.validation_share=0.25")
    assert digits == TrainingCounts(phases=((90, 90),) * 5)
    thousand = counts("suite=imagenet1000")
    assert thousand is not None
    assert (sum(map(sum, thousand.phases)), thousand.exact) == (1281167, False)
    assert counts("suite=tiny") is None
    assert main(["--params", parameters_of(workspace, "suite=tiny"), "plan", "--method", "replay"]) == 0


def parameters_of(folder: Path, *overrides: str) -> str:
    path = folder / "own.json"
    path.write_text(json.dumps(composed(*overrides)))
    return str(path)


def test_the_split_tells_where_the_data_are_absent(workspace: Path) -> None:
    suite = furnish(workspace, coloured_store(train=8))
    with_data = training_counts(suite, 3)
    for path in suite.store.iterdir():
        path.unlink()
    assert training_counts(suite, 3) == with_data == TrainingCounts(phases=((8, 8), (8, 8)))
    suite.split_path(3).write_text('{"phases": [{}]}')
    with pytest.raises(InputError, match=r"splits/3.json: is damaged .*cimbench split"):
        training_counts(suite, 3)


def test_states_say_what_is_done_and_why_the_rest_is_not(workspace: Path) -> None:
    suite = furnish(workspace, matrix={"seeds": [3]}, checkpoint_epochs=1)
    cell = find_cell(suite, "replay", "none", 3)
    assert state_of(cell) == ("to do: not run", 0)
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(0, 1))
    assert state_of(cell) == ("to do: not run (begun)", 0)
    with pytest.raises(PowerCutError):
        run_cell(cell, CutAt(1, 0))
    assert state_of(cell) == ("to do: stopped after phase 1 of 2", 1)
    (planned,) = make_plan(suite, [cell])
    assert planned.work is not None
    assert planned.left == planned.work[1]
    run_cell(cell, Silent())
    assert state_of(cell) == ("done", 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cimbench.benchmarks.planning.plan.source_digest", lambda *_: "others")
        assert state_of(cell) == ("done, with other sources", 2)
    other = replaced(suite, training=dataclasses.replace(suite.training, learning_rate=0.01))
    state, _ = state_of(find_cell(other, "replay", "none", 3))
    assert state.startswith("to do: measured with another configuration (training.learning_rate is 0.05")
    (cell.folder / "record.json").write_text("{")
    assert state_of(cell)[0].startswith("to do: ")


def measured(suite: Suite, method: str, compressor: str, seconds: float) -> None:
    """Run a cell and say that each of its two phases took half of `seconds`."""
    cell = find_cell(suite, method, compressor, 3)
    run_cell(cell, Silent())
    path = cell.folder / "record.json"
    content = json.loads(path.read_text())
    del content["digest"]  # edited by hand, as an early record
    for phase in content["phases"]:
        phase["seconds"] = {"learn": seconds / 2}
    path.write_text(json.dumps(content))


def test_times_come_from_the_nearest_that_was_measured_here(workspace: Path) -> None:
    suite = furnish(workspace, **TWO_SEEDS)

    def seconds(of: Suite = suite) -> dict[str, float | None]:
        return {item.cell.name: item.seconds for item in make_plan(of, ordered_cells(of, seeds=[4]))}

    assert set(seconds().values()) == {None}
    measured(suite, "replay", "none", 60.0)
    found = seconds()
    assert found["replay-none-4"] == pytest.approx(60)
    assert found["replay-full-4"] == pytest.approx(60)  # as many image-epochs, the same method
    assert found["icarl-none-4"] is None
    measured(suite, "replay", "full", 90.0)
    assert seconds()["replay-full-4"] == pytest.approx(90)

    other = furnish(workspace, **TWO_SEEDS, suite="other", training={"base_epochs": 8, "epochs": 8})
    assert seconds(other)["replay-none-4"] == pytest.approx(120)  # twice the epochs
    wider = replaced(other, network=dataclasses.replace(other.network, width=16))
    assert set(seconds(wider).values()) == {None}
    with pytest.MonkeyPatch.context() as patch:
        elsewhere = {"device": "cpu", "processor": "another", "threads": 1}
        patch.setattr(Speeds, "hardware", elsewhere)
        assert set(seconds().values()) == {None}


def test_a_machine_is_its_gpu_or_its_processor_and_threads() -> None:
    cpu = {"device": "cpu", "processor": "P", "threads": 2, "cores": 2}
    assert machine(cpu) == machine(cpu | {"cores": 64})
    assert machine(cpu) != machine(cpu | {"threads": 1})
    gpu = cpu | {"device": "NVIDIA H100"}
    assert machine(gpu) == machine(gpu | {"processor": "Q", "threads": 9}) != machine(cpu)


def test_one_seed_of_everything_comes_first() -> None:
    cells = ordered_cells(tiny_suite(**TWO_SEEDS))
    first = ["replay-none", "replay-full", "icarl-none", "icarl-full", "finetune-none"]
    assert [cell.name for cell in cells] == [f"{name}-{seed}" for seed in (3, 4) for name in first]
    some = ordered_cells(tiny_suite(**TWO_SEEDS), ["icarl", "finetune"], ["none"], [4])
    assert [cell.name for cell in some] == ["icarl-none-4", "finetune-none-4"]


@pytest.mark.parametrize(
    ("filters", "told"),
    [
        ((["replya"], [], []), "--method 'replya' is not known; did you mean 'replay'"),
        (([], ["cim"], []), "--compressor 'cim' is not known; known: full, none"),
        (([], [], [5]), "--seed '5' is not known; .*known: 3, 4"),
        ((["finetune"], ["full"], []), "no cell passes the filters; bounds run with compressor none alone"),
    ],
)
def test_filters_that_fit_nothing_are_told(filters: tuple[Any, Any, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        ordered_cells(tiny_suite(**TWO_SEEDS), *filters)


def test_the_table_and_its_closing_line(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    suite = furnish(workspace, **TWO_SEEDS)
    assert main(["--params", "params.json", "plan", "--seed", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "method",
        "compressor",
        "seed",
        "image-epochs",
        "first",
        "phase",
        "left",
        "time",
        "state",
    ]
    # 96 images-epochs and 4 x (24 + 12) after them
    assert lines[2].split() == ["replay", "none", "3", "240", "96", "240", "no", "estimate", "to", "do:", "not", "run"]
    told = (
        "5 cells, 0 done, 5 to do: 1,152 image-epochs; no estimate of the time: nothing like it was measured here yet"
    )
    assert lines[-1] == f"suite test: {told}"  # 4 x 240 and 2 x 96 of finetune
    measured(suite, "replay", "none", 60.0)
    measured(suite, "replay", "full", 90.0)
    told = totals(make_plan(suite, ordered_cells(suite)))
    assert told == ("10 cells, 2 done, 8 to do: 1,824 image-epochs; about 0:02:30, and 6 cells without an estimate")
