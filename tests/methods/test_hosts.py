"""What is particular to a host: which parts are frozen, what starts from what, what a second training sees."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from cimbench.benchmarks.cell.run import Bench, build, remember, task
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.errors import InputError
from cimbench.methods.der import DERParameters
from cimbench.methods.foster import FOSTER, FOSTERParameters
from cimbench.methods.lucir import LUCIRParameters
from cimbench.methods.networks.heads import CosineHead
from cimbench.methods.networks.network import Network, in_eval
from cimbench.methods.training.task import Task
from cimbench.methods.wa import WAParameters
from tests.conftest import coloured_store, tiny_suite
from tests.methods.cells import SEED, Silent, place

pytestmark = pytest.mark.usefixtures("workspace")


def after_first_phase(method: str, **parameters: Any) -> Bench:
    """A host that has learnt and remembered two of four classes."""
    sections = {"methods": {method: parameters}, "training": {"base_epochs": 2, "epochs": 2}}
    suite = tiny_suite(**sections)
    place(suite, coloured_store())
    bench = build(find_cell(suite, method, "none", SEED))
    bench.method.learn(first(bench, 0))
    remember(bench, bench.stream.phase(0))
    return bench


def first(bench: Bench, phase: int) -> Task:
    return task(bench, bench.stream.phase(phase), [], Silent())


def bits(network: Network, prefix: str) -> dict[str, torch.Tensor]:
    state = network.state_dict()
    return {name: value.clone() for name, value in state.items() if name.startswith(prefix)}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("warm", [True, False])
def test_der_freezes_old_branches_and_their_statistics(warm: bool) -> None:
    bench = after_first_phase("der", warm_start=warm, tuning_epochs=1)
    before = bits(bench.method.network, "branches.0.")
    bench.method.learn(first(bench, 1))
    network = bench.method.network
    assert len(network.branches) == 2
    assert same(bits(network, "branches.0."), before)
    new = bits(network, "branches.1.")
    assert all(not torch.equal(new[f"branches.1.{name}"], before[f"branches.0.{name}"]) for name in ("conv1.weight",))
    assert network.head.weight.shape == (4, 2 * network.backbone.features)
    assert network.auxiliary is None


def test_der_tunes_the_classifier_alone_and_on_balanced_data() -> None:
    tuned, plain = (after_first_phase("der", tuning_epochs=epochs) for epochs in (2, 0))
    for bench in (tuned, plain):
        bench.method.learn(first(bench, 1))
    assert same(bits(tuned.method.network, "branches."), bits(plain.method.network, "branches."))
    assert not torch.equal(tuned.method.network.head.weight, plain.method.network.head.weight)
    pool = first(tuned, 1).pool
    balanced = pool.balanced(torch.Generator().manual_seed(0))
    assert pool.all_labels.bincount().tolist() == [6, 6, 12, 12]
    images, labels = balanced.batch(torch.arange(len(balanced)))
    assert labels.bincount().tolist() == [6, 6, 6, 6]
    everything = pool.batch(torch.arange(len(pool)))[0]
    assert torch.equal(images, everything[balanced.members])


def pixels_of(given: Task) -> torch.Tensor:
    """All new images."""
    return given.pool.images.batch(torch.arange(len(given.pool.images)))


def test_lucir_fixes_old_rows_and_imprints_new_ones() -> None:
    bench = after_first_phase("lucir")
    head = bench.method.network.head
    assert isinstance(head, CosineHead)
    old_rows = head.weight.detach().clone()
    given = first(bench, 1)
    features = torch.nn.functional.normalize(bench.method.embed(pixels_of(given)), dim=1)
    bench.method.setup.training.__dict__["learning_rate"] = 0.0  # so that what training starts from can be read
    bench.method.learn(given)
    head = bench.method.network.head
    assert isinstance(head, CosineHead)
    assert torch.equal(head.fixed, old_rows)
    for row, label in zip(head.rows, (2, 3), strict=True):
        mean = features[given.pool.labels == label].mean(0)
        expected = mean / mean.norm() * old_rows.norm(dim=1).mean()
        torch.testing.assert_close(row.detach(), expected, rtol=1e-4, atol=1e-5)
    assert bench.method.scores(pixels_of(given)).keys() == {"cosine"}
    features = bench.method.embed(pixels_of(given))
    assert float(features.min()) < 0  # no ReLU at the end of the last block


def test_lucirs_old_rows_do_not_move_while_it_learns() -> None:
    bench = after_first_phase("lucir")
    before = bench.method.network.head.weight.detach().clone()
    bench.method.learn(first(bench, 1))
    head = bench.method.network.head
    assert torch.equal(head.weight[:2], before)
    assert float(head.sigma) != 1  # the scale is learnt


def test_foster_boosts_beside_the_old_student_and_compresses() -> None:
    bench = after_first_phase("foster")
    foster = bench.method
    assert isinstance(foster, FOSTER)
    before = bits(foster.student, "branches.0.")
    foster.learn(first(bench, 1))
    assert len(foster.network.branches) == 2
    assert same(bits(foster.network, "branches.0."), before)  # the old student, frozen in the teacher
    assert len(foster.student.branches) == 1
    assert not same(bits(foster.student, "branches.0."), before)
    images = bench.stream.test_so_far(1).resized(16)
    scores = foster.scores(images)
    assert scores["teacher"].shape == scores["student"].shape == (len(images), 4)
    assert not torch.equal(scores["teacher"], scores["student"])
    held = sum(value.nbytes for value in foster.state_dict().values())
    one = sum(value.nbytes for value in foster.student.state_dict().values())
    assert held > 2.9 * one  # three branches: what the next phase starts from, and the teacher's two


def test_fosters_next_phase_starts_from_the_student() -> None:
    sections = {"protocol": {"phases": 4}, "training": {"base_epochs": 1, "epochs": 1}}
    suite = tiny_suite(**sections)
    place(suite, coloured_store())
    bench = build(find_cell(suite, "foster", "none", SEED))
    for phase in range(2):
        bench.method.learn(first(bench, phase))
        remember(bench, bench.stream.phase(phase))
    assert isinstance(bench.method, FOSTER)
    student = bits(bench.method.student, "branches.0.")
    bench.method.learn(first(bench, 2))
    assert same(bits(bench.method.network, "branches.0."), student)


@pytest.mark.parametrize("network", ["teacher", "student"])
def test_fosters_alignment_evens_the_rows(network: str) -> None:
    for value in (1.0, 0.5):
        bench = after_first_phase("foster", **{f"{network}_alignment": True, "alignment_value": value})
        foster = bench.method
        assert isinstance(foster, FOSTER)
        foster.learn(first(bench, 1))
        lengths = (foster.network if network == "teacher" else foster.student).head.weight.norm(dim=1)
        ratio = float((lengths[2:].mean() / lengths[:2].mean()).detach())
        assert ratio == pytest.approx(value, rel=1e-5)


def test_wa_evens_the_rows() -> None:
    bench = after_first_phase("wa")
    bench.method.learn(first(bench, 1))
    lengths = bench.method.network.head.weight.norm(dim=1)
    assert float((lengths[2:].mean() / lengths[:2].mean()).detach()) == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize(
    ("parameters", "values", "words"),
    [
        (DERParameters, {"tuning_temperature": 0.0}, "methods.der.tuning_temperature is 0.0"),
        (DERParameters, {"tuning_epochs": -1}, "methods.der.tuning_epochs is -1"),
        (FOSTERParameters, {"beta1": ()}, "methods.foster.beta1 is empty"),
        (FOSTERParameters, {"beta1": (0.9, 1.0)}, "methods.foster.beta1 is 1.0; give 0 or more, less than 1"),
        (FOSTERParameters, {"beta2": -0.1}, "methods.foster.beta2 is -0.1"),
        (FOSTERParameters, {"compression_epochs": 0}, "methods.foster.compression_epochs is 0"),
        (LUCIRParameters, {"hardest": 0}, "methods.lucir.hardest is 0"),
        (LUCIRParameters, {"less_forget": -1.0}, "methods.lucir.less_forget is -1"),
        (WAParameters, {"distillation_temperature": 0.0}, "methods.wa.distillation_temperature is 0.0"),
    ],
)
def test_bad_parameters_are_named(parameters: Any, values: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        parameters(**values)


def counted(**parameters: str) -> list[int]:
    """The images of each class that FOSTER's second phase reckons with."""
    suite = tiny_suite(methods={"foster": parameters}, training={"base_epochs": 1, "epochs": 1})
    place(suite, coloured_store())
    bench = build(find_cell(suite, "foster", "full", SEED))
    bench.method.learn(first(bench, 0))
    remember(bench, bench.stream.phase(0))
    assert isinstance(bench.method, FOSTER)
    return bench.method._counts(first(bench, 1)).tolist()


