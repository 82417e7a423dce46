"""The mask level: differences, its parts one by one, and that each of them matters."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from cimbench.benchmarks.throughput.measure import peak_allocated
from cimbench.methods.compression.masks import mask_level
from cimbench.methods.compression.masks.mask_level import Batch, MaskLevel, mask_gradient, small_and_back, soft_masks
from cimbench.methods.networks import resnet
from cimbench.methods.networks.heads import LinearHead
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.networks.rational import plain_rational
from tests.methods.mask_cases import REFERENCE, Case


def small_case() -> Case:
    """A network of a thousand weights in float64 and a loss that is the mean over images."""
    parameters = NetworkParameters(architecture="resnet8", stem="strided", width=3, input_side=16)
    network = Network(parameters, torch.Generator().manual_seed(0), rational_activations=True)
    network.head.grow(3, torch.Generator().manual_seed(1))
    network.double().eval()
    random = torch.Generator().manual_seed(2)
    batches = [
        Batch(torch.randn(5, 3, 16, 16, generator=random, dtype=torch.float64), torch.tensor(labels))
        for labels in ([0, 1, 2, 1, 0], [2, 2, 0, 1, 1])
    ]
    return Case(network, lambda x, y: functional.cross_entropy(network(x).logits, y), *batches, 0.5)


OURS = replace(REFERENCE, shortcuts="corrected", soft_images="corrected")


def outer_value(case: Case, level: MaskLevel) -> float:
    """The outer loss written out: for differences in phi."""
    network = case.network
    weights = {name: p for name, p in network.named_parameters() if name.startswith("branches.")}
    soft, logits = soft_masks(network, case.inner, level.activation)
    hybrid = mask_level.soft_compressed(case.inner.images, soft, level)
    gradients = torch.autograd.grad(case.loss(hybrid, case.inner.labels), list(weights.values()))
    moved = {name: p - case.step * g for (name, p), g in zip(weights.items(), gradients, strict=True)}
    logits_after = functional_call(network, moved, (case.outer.images,)).logits
    value = functional.cross_entropy(logits_after, case.outer.labels)
    soft, logits = soft_masks(network, case.inner, level.activation)
    value = value + level.diversity_weight * functional.cross_entropy(logits, case.inner.labels)
    return float((value + level.size_weight * soft.square().mean()).detach())


@pytest.mark.parametrize("activation", ["rational", "rational_in_last_block"])
@pytest.mark.parametrize("micro_batch", [2, 5])
def test_the_gradient_by_central_differences(activation: str, micro_batch: int) -> None:
    case = small_case()
    level = replace(OURS, activation=activation, micro_batch=micro_batch)
    found = mask_gradient(case.network, case.loss, case.inner, case.outer, case.step, level, [0]).gradients[0]
    phi = case.network.rational(0)
    differences = torch.zeros_like(phi)
    for place in np.ndindex(*phi.shape):
        values = []
        for sign in (1, -1):
            phi[place] += sign * 1e-6
            values.append(outer_value(case, level))
            phi[place] -= sign * 1e-6
        differences[place] = (values[0] - values[1]) / 2e-6
    scale = float(differences.abs().max())
    assert scale > 1e-3
    torch.testing.assert_close(found, differences, rtol=0, atol=1e-5 * scale)
    if activation != "rational":
        assert torch.equal(found[:-2], torch.zeros_like(found[:-2]))


def gradient(case: Case, level: MaskLevel = OURS) -> Tensor:
    return mask_gradient(case.network, case.loss, case.inner, case.outer, case.step, level, [0]).gradients[0]


@pytest.mark.parametrize("micro_batch", [2, 64])
def test_every_term_matters(micro_batch: int) -> None:
    """Without one of the outer terms the gradient is that of the other two; theta+ without its past leaves nothing."""
    case = small_case()
    level = replace(OURS, micro_batch=micro_batch)
    whole = gradient(case, level)
    no_size, no_diversity = (
        gradient(case, replace(level, size_weight=0.0)),
        gradient(case, replace(level, diversity_weight=0.0)),
    )
    steps_alone = replace(level, size_weight=0.0, diversity_weight=0.0)
    neither = gradient(case, steps_alone)
    for less in (no_size, no_diversity, neither):
        assert float((less - whole).abs().max()) > 1e-3 * float(whole.abs().max())
        assert float(less.abs().max()) > 1e-6
    torch.testing.assert_close(no_size + no_diversity - neither, whole)
    case.step = 0.0  # theta+ does not depend on phi
    torch.testing.assert_close(
        gradient(case, replace(level, size_weight=0.0, diversity_weight=0.0)), torch.zeros_like(whole)
    )
    torch.testing.assert_close(gradient(case, level), whole - neither)


def test_every_fast_weight_has_an_effect() -> None:
    """C8: each tensor of theta+ changes the outer loss, the shortcuts' too, unless the reference is asked for."""
    case = small_case()
    weights = mask_level.stepped_weights(case.network)
    assert sum(".downsample." in name for name in weights) == 2 * 3
    gradients = tuple(torch.ones_like(value) for value in weights.values())
    before = mask_level._asked(case.network, {}, case.outer)
    for fidelity in ("corrected", "reference"):
        moved = mask_level._after_step(weights, gradients, 0.3, replace(OURS, shortcuts=fidelity))
        assert weights.keys() - moved.keys() == (
            {n for n in weights if ".downsample." in n} if fidelity == "reference" else set()
        )
        for name, value in moved.items():
            after = mask_level._asked(case.network, {name: value}, case.outer)
            assert not torch.equal(before, after), name


