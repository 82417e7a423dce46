"""Every method x compressor x data set on a tiny stream: what a newcomer's file has to hold, whatever is inside."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch

from cimbench.benchmarks.cell.run import Bench, build, remember, run_cell, task
from cimbench.benchmarks.contract import promises, small_stream
from cimbench.benchmarks.registry import COMPRESSORS, METHODS, load
from cimbench.benchmarks.suite.config import Suite, find_cell
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import open_store
from cimbench.datasets.stream.split import make_split, save_split
from cimbench.methods.memory.budget import UNITS
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, WITH_MEMORY, Silent, place
from tests.methods.small_sources import SMALL_SOURCES, source_store

HELD_OUT = {"protocol": {"validation_share": 0.25}}


def epochs_for(compressor: str) -> dict[str, int]:
    """One epoch a phase, or three where something changes between epochs (not before the last)."""
    epochs = 3 if compressor == "artifacts_only" else 1
    return {"base_epochs": epochs, "epochs": epochs}


# every method with every compressor on the first source; on the others every method once and every compressor once
COMBINATIONS = [
    (method, compressor, source)
    for number, source in enumerate(SMALL_SOURCES)
    for method in METHODS
    for compressor in COMPRESSORS
    if number == 0 or method == "replay" or compressor == "class_activation"
]


@pytest.mark.parametrize(("method", "compressor", "source"), COMBINATIONS)
def test_every_combination_keeps_its_promises(workspace: Path, method: str, compressor: str, source: str) -> None:
    suite = tiny_suite(budget={"exemplars_per_class": 2.0}, training=epochs_for(compressor), **HELD_OUT)
    store = source_store(source, workspace)
    (workspace / "data/stores").mkdir(parents=True)
    (workspace / "prepared").rename(suite.store)
    save_split(make_split(store, suite.protocol, SEED), store, suite.split_path(SEED))
    cell = find_cell(suite, method, compressor, SEED)
    if compressor == "object_box" and METHODS[method] in WITH_MEMORY and not len(store.boxes):
        with pytest.raises(InputError, match="coloured has no object boxes; choose another"):
            run_cell(cell, Silent())
        return
    record = promises.check_cell(cell)
    if cell.build_method_parameters()[0].uses_memory and len(store.class_names) >= 4:
        assert min(record.phases[-1].memory["exemplars"]) >= 1


# every method and every compressor, and every method with masks that learn beside it
PAIRS = [(m, c) for m in METHODS for c in COMPRESSORS if m == "replay" or c in ("class_activation", "cim")]


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(("method", "compressor"), PAIRS)
def test_two_runs_are_equal_and_another_seed_is_not(method: str, compressor: str) -> None:
    suite = tiny_suite(training=epochs_for(compressor), **HELD_OUT)
    small_stream.place(suite, coloured_store(), SEED, SEED + 1)
    promises.check_repeatable(*(find_cell(suite, method, compressor, seed) for seed in (SEED, SEED + 1)))


def build_with_split(suite: Suite, method: str, compressor: str, seed: int) -> Bench:
    """The cell's parts, with a split for any seed."""
    store = open_store(suite.store)
    save_split(make_split(store, suite.protocol, seed), store, suite.split_path(seed))
    return build(find_cell(suite, method, compressor, seed))


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("method", METHODS)
def test_state_dict_carries_everything(method: str) -> None:
    """A fresh object with the state gives the same scores, features and next phase."""
    suite = tiny_suite(training={"base_epochs": 1, "epochs": 1})
    place(suite, coloured_store())
    cell = find_cell(suite, method, "none", SEED)
    promises.check_state(cell)
    promises.check_learning(cell)


@pytest.mark.usefixtures("workspace")
def test_replayed_images_are_what_the_memory_holds() -> None:
    """The exemplars in a training task are the memory's decoded bytes, not the originals."""
    suite = tiny_suite(compressors={"class_activation": {"ratio": 4.0, "threshold": 0.5}})
    place(suite, coloured_store())
    bench = build(find_cell(suite, "replay", "class_activation", SEED))
    first, second = bench.stream.phase(0), bench.stream.phase(1)
    bench.method.learn(task(bench, first, [], Silent()))
    bench.memory.remember(first, bench.method.network, torch.Generator())
    given = task(bench, second, [], Silent())
    held = bench.memory.store.images()
    new = len(second.train)
    assert len(given.pool) == new + len(held)
    order = torch.randperm(len(given.pool), generator=torch.Generator().manual_seed(0))
    images, labels = given.pool.batch(order)
    assert torch.equal(images[order >= new], held.resized(16)[order[order >= new] - new])
    assert torch.equal(labels[order >= new], held.labels[order[order >= new] - new])
    assert torch.equal(images[order < new], second.train.resized(16)[order[order < new]])
    assert torch.equal(labels[order < new], second.train.labels[order[order < new]])
    originals = first.train.subset(torch.tensor([first.train.names.index(name) for name in bench.memory.names]))
    assert originals.digest != held.digest
    assert not torch.equal(originals.resized(16), held.resized(16))


