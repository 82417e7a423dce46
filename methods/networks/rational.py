"""The learnable activation beside every ReLU: a Pade approximant of degrees 5 and 4, "version A" (Molina et al., 2020).

r(x) = P(x) / Q(x) with P = a0 + a1 x + ... + a5 x^5 and Q = 1 + |b1 x| + |b2 x^2| + |b3 x^3| + |b4 x^4|.

Values and first and second derivatives are computed from x alone: torch's own operations would keep some twenty arrays
of x's size for the backward pass, and more for the one after it. On a GPU each is one kernel (rational_kernels.py),
else torch's operations on a slice at a time that fits the cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.acceleration import has_kernels

NUMERATOR, DENOMINATOR = 6, 4
COEFFICIENTS = NUMERATOR + DENOMINATOR  # a0 .. a5, then b1 .. b4

# the start values of CIM's code: an approximate ReLU, 0.03 too high at 0
LIKE_RELU = (
    *(0.029963800683617592, 0.6168978214263916, 2.37534761428833, 3.0659899711608887, 1.5246832370758057),
    *(0.252807080745697, -1.1915501356124878, 4.408048629760742, 0.9110357165336609, 0.3488497734069824),
)
_SLICE = 1 << 15  # elements a thread, whose temporaries stay in a core's cache
Number = float | Tensor  # coefficients on a GPU stay there, as tensors of no dimension


def start_values(positions: int) -> Tensor:
    """(positions, 10) coefficients that approximate a ReLU."""
    return torch.tensor(LIKE_RELU).repeat(positions, 1)


def activate(x: Tensor, coefficients: Tensor | None) -> Tensor:
    """r(x) elementwise by (10,) coefficients; a ReLU where there are none.

    x may be bfloat16 or float16: it is computed in the coefficients' type and rounded once. Raises InputError for
    another number of coefficients.
    """
    if coefficients is None:
        return functional.relu(x)
    if coefficients.shape != (COEFFICIENTS,):
        raise InputError(f"rational coefficients are of shape {tuple(coefficients.shape)}; give ({COEFFICIENTS},)")
    value: Tensor = _Rational.apply(x.to(coefficients.dtype), coefficients)  # type: ignore[no-untyped-call]
    return value.to(x.dtype)


def plain_rational(x: Tensor, coefficients: Tensor) -> Tensor:
    """r(x) by torch's own operations: the formula as it stands, kept to compare with."""
    a, b = coefficients[:NUMERATOR], coefficients[NUMERATOR:]
    upper = sum((a[i] * x**i for i in range(1, NUMERATOR)), start=a[0])
    lower = sum(((b[k] * x ** (k + 1)).abs() for k in range(DENOMINATOR)), start=torch.ones_like(x))
    return upper / lower


class _Terms:
    """P, Q and their derivatives at a slice, by Horner's rule. The derivative of |x| is 0 at 0, as torch has it."""

    def __init__(self, x: Tensor, coefficients: list[Number]) -> None:
        self.x, self.a = x, coefficients[:NUMERATOR]
        self.signed: list[Number] = coefficients[NUMERATOR:]
        self.b: list[Number] = [value * sign_of(value) for value in self.signed]
        self.size, self.sign = x.abs(), x.sign()
        whole = horner([1.0, *self.b], self.size)
        self.lower = 1 / whole
        self.value = horner(self.a, x).div_(whole)

    def slope(self) -> Tensor:
        """dr/dx = (P' - r Q') / Q."""
        self.upper_slope = horner(derived(self.a), self.x)
        self.lower_slope = horner(derived([1.0, *self.b]), self.size) * self.sign
        return (self.upper_slope - self.value * self.lower_slope) * self.lower

    def moments(self, upper: Tensor, lower: Tensor) -> Tensor:
        """(10,): sums of upper x^i, then of lower d|b_k x^k|/db_k = lower sign(b_k) |x|^k."""
        sums = [upper.sum()]
        for _ in range(1, NUMERATOR):
            upper = upper * self.x
            sums.append(upper.sum())
        for value in self.signed:
            lower = lower * self.size
            sums.append(lower.sum() * sign_of(value))
        return torch.stack(sums)