def test_fosters_counts_are_the_real_ones_unless_the_references_are_asked_for() -> None:
    """C15: exemplars as many as the budget holds uncompressed. C16: the sum of the images' places in the data set."""
    suite = tiny_suite()
    store = coloured_store()
    place(suite, store)
    bench = build(find_cell(suite, "foster", "none", SEED))
    targets = bench.stream.store.labels[~bench.stream.store.is_test].numpy()
    sums = [int(np.sum(np.where(targets == label))) for label in (2, 3)]
    real = counted()
    assert real[:2] == [12, 12]  # all of them fit once they are small
    assert real[2:] == [12, 12]
    assert counted(exemplar_counts="reference") == [6, 6, 12, 12]  # 3 a class and 4 classes, among 2
    assert counted(image_counts="reference") == [12, 12, *sums]
    assert min(sums) > 60
    with pytest.raises(InputError, match=r"methods.foster.image_counts is 'theirs'"):
        FOSTERParameters(image_counts="theirs")


@pytest.mark.parametrize("selector", ["teacher", "student"])
def test_fosters_selector_gives_boxes_features_and_means(selector: str) -> None:
    """C19: the published code selects by the teacher; which network does is a parameter."""
    bench = after_first_phase("foster", selector=selector)
    foster = bench.method
    assert isinstance(foster, FOSTER)
    foster.learn(first(bench, 1))
    network = foster.network if selector == "teacher" else foster.student
    assert foster.exemplar_network is network
    images = bench.stream.test_so_far(1).resized(16)
    assert torch.equal(foster.embed(images), in_eval(network, images, "features"))
    assert foster.embed(images).shape[1] == network.features
    asked: list[Network] = []
    real = bench.memory.remember
    bench.memory.remember = lambda phase, chosen, *rest: (asked.append(chosen), real(phase, chosen, *rest))[1]  # type: ignore[method-assign]
    remember(bench, bench.stream.phase(1))
    assert asked == [network]
