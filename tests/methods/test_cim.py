"""CIM beside every host: what learns and what stays, phi from phase to phase, interruption, and what stops it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from cimbench.benchmarks.cell.run import build, run_cell, task
from cimbench.benchmarks.registry import METHODS
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.errors import InputError
from cimbench.methods.compression.boxes.activation import activation_maps, boxes_above
from cimbench.methods.compression.cim_joint import CIMJointParameters
from cimbench.methods.compression.compressor import EpochDone
from cimbench.methods.compression.masks.adaptive import AdaptiveMasks, AdaptiveParameters
from cimbench.methods.errors import NonFiniteLossError
from cimbench.methods.foster import FOSTER
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.networks.rational import start_values
from cimbench.methods.training.recipe import FIRST
from cimbench.methods.training.task import EpochReport
from tests.benchmarks.interruption import PowerCutError, batches, outcome
from tests.benchmarks.workplace import furnish
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, WITH_MEMORY, Silent, place
from tests.methods.learnt_masks import VARIANTS, learnt


def start(network: Network) -> Tensor:
    return start_values(len(network.rational(0)))


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("method", sorted(name for name, entry in METHODS.items() if entry in WITH_MEMORY))
def test_the_hosts_own_learning_is_untouched(method: str) -> None:
    """In the first phase, which has no exemplars, theta and the losses are those without masks, to the bit."""
    with_masks, without = learnt(method), learnt(method, "class_activation")
    state, plain = with_masks.method.state_dict(), without.method.state_dict()
    assert set(state.keys() - plain.keys()) == {"network.branches.0.rational"}
    for name, value in plain.items():
        assert torch.equal(state[name], value), name
    assert not torch.equal(with_masks.method.network.rational(0), start(with_masks.method.network))


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("compressor", VARIANTS)
def test_variants_learn_what_they_are_named_after(compressor: str) -> None:
    bench = learnt(compressor=compressor)
    network = bench.method.network
    shifts = (network.rational(0) - start(network)).abs().amax(1)
    learning = slice(5, 7) if compressor == "cim_last_block" else slice(0, 7)
    assert float(shifts[learning].min()) > 1e-3
    assert float(shifts.sum()) == pytest.approx(float(shifts[learning].sum()))
    masks = bench.memory.compressor
    assert isinstance(masks, AdaptiveMasks)
    images = bench.stream.phase(0).train
    activation = "rational_in_last_block" if compressor == "cim_last_block" else "rational"
    maps = activation_maps(images, network, activation)
    assert torch.equal(masks.maps(images, network), maps)
    found = masks.boxes(images, network, torch.Generator())
    assert torch.equal(found.xyxy, boxes_above(maps, images, masks.parameters.threshold).xyxy)
    assert bench.memory.store.format.inner_ratio == (1.5 if compressor == "cim_foreground" else 1.0)
    assert masks.parameters.level.two_levels == (compressor != "cim_joint")
    account = bench.memory.audit(2)
    assert account.measured["mask_seconds"] > 0
    assert account.measured["rational_shift"] > 0


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize(("method", "read"), [("replay", 7), ("lucir", 6)])
def test_how_far_phi_moved_is_of_what_the_map_reads(method: str, read: int) -> None:
    """LUCIR's last block ends without an activation: its row is never read and does not count."""
    bench = learnt(method)
    network = bench.method.network
    moved = (network.rational(0) - start(network))[:read]
    shift = bench.memory.audit(2).measured["rational_shift"]
    assert shift == pytest.approx(float(moved.square().mean().sqrt()))


@pytest.mark.usefixtures("workspace")
def test_one_level_and_two_learn_differently() -> None:
    one, two = learnt(compressor="cim_joint"), learnt(compressor="cim")
    assert not torch.equal(one.method.network.rational(0), two.method.network.rational(0))
    assert CIMJointParameters().levels == "one"