@pytest.mark.usefixtures("workspace")
def test_new_images_wear_their_compressed_version_while_they_are_learnt() -> None:
    """Refreshed after each epoch and always shown: the second epoch sees nothing else."""
    sections = {"compressors": {"full": {"ratio": 16.0, "artifacts": {"step": 1.0, "refresh_epochs": 1}}}}
    suite = tiny_suite(training={"base_epochs": 3, "epochs": 3}, **sections)
    place(suite, coloured_store())
    bench = build(find_cell(suite, "replay", "full", SEED))
    phase = bench.stream.phase(0)
    given = task(bench, phase, [], Silent())
    order, random = torch.arange(len(phase.train)), torch.Generator()
    plain = phase.train.resized(16)
    assert torch.equal(given.pool.batch(order)[0], plain)
    bench.method.learn(given)
    exemplars = bench.memory.candidates(phase.train, bench.method.network, random)
    worn = exemplars.images().resized(16)
    assert not torch.equal(worn, plain)
    given.pool.draw_augmented(random)
    assert torch.equal(given.pool.batch(order)[0], worn)
    replayed = bench.memory
    remember(bench, phase)
    later = task(bench, bench.stream.phase(1), [], Silent())
    mixed = later.pool.batch(torch.arange(len(later.pool)))[0]
    new = len(bench.stream.phase(1).train)
    assert torch.equal(mixed[new:], replayed.store.images().resized(16))  # exemplars wear nothing over what they are


@pytest.mark.usefixtures("workspace")
def test_a_threshold_chosen_per_phase_is_recorded_and_resumed() -> None:
    """Its choice comes from the phase's held-out images, reaches the record, and is part of the memory's state."""
    thresholds = [0.05, 0.5, 0.95]
    sections = {"compressors": {"phase_tau": {"ratio": 64.0, "thresholds": thresholds}}, **HELD_OUT}
    suite = tiny_suite(training={"base_epochs": 6, "epochs": 6}, **sections)
    place(suite, coloured_store(train=16))
    bench = build(find_cell(suite, "replay", "phase_tau", SEED))
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    remember(bench, bench.stream.phase(0))
    chosen = bench.memory.audit(2).chosen
    by_hand = load("compressor", COMPRESSORS, "phase_tau")[0](bench.memory.compressor.parameters)  # type: ignore[attr-defined]
    by_hand.tune(bench.stream.validation(0), bench.method.network, bench.memory.form)
    assert chosen == by_hand.report()
    assert chosen != {"threshold": 0.5}, "the middle is what it starts from"
    fresh = build(find_cell(suite, "replay", "phase_tau", SEED))
    fresh.memory.load_state_dict({name: value.clone() for name, value in bench.memory.state_dict().items()})
    assert fresh.memory.compressor.report() == chosen


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("unit", UNITS)
def test_a_cell_in_every_unit(unit: str) -> None:
    """Equal budgets for both compressors, nearly used up, whatever is counted."""
    suite = tiny_suite(budget={"unit": unit, "exemplars_per_class": 4.0}, training={"base_epochs": 1, "epochs": 1})
    place(suite, coloured_store())
    accounts = [
        run_cell(find_cell(suite, "replay", compressor, SEED), Silent()).phases[-1].memory
        for compressor in ("none", "class_activation")
    ]
    assert {account["unit"] for account in accounts} == {unit}
    assert accounts[0]["budget"] == accounts[1]["budget"]
    for account in accounts:
        assert 0.5 * account["limit"] < account["spent"] <= account["limit"]
    if unit != "coded_bytes":
        assert sum(accounts[1]["exemplars"]) >= sum(accounts[0]["exemplars"]) == 16


@pytest.mark.usefixtures("workspace")
@pytest.mark.slow
def test_bounds_hold_on_a_tiny_stream() -> None:
    """Joint > every host > finetune, with margins, over seeds."""
    suite = tiny_suite(budget={"exemplars_per_class": 4.0}, training={"base_epochs": 10, "epochs": 10})
    place(suite, coloured_store(classes=6, train=12, test=10))
    last: dict[str, list[float]] = {method: [] for method in METHODS}
    for seed in (1, 2):
        for method, values in last.items():
            record = run_cell(build_with_split(suite, method, "none", seed).cell, Silent())
            head = {"icarl": "nme", "lucir": "cosine", "foster": "student"}.get(method, "linear")
            values.append(sum(record.phases[-1].correct[head]) / sum(record.tested))
    mean = {method: sum(values) / 2 for method, values in last.items()}
    assert mean["joint"] > 0.9
    for method in mean.keys() - {"joint", "finetune"}:
        assert mean["joint"] >= mean[method] > mean["finetune"] + 0.15, mean
    assert mean["finetune"] < 0.6


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("loss", ["sigmoid", "softmax"])
def test_icarl_distills_from_the_network_before_the_phase(loss: str) -> None:
    """With a huge weight on the old network's answers the old classes' scores hardly move; without, they do."""
    sections = {"training": {"base_epochs": 3, "epochs": 3, "learning_rate": 0.05}}
    suite = tiny_suite(methods={"icarl": {"loss": loss, "distillation_weight": 20.0}}, **sections)
    place(suite, coloured_store())
    moved = {}
    for method in ("icarl", "finetune"):
        bench = build(find_cell(suite, method, "none", SEED))
        bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
        images = bench.stream.phase(1).train.resized(16)
        before = bench.method.scores(images)["linear"].softmax(1)
        bench.method.learn(task(bench, bench.stream.phase(1), [], Silent()))
        after = bench.method.scores(images)["linear"][:, : before.shape[1]].softmax(1)
        moved[method] = float((before - after).abs().mean())
    assert moved["icarl"] < 0.7 * moved["finetune"]


@pytest.mark.usefixtures("workspace")
def test_joint_starts_anew_and_sees_all() -> None:
    suite = tiny_suite(training={"base_epochs": 1, "epochs": 1})
    place(suite, coloured_store())
    bench = build(find_cell(suite, "joint", "none", SEED))
    assert len(task(bench, bench.stream.phase(1), [], Silent()).pool) == 4 * 12
    before = dataclasses.replace(bench).method.network
    bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
    assert bench.method.network is not before
