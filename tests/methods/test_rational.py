"""The rational activation: golden values, derivatives by differences, bfloat16, layouts, and the networks it is in."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.networks.rational import LIKE_RELU, activate, plain_rational, start_values
from tests.conftest import DEVICES
from tests.methods.rationals import filled

Golden = Callable[[str], dict[str, np.ndarray]]


def golden_set(data: dict[str, np.ndarray], row: int, device: str) -> tuple[Tensor, Tensor]:
    x = torch.from_numpy(data["x"]).double().to(device).requires_grad_()
    coefficients = np.concatenate([data["numerators"][row], data["denominators"][row]])
    return x, torch.from_numpy(coefficients).double().to(device).requires_grad_()


def close(found: Tensor, expected: np.ndarray, tolerance: float) -> None:
    scale = np.abs(expected).max()
    np.testing.assert_allclose(found.detach().cpu().numpy(), expected, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", range(4))
def test_golden_values_and_first_derivatives(golden: Golden, row: int, device: str) -> None:
    data = golden("rational")
    x, coefficients = golden_set(data, row, device)
    y = activate(x, coefficients)
    close(y, data["y_f64"][row], 1e-11)
    along, across = torch.autograd.grad(y.sum(), (x, coefficients))
    close(along, data["grad_x_f64"][row], 1e-11)
    close(across, np.concatenate([data["grad_num_f64"][row], data["grad_den_f64"][row]]), 1e-11)
    x32, c32 = x.detach().float().requires_grad_(), coefficients.detach().float().requires_grad_()
    y32 = activate(x32, c32)
    close(y32, data["y_f32"][row], 1e-6)
    along, across = torch.autograd.grad(y32.sum(), (x32, c32))
    close(along, data["grad_x_f32"][row], 2e-6)  # either side's rounding is about 1e-6
    close(across, np.concatenate([data["grad_num_f32"][row], data["grad_den_f32"][row]]), 2e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("row", range(4))
def test_golden_second_derivatives(golden: Golden, row: int, device: str) -> None:
    """The gradient of the sum of (dy/dx)^2."""
    data = golden("rational")
    x, coefficients = golden_set(data, row, device)
    (along,) = torch.autograd.grad(activate(x, coefficients).sum(), x, create_graph=True)
    for_x, across = torch.autograd.grad((along**2).sum(), (x, coefficients))
    close(for_x, data["gp_grad_x_f64"][row], 1e-11)
    close(across, np.concatenate([data["gp_grad_num_f64"][row], data["gp_grad_den_f64"][row]]), 1e-11)


def test_start_values_are_the_packages(golden: Golden) -> None:
    data = golden("rational")
    expected = np.concatenate([data["relu_num_f64_config"], data["relu_den_f64_config"]])
    np.testing.assert_array_equal(start_values(1)[0].numpy(), expected.astype(np.float32))
    x = torch.linspace(-3, 3, 601)
    error = (activate(x, start_values(1)[0]) - x.clamp(min=0)).abs()
    assert float(error.max()) == pytest.approx(0.02996, abs=1e-4)


@pytest.mark.parametrize("shape", [(7,), (2, 3, 5, 4), (0, 3), (3, 40_000)])
def test_first_and_second_derivatives_are_those_of_the_formula(shape: tuple[int, ...]) -> None:
    """Every term of the second derivative, for arrays of one slice, of several, and of none; 0 among the values."""
    random = torch.Generator().manual_seed(0)
    x = (3 * torch.randn(shape, generator=random, dtype=torch.float64)).requires_grad_()
    with torch.no_grad():
        x.view(-1)[:1] = 0
    weight = torch.randn(shape, generator=random, dtype=torch.float64)
    for denominators in ([-1.2, 4.4, 0.9, 0.3], [0.0, 0.5, 0.0, -0.2]):
        coefficients = torch.tensor([*LIKE_RELU[:6], *denominators], dtype=torch.float64).requires_grad_()

        def derivatives(function: Callable[[Tensor, Tensor], Tensor], at: Tensor = coefficients) -> list[Tensor]:
            y = function(x, at)
            along, across = torch.autograd.grad((y * weight).sum(), (x, at), create_graph=True)
            again = (along**2 * weight).sum() + (across**3).sum() * 1e-9 + (y**2).sum()
            return [y, along, across, *torch.autograd.grad(again, (x, at))]

        for ours, plain in zip(derivatives(activate), derivatives(plain_rational), strict=True):
            torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-9)


def test_numerical_differences_agree() -> None:
    """By torch.autograd.gradcheck, away from 0, where |x| has a kink."""
    x = torch.tensor([-2.0, -0.7, 0.4, 1.9], dtype=torch.float64, requires_grad=True)
    coefficients = torch.tensor(LIKE_RELU, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(activate, (x, coefficients))
    assert torch.autograd.gradgradcheck(activate, (x, coefficients))


def test_channels_last_stays_and_bfloat16_is_rounded_once() -> None:
    x = torch.randn(2, 8, 5, 4, generator=torch.Generator().manual_seed(0)).to(memory_format=torch.channels_last)
    coefficients = start_values(1)[0]
    y = activate(x, coefficients)
    assert y.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(y, activate(x.contiguous(), coefficients))
    lower = x.to(torch.bfloat16)
    assert torch.equal(activate(lower, coefficients), activate(lower.float(), coefficients).to(torch.bfloat16))


def test_other_numbers_of_coefficients_are_refused() -> None:
    for shape in ((9,), (2, 10), ()):
        with pytest.raises(InputError, match=r"rational coefficients are of shape .*; give \(10,\)"):
            activate(torch.zeros(3), torch.zeros(shape))


@pytest.mark.parametrize(("kind", "spread"), [("ratl", 0.02), ("ratlinit", 0.0)])
def test_resnet18_with_rationals_is_the_references(golden: Golden, kind: str, spread: float) -> None:
    data = golden("forward_resnet18")
    network = filled(int(data["base_seed"]), spread)
    for k in range(3):
        shape = data[f"input{k}_shape"].tolist()
        x = np.random.RandomState(int(data[f"input{k}_seed"])).standard_normal(shape).astype(np.float32)
        with torch.no_grad():
            maps = network(torch.from_numpy(x).double(), "rational")
        np.testing.assert_allclose(maps.mean((2, 3)).numpy(), data[f"in{k}_{kind}_features_f64"], rtol=0, atol=1e-10)
        stored = data[f"in{k}_{kind}_fmap_f64"]
        np.testing.assert_allclose(maps.numpy(), stored, rtol=0, atol=1e-10 if stored.dtype == np.float64 else 1e-6)


def network(rational_activations: bool = True) -> Network:
    parameters = NetworkParameters(architecture="resnet8", stem="strided", width=4, input_side=16)
    made = Network(parameters, torch.Generator().manual_seed(0), rational_activations=rational_activations)
    made.head.grow(2, torch.Generator().manual_seed(0))
    return made.eval()


def test_relus_do_not_know_of_the_rationals() -> None:
    """Ordinary learning and prediction are the same bits with and without; no parameter is added."""
    images = torch.rand(3, 3, 16, 16)
    plain, learnable = network(rational_activations=False), network()
    assert torch.equal(plain(images).logits, learnable(images).logits)
    assert [name for name, _ in plain.named_parameters()] == [name for name, _ in learnable.named_parameters()]
    assert set(learnable.state_dict()) - set(plain.state_dict()) == {"branches.0.rational"}
    assert learnable.state_dict()["branches.0.rational"].shape == (7, 10)
    with pytest.raises(InputError, match="the network has no rational activations; it was built without"):
        plain(images, "rational")
    with pytest.raises(InputError, match="activation is 'ration'; did you mean 'rational'"):
        learnable(images, "ration")


def test_every_position_has_its_own_coefficients() -> None:
    """Moving one row moves the maps; with rationals in the last block alone, only its two rows do."""
    images = torch.rand(3, 3, 16, 16)
    for activation, matter in (("rational", range(7)), ("rational_in_last_block", (5, 6))):
        made = network()
        before = made(images, activation).maps
        for row in range(7):
            kept = made.branches[0].rational.clone()
            made.branches[0].rational[row, 1] += 0.5
            assert torch.equal(made(images, activation).maps, before) == (row not in matter)
            made.branches[0].rational.copy_(kept)


def test_a_new_branch_has_its_own_rationals_warm_or_fresh() -> None:
    for warm in (True, False):
        made = network()
        made.branches[0].rational += 0.25
        made.add_branch(torch.Generator().manual_seed(1), warm=warm)
        expected = start_values(7) + 0.25 * warm
        assert torch.equal(made.branches[1].rational, expected)