def test_the_weights_and_the_mode_stay_as_they_are() -> None:
    case = small_case()
    before = copy.deepcopy(case.network.state_dict())
    for micro_batch in (2, 64):
        gradient(case, replace(OURS, micro_batch=micro_batch))
        assert all(torch.equal(value, before[name]) for name, value in case.network.state_dict().items())
        assert not case.network.rational(0).requires_grad
        assert all(p.grad is None for p in case.network.parameters())


def test_one_level_goes_down_the_hosts_own_loss() -> None:
    """Row 8: no second batch, no step; the derivative of L_host(A x + (1 - A) small) itself."""
    case = small_case()
    level = replace(OURS, two_levels=False, size_weight=0.0, diversity_weight=0.0)
    found = gradient(case, level)
    phi, place = case.network.rational(0), (3, 2)
    values = []
    for sign in (1, -1):
        phi[place] += sign * 1e-6
        soft, _ = soft_masks(case.network, case.inner, "rational")
        values.append(
            float(case.loss(mask_level.soft_compressed(case.inner.images, soft, level), case.inner.labels).detach())
        )
        phi[place] -= sign * 1e-6
    assert float(found[place]) == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-4)
    case.outer = case.inner
    case.step = 99.0
    assert torch.equal(gradient(case, level), found)


def test_a_constant_map_keeps_everything_and_gives_no_gradient() -> None:
    case = small_case()
    with torch.no_grad():
        case.network.head.weight.zero_()
    soft, _ = soft_masks(case.network, case.inner, "rational")
    assert torch.equal(soft, torch.ones_like(soft))
    torch.testing.assert_close(mask_level.soft_compressed(case.inner.images, soft, OURS), case.inner.images)
    level = replace(OURS, diversity_weight=0.0)
    assert torch.equal(gradient(case, level), torch.zeros(7, 10, dtype=torch.float64))


def test_what_is_small_and_back_is_what_the_store_keeps() -> None:
    """By the same index rule as stored exemplars; the reference's own rule takes other pixels."""
    images = torch.arange(3 * 10 * 14, dtype=torch.float64).view(1, 3, 10, 14)
    rows, columns = torch.tensor([1, 1, 3, 3, 5, 5, 7, 7, 9, 9]), torch.arange(14) // 2 * 2 + 1
    torch.testing.assert_close(small_and_back(images, 4.0, OURS), images[:, :, rows][:, :, :, columns])
    torch.testing.assert_close(small_and_back(images, 4.0, REFERENCE), images[:, :, rows - 1][:, :, :, columns - 1])
    smooth = small_and_back(images, 4.0, replace(OURS, resampling="area_bilinear"))
    assert float((smooth - images).abs().mean()) < float((small_and_back(images, 4.0, OURS) - images).abs().mean())
    assert small_and_back(images[:, :, :1, :1], 4.0, OURS).shape == (1, 3, 1, 1)


def test_a_compressed_box_is_compressed_in_the_soft_image_too() -> None:
    images = torch.rand(2, 3, 12, 12, dtype=torch.float64)
    everywhere, nowhere = torch.ones(2, 3, 3, dtype=torch.float64), torch.zeros(2, 3, 3, dtype=torch.float64)
    level = replace(OURS, inner_ratio=2.25)
    assert torch.equal(mask_level.soft_compressed(images, everywhere, OURS), images)
    torch.testing.assert_close(
        mask_level.soft_compressed(images, everywhere, level), small_and_back(images, 2.25, level)
    )
    torch.testing.assert_close(mask_level.soft_compressed(images, nowhere, level), small_and_back(images, 4.0, level))


def test_two_branches_learn_with_either_or_both() -> None:
    """C4: the rationals of a frozen branch learn too where they are asked for; its weights take no step."""
    case = small_case()
    network = case.network
    network.add_branch(torch.Generator().manual_seed(5), warm=False)
    network.double().eval()
    head = LinearHead(network.features)
    head.grow(3, torch.Generator().manual_seed(6))
    network.head = head.double()
    assert all(name.startswith("branches.1.") for name in mask_level.stepped_weights(network))
    both = mask_gradient(network, case.loss, case.inner, case.outer, 0.5, OURS, [0, 1]).gradients
    new = mask_gradient(network, case.loss, case.inner, case.outer, 0.5, OURS, [1]).gradients
    assert len(both) == 2 and len(new) == 1
    torch.testing.assert_close(both[1], new[0])
    assert float(both[0].abs().max()) > 1e-6


def test_the_graph_takes_less_than_half_the_memory_of_torchs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted by the allocator, so that it is the same on every machine; in parts less again."""
    case = small_case()
    images = Batch(torch.randn(16, 3, 16, 16, dtype=torch.float64), torch.arange(16) % 3)

    def bytes_for(micro_batch: int) -> int:
        level = replace(OURS, micro_batch=micro_batch)
        return peak_allocated(lambda: mask_gradient(case.network, case.loss, images, images, 0.5, level, [0]), "cpu")

    whole, parts = bytes_for(16), bytes_for(4)
    plain = lambda x, c: functional.relu(x) if c is None else plain_rational(x, c)  # noqa: E731
    monkeypatch.setattr(resnet, "activate", plain)
    assert whole < 0.5 * bytes_for(16)
    assert parts < 0.6 * whole