@pytest.mark.usefixtures("workspace")
def test_steps_follow_the_new_classes_and_the_rate_a_cosine() -> None:
    """int(0.5 x classes) steps, at least one, and 0.01 (1 + cos(pi e / E)) / 2, seen at Adam."""
    for steps_per_class, expected in ((0.5, 1), (2.0, 4)):
        section = {"ratio": 4.0, "threshold": 0.5, "steps_per_class": steps_per_class}
        suite = tiny_suite(compressors={"cim": section}, training={"base_epochs": 3, "epochs": 3})
        place(suite, coloured_store())
        bench = build(find_cell(suite, "replay", "cim", SEED))
        rates: list[float] = []
        real = torch.optim.Adam.step

        def step(adam: Any, seen: list[float] = rates, real: Any = real) -> None:
            seen.append(adam.param_groups[0]["lr"])
            assert math.sqrt(sum(float(p.grad.square().sum()) for p in adam.param_groups[0]["params"])) <= 1.0001
            real(adam)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch.optim.Adam, "step", step)
            bench.method.learn(task(bench, bench.stream.phase(0), [], Silent()))
        cosine = [0.01 * (1 + math.cos(math.pi * epoch / 3)) / 2 for epoch in range(3)]
        assert rates == pytest.approx([rate for rate in cosine for _ in range(expected)])


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("activations", ["corrected", "reference"])
def test_what_foster_learns_of_masks_goes_on(activations: str) -> None:
    """C5: the student starts the next phase with the new branch's activations; in the reference with the old one's."""
    bench = learnt("foster", phases=1, methods={"foster": {"activations": activations}})
    foster = bench.method
    assert isinstance(foster, FOSTER)
    first_phase = foster.network.rational(0).clone()
    foster.learn(task(bench, bench.stream.phase(1), [], Silent()))
    assert not torch.equal(foster.network.rational(1), first_phase)
    expected = foster.network.rational(1) if activations == "corrected" else first_phase
    assert torch.equal(foster.student.rational(0), expected)


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("old_branches", ["corrected", "reference"])
@pytest.mark.parametrize("method", ["der", "foster"])
def test_old_branches_activations_learn_too(method: str, old_branches: str) -> None:
    """C4: the published code freezes them with their branch; no weight of the branch moves in either."""
    bench = learnt(method, masks={"old_branches": old_branches})
    network = bench.method.network
    before, weights = network.rational(0).clone(), network.branches[0].conv1.weight.clone()
    bench.method.learn(task(bench, bench.stream.phase(1), [], Silent()))
    network = bench.method.network
    assert len(network.branches) == 2
    assert torch.equal(network.branches[0].conv1.weight, weights)
    assert torch.equal(network.rational(0), before) == (old_branches == "reference")
    assert not torch.equal(network.rational(1), before)


@pytest.mark.usefixtures("workspace")
def test_phi_goes_on_from_phase_to_phase() -> None:
    bench = learnt()
    before = bench.method.network.rational(0).clone()
    given = task(bench, bench.stream.phase(1), [], Silent())
    masks = bench.memory.compressor
    assert isinstance(masks, AdaptiveMasks)
    seen: list[Tensor] = []
    real = masks.after_epoch
    masks.after_epoch = lambda network, *rest: (seen.append(network.rational(0).clone()), real(network, *rest))[1]  # type: ignore[method-assign]
    bench.method.learn(given)
    assert torch.equal(seen[0], before)
    assert len(seen) == 2 and not torch.equal(seen[1], before)


@pytest.mark.parametrize("method", ["foster", "der"])
def test_after_a_cut_in_the_second_training_the_next_phase_starts_its_own_steps(workspace: Path, method: str) -> None:
    """The first training is skipped then, so that nobody asks for its moments: they may not reach the next phase."""
    sections = {"protocol": {"phases": 4}, "training": {"base_epochs": 2, "epochs": 2}}
    suite = furnish(workspace, **sections, compressors={"cim": {"threshold": 0.5}})
    cell = find_cell(suite, method, "cim", 3)
    run_cell(cell, Silent())
    expected = without_times(outcome(cell.folder))
    cell = find_cell(dataclasses.replace(suite, checkpoint_epochs=1), method, "cim", 3)

    class CutInSecondTraining(Silent):
        def epoch(self, report: EpochReport) -> None:
            if report.phase == 1 and report.stage != FIRST:
                raise PowerCutError

    with pytest.raises(PowerCutError):
        run_cell(cell, CutInSecondTraining())
    run_cell(cell, Silent())
    assert without_times(outcome(cell.folder)) == expected


