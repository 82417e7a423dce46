"""The rational activation's kernels give what torch's operations give; without a GPU by Triton's interpreter."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed here")

from cimbench.methods.networks import rational_kernels as kernels
from cimbench.methods.networks.rational import LIKE_RELU, plain_rational

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []


@pytest.mark.parametrize("denominators", [(-1.2, 4.4, 0.9, 0.3), (0.0, 0.5, 0.0, -0.2)])
@pytest.mark.parametrize("count", [1, 1023, 2500])
def test_value_first_and_second_derivatives(count: int, denominators: tuple[float, ...]) -> None:
    """Against autograd through the formula as it stands; a block cut short, 0 among the values."""
    random = torch.Generator().manual_seed(0)
    x, g, h = (torch.randn(count, generator=random, dtype=torch.float64).to(DEVICE) for _ in range(3))
    x[0] = 0
    coefficients = torch.tensor([*LIKE_RELU[:6], *denominators], dtype=torch.float64, device=DEVICE)
    across = torch.randn(10, generator=random, dtype=torch.float64).to(DEVICE)
    leaves = [value.clone().requires_grad_() for value in (x, g, coefficients)]
    value = plain_rational(leaves[0], leaves[2])
    along, moments = torch.autograd.grad((leaves[1] * value).sum(), (leaves[0], leaves[2]), create_graph=True)
    torch.testing.assert_close(kernels.value(x, coefficients), value.detach())
    (found,), sums = kernels.gradient(x, g, coefficients)
    torch.testing.assert_close(found, along.detach())
    torch.testing.assert_close(sums, moments.detach())
    expected = torch.autograd.grad((h * along).sum() + (across * moments).sum(), (leaves[1], leaves[0], leaves[2]))
    (for_gradient, for_x), for_coefficients = kernels.second(x, g, h, coefficients, across)
    for mine, theirs in zip((for_gradient, for_x, for_coefficients), expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-9)


def test_nothing_is_no_launch() -> None:
    nothing, coefficients = torch.empty(0, device=DEVICE), torch.tensor(LIKE_RELU, device=DEVICE)
    (found,), sums = kernels.gradient(nothing, nothing, coefficients)
    assert len(found) == 0 and torch.equal(sums, torch.zeros(10, device=DEVICE))