def numbers(coefficients: Tensor) -> list[Number]:
    """The coefficients one by one, without waiting for a GPU."""
    apart: list[Number] = coefficients.tolist() if coefficients.device.type == "cpu" else list(coefficients.unbind())
    return apart


def sign_of(value: Number) -> Number:
    """-1, 0 or 1."""
    return value.sign() if isinstance(value, Tensor) else float(value > 0) - float(value < 0)


def horner(coefficients: Sequence[Number], x: Tensor) -> Tensor:
    """c0 + c1 x + c2 x^2 + ..."""
    value = torch.zeros_like(x).add_(coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        value.mul_(x).add_(coefficient)
    return value


def derived(coefficients: Sequence[Number]) -> list[Number]:
    """The coefficients of the derivative."""
    return [power * coefficient for power, coefficient in enumerate(coefficients)][1:]


def _in_slices(
    function: Callable[..., tuple[Tensor, ...]], outputs: int, *arrays: Tensor
) -> tuple[list[Tensor], Tensor]:
    """`function` over slices of arrays of one shape: `outputs` arrays like them, and the sum of its (10,) result."""
    layout, back = _dense(arrays)
    flat = [array.view(-1) for array in layout]
    results = [torch.empty_like(array) for array in layout[:1] * outputs]
    size = _SLICE * torch.get_num_threads() if arrays[0].device.type == "cpu" else max(1, flat[0].numel())
    total = flat[0].new_zeros(COEFFICIENTS)
    for start in range(0, flat[0].numel(), size):
        *parts, moments = function(*(array[start : start + size] for array in flat))
        for result, part in zip(results, parts, strict=True):
            result.view(-1)[start : start + size] = part
        total += moments
    return [result.permute(back) for result in results], total


def _dense(arrays: Sequence[Tensor]) -> tuple[list[Tensor], list[int]]:
    """The arrays contiguous in the order of the first one's memory (channels-last, say), and the way back."""
    strides = arrays[0].stride()
    order = sorted(range(arrays[0].ndim), key=lambda dimension: -strides[dimension])
    return [array.permute(order).contiguous() for array in arrays], [order.index(n) for n in range(len(order))]


def _by_kernel(
    function: Callable[..., tuple[list[Tensor], Tensor]], arrays: Sequence[Tensor], *coefficients: Tensor
) -> tuple[list[Tensor], Tensor]:
    """As `_in_slices`, in one launch."""
    layout, back = _dense(arrays)
    results, total = function(*layout, *coefficients)
    return [result.permute(back) for result in results], total


class _Rational(torch.autograd.Function):
    """r(x); its gradient is `_RationalGradient`, so that it can be differentiated once more."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, coefficients: Tensor) -> Tensor:
        """r(x)."""
        ctx.save_for_backward(x, coefficients)
        if has_kernels(x.device):
            from cimbench.methods.networks import rational_kernels as kernels

            (layout,), back = _dense([x])
            return kernels.value(layout, coefficients).permute(back)
        values = numbers(coefficients)

        def part(x: Tensor) -> tuple[Tensor, ...]:
            return _Terms(x, values).value, x.new_zeros(COEFFICIENTS)

        return _in_slices(part, 1, x)[0][0]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """The gradient of sum of g r(x) for x and c."""
        return _RationalGradient.apply(gradient, *ctx.saved_tensors)  # type: ignore[no-untyped-call, no-any-return]


class _RationalGradient(torch.autograd.Function):
    """(g, x, c) -> (g dr/dx, sum of g dr/dc)."""

    @staticmethod
    def forward(ctx: Any, gradient: Tensor, x: Tensor, coefficients: Tensor) -> tuple[Tensor, Tensor]:
        """Both at once."""
        ctx.save_for_backward(gradient, x, coefficients)
        if has_kernels(x.device):
            from cimbench.methods.networks import rational_kernels as kernels

            (along,), moments = _by_kernel(kernels.gradient, (x, gradient), coefficients)
            return along, moments
        values = numbers(coefficients)

        def part(x: Tensor, g: Tensor) -> tuple[Tensor, ...]:
            terms = _Terms(x, values)
            weighted = g * terms.lower
            return g * terms.slope(), terms.moments(weighted, -weighted * terms.value)

        (along,), moments = _in_slices(part, 1, x, gradient)
        return along, moments

    @staticmethod
    def backward(ctx: Any, h: Tensor, hc: Tensor) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """The gradient of S = sum of h g r' + hc . sum of g dr/dc, for g, x and c."""
        gradient, x, coefficients = ctx.saved_tensors
        if has_kernels(x.device):
            from cimbench.methods.networks import rational_kernels as kernels

            (for_gradient, for_x), moments = _by_kernel(kernels.second, (x, gradient, h), coefficients, hc)
            return for_gradient, for_x, moments
        values, across = numbers(coefficients), numbers(hc)

        def part(x: Tensor, g: Tensor, h: Tensor) -> tuple[Tensor, ...]:
            return _second_derivatives(_Terms(x, values), g, h, across)

        (for_gradient, for_x), moments = _in_slices(part, 2, x, gradient, h)
        return for_gradient, for_x, moments


def _second_derivatives(terms: _Terms, g: Tensor, h: Tensor, across: list[Number]) -> tuple[Tensor, ...]:
    """With H = sum of hc_i x^i and K = sum of hc_k d|b_k x^k|/db_k: S = sum of g (h r' + H / Q - r K / Q)."""
    signs = [sign_of(value) for value in terms.signed]
    along = across[:NUMERATOR]
    k: list[Number] = [0.0, *(c * s for c, s in zip(across[NUMERATOR:], signs, strict=True))]
    slope, lower, value = terms.slope(), terms.lower, terms.value
    big_h, big_k = horner(along, terms.x), horner(k, terms.size)
    bracket = h * slope + (big_h - value * big_k) * lower
    h_slope, k_slope = horner(derived(along), terms.x), horner(derived(k), terms.size) * terms.sign
    upper_curve = horner(derived(derived(terms.a)), terms.x)
    lower_curve = horner(derived(derived([1.0, *terms.b])), terms.size) * terms.sign.abs()
    curve = (upper_curve - 2 * slope * terms.lower_slope - value * lower_curve) * lower
    share = (big_h - value * big_k) * lower  # its derivative along x, by the quotient rule
    share_slope = (h_slope - slope * big_k - value * k_slope - share * terms.lower_slope) * lower
    for_x = g * (h * curve + share_slope)
    return bracket, for_x, _coefficient_derivatives(terms, g, h, slope, big_k, share)


def _coefficient_derivatives(
    terms: _Terms, g: Tensor, h: Tensor, slope: Tensor, big_k: Tensor, share: Tensor
) -> Tensor:
    """dS/dc, (10,). For a_i: g (h (i x^(i-1) - x^i Q'/Q) / Q - x^i K / Q^2).

    For b_k, with u = |x|^k and u' its derivative: -g / Q (h (r' u + r u' - r u Q'/Q) + share u - r K u / Q), times the
    sign of b_k.
    """
    weighted = g * terms.lower
    own, value = h * weighted, terms.value
    turned = own * terms.lower_slope * terms.lower
    at = -turned - weighted * big_k * terms.lower
    by = -(own * slope - turned * value + weighted * share - weighted * value * big_k * terms.lower)
    moments = terms.moments(at, by)
    # terms with a derivative of the power: i x^(i-1), and k |x|^(k-1) sign(x)
    power, upper = own, [own.new_zeros(())]
    for i in range(1, NUMERATOR):
        upper.append(i * power.sum())
        power = power * terms.x
    power, lower = -own * value * terms.sign, []
    for k, coefficient in enumerate(terms.signed, start=1):
        lower.append(k * power.sum() * sign_of(coefficient))
        power = power * terms.size
    return moments + torch.stack([*upper, *lower])