@pytest.mark.parametrize("method", ["replay", "foster"])
def test_cut_within_a_phase_masks_go_on_to_the_same_bits(workspace: Path, method: str) -> None:
    """Adam's moments, the random streams and phi are all in the state within a phase."""
    section = {"threshold": 0.5, "artifacts": {"step": 0.4, "refresh_epochs": 2}}
    sections = {"training": {"base_epochs": 6, "epochs": 6}, "compressors": {"cim": section}}
    suite = furnish(workspace, **sections)
    cell = find_cell(suite, method, "cim", 3)
    total = batches(cell)
    phi = load_phi(cell.folder)
    expected = without_times(outcome(cell.folder))
    cell = find_cell(dataclasses.replace(suite, checkpoint_epochs=1), method, "cim", 3)
    for stop in (total // 3, total // 3, total // 4):
        with pytest.raises(PowerCutError):
            batches(cell, stop)
        assert cell.phase_checkpoint.is_file()
    run_cell(cell, Silent())
    assert without_times(outcome(cell.folder)) == expected
    assert load_phi(cell.folder) == phi


def load_phi(folder: Path) -> list[float]:
    """How far the activations have moved, phase by phase."""
    return [phase["memory"]["measured"]["rational_shift"] for phase in outcome(folder)[0]["phases"]]


def without_times(found: tuple[dict[str, Any], dict[str, bytes]]) -> tuple[dict[str, Any], dict[str, bytes]]:
    for phase in found[0]["phases"]:
        del phase["memory"]["measured"]["mask_seconds"]
    return found


def masks_and_network(rational_activations: bool = True) -> tuple[AdaptiveMasks, Network]:
    parameters = NetworkParameters(architecture="resnet8", stem="strided", width=4, input_side=16)
    network = Network(parameters, torch.Generator().manual_seed(0), rational_activations=rational_activations)
    network.head.grow(2, torch.Generator().manual_seed(0))
    return AdaptiveMasks(AdaptiveParameters(batch_size=16, weight_decay=0.0)), network


def done(images: int = 1) -> EpochDone:
    """An epoch after which there are so many images to draw from."""
    random = torch.Generator().manual_seed(0)

    def draw(count: int) -> tuple[Tensor, Tensor]:
        held = min(count, images)
        return torch.randn(held, 3, 16, 16, generator=random), torch.arange(held) % 2

    return EpochDone(phase=1, epoch=0, epochs=4, new_classes=2, rate=0.1, draw=draw)


def cross_entropy(network: Network) -> Any:
    return lambda x, y: torch.nn.functional.cross_entropy(network(x).logits, y)


@pytest.mark.parametrize("images", [1, 5])
def test_a_batch_of_one_and_fewer_images_than_a_batch(images: int) -> None:
    masks, network = masks_and_network()
    network.train()
    masks.after_epoch(network, cross_entropy(network), done(images))
    assert bool(torch.isfinite(network.rational(0)).all())
    assert not torch.equal(network.rational(0), start(network))
    assert network.training


def test_a_host_without_what_masks_need_is_told() -> None:
    masks, network = masks_and_network(rational_activations=False)
    with pytest.raises(InputError, match="the network has no rational activations; it was built without"):
        masks.after_epoch(network, cross_entropy(network), done())


@pytest.mark.parametrize(
    ("position", "name"), [(0, "of the stem"), (4, r"of layer2.0, the second,"), (5, r"of layer3.0, the first,")]
)
def test_phi_that_is_not_finite_stops_and_names_the_activation(position: int, name: str) -> None:
    masks, network = masks_and_network()
    network.rational(0)[position, 2] = float("nan")
    words = f"{name} of branch 1 is not finite after epoch 1 of phase 2; lower compressors.cim.rate.*phase 1 is kept"
    with pytest.raises(NonFiniteLossError, match=words):
        masks._check(network, done())


@pytest.mark.usefixtures("workspace")
def test_a_nan_in_phi_keeps_the_checkpoint() -> None:
    suite = tiny_suite(compressors={"cim": {"threshold": 0.5, "rate": 1e30}})
    place(suite, coloured_store())
    with pytest.raises((NonFiniteLossError, InputError), match="not finite"):
        run_cell(find_cell(suite, "replay", "cim", SEED), Silent())
