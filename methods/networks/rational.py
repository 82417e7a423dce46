"""The learnable activation beside every ReLU: a Pade approximant of degrees 5 and 4, "version A" (Molina et al., 2020).

r(x) = P(x) / Q(x) with P = a0 + a1 x + ... + a5 x^5 and Q = 1 + |b1 x| + |b2 x^2| + |b3 x^3| + |b4 x^4|.

Values and first and second derivatives are computed from x alone: torch's own operations would keep some twenty arrays
of x's size for the backward pass, and more for the one after it. On a GPU each is one kernel (rational_kernels.py),
else torch's operations on a slice at a time that fits the cache: all polynomials of x are sums over one basis of eleven
functions, so that one matrix product gives all their values, and another all sums over x.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

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
_SLICE_ELSEWHERE = 1 << 22  # on other devices: few launches, and temporaries of a bounded size
# The basis: 1, x, ..., x^5, |x|, |x|^3, sign x, x |x|, (sign x)^2; the derivative of |x| is 0 at 0, as torch has it.
_BASIS = 11
_SIZES = (6, 2, 7, 4)  # |x|^k, k = 1 .. 4
_SIGNED = (8, 1, 9, 3)  # sign(x) |x|^(k - 1)


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


def basis(x: Tensor) -> Tensor:
    """The basis at x: (n,) -> (11, n)."""
    rows = x.new_empty(_BASIS, len(x))
    one, first, *_, size, cube, sign, signed, present = rows.unbind()
    one.fill_(1)
    first.copy_(x)
    for power in range(2, NUMERATOR):
        torch.mul(rows[power - 1], x, out=rows[power])
    torch.abs(x, out=size)
    torch.mul(rows[2], size, out=cube)
    torch.sign(x, out=sign)
    torch.mul(size, x, out=signed)
    torch.abs(sign, out=present)
    return rows


def over_basis(coefficients: Tensor, signs: Tensor, constant: float) -> Tensor:
    """(6, 11): sum of a_i x^i, `constant` + sum of s_k b_k |x|^k, and their first and second derivatives, of (10,)."""
    a, b = coefficients[:NUMERATOR], coefficients[NUMERATOR:] * signs
    power = torch.arange(1, NUMERATOR, device=a.device, dtype=a.dtype)
    rows = coefficients.new_zeros(6, _BASIS)
    upper, lower, upper_slope, lower_slope, upper_curve, lower_curve = rows.unbind()
    upper[:NUMERATOR] = a
    upper_slope[: NUMERATOR - 1] = a[1:] * power
    upper_curve[: NUMERATOR - 2] = upper_slope[1 : NUMERATOR - 1] * power[:-1]
    lower[0] = constant
    slopes = b * power[:-1]
    for place, (size, signed) in enumerate(zip(_SIZES, _SIGNED, strict=True)):
        lower[size], lower_slope[signed] = b[place], slopes[place]
    lower_curve[_BASIS - 1], lower_curve[6], lower_curve[2] = (slopes[1:] * power[:3]).unbind()
    return rows


class Flat(NamedTuple):
    """What the derivatives need of coefficients (10,): rows of P and Q over the basis, and the signs of the b's."""

    rows: Tensor
    signs: Tensor

    @classmethod
    def of(cls, coefficients: Tensor) -> Flat:
        """P = a0 + ... + a5 x^5, Q = 1 + |b1 x| + ... + |b4 x^4|."""
        signs = coefficients[NUMERATOR:].sign()
        return cls(over_basis(coefficients, signs, 1.0), signs)


def flat_value(x: Tensor, of: Flat) -> Tensor:
    """r(x) of x (n,)."""
    upper, lower = (of.rows[:2] @ basis(x)).unbind()
    return upper.div_(lower)


def flat_gradient(x: Tensor, g: Tensor, of: Flat) -> tuple[Tensor, Tensor]:
    """g r'(x), with r' = (P' - r Q') / Q, and the sum of g dr/dc: (n,) and (10,)."""
    at = basis(x)
    upper, lower, slope, lower_slope = (of.rows[:4] @ at).unbind()
    value = upper.div_(lower)
    weighted = g / lower
    along = slope.addcmul_(value, lower_slope, value=-1).mul_(weighted)
    sums = torch.stack([weighted, value.mul_(weighted).neg_()]) @ at.T
    return along, torch.cat([sums[0, :NUMERATOR], sums[1, _SIZES] * of.signs])


def flat_second(x: Tensor, g: Tensor, h: Tensor, of: Flat, across: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """The derivatives of S = sum of g (h r' + H / Q - r K / Q) for g, x (n,) and c (10,).

    H = sum of hc_i x^i and K = sum of hc_k d|b_k x^k|/db_k, of `across` (10,); both are 0 where it is None.
    """
    at = basis(x)
    upper, lower, slope, lower_slope, curve, lower_curve = (of.rows @ at).unbind()
    inverse = lower.reciprocal_()
    value, lower_slope = upper.mul_(inverse), lower_slope.mul_(inverse)
    slope = slope.mul_(inverse).addcmul_(value, lower_slope, value=-1)
    curve = curve.addcmul_(value, lower_curve, value=-1).mul_(inverse).addcmul_(slope, lower_slope, value=-2).mul_(h)
    own = g * inverse * h
    for_a, for_b, for_gradient = -own * lower_slope, own * slope, h * slope
    if across is not None:
        share, share_slope, share_a, share_b = _shares(at, value, slope, inverse, lower_slope, of, across)
        curve.add_(share_slope)
        for_a.addcmul_(g, share_a)
        for_b.addcmul_(g, share_b)
        for_gradient.add_(share)
    # for b_k, times its sign: -(g / Q) (h (r' u + r u' - r u Q'/Q) + share u - r K u / Q), u = |x|^k
    for_b.addcmul_(value, for_a).neg_()
    sums = torch.stack([for_a, for_b, own, value.mul_(own).neg_()]) @ at.T
    power = torch.arange(NUMERATOR, device=x.device, dtype=x.dtype)
    upper_sums = sums[0, :NUMERATOR]
    upper_sums[1:] += power[1:] * sums[2, : NUMERATOR - 1]
    lower_sums = (sums[1, _SIZES] + power[1 : DENOMINATOR + 1] * sums[3, _SIGNED]) * of.signs
    return for_gradient, curve.mul_(g), torch.cat([upper_sums, lower_sums])


def _shares(
    at: Tensor, value: Tensor, slope: Tensor, inverse: Tensor, lower_slope: Tensor, of: Flat, across: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """share = (H - r K) / Q, its derivative along x, and the factors of g in the sums for the a's and the b's.

    lower_slope: Q' / Q.
    """
    big_h, big_k, h_slope, k_slope = (over_basis(across, of.signs, 0.0)[:4] @ at).unbind()
    share = big_h.addcmul_(value, big_k, value=-1).mul_(inverse)
    share_slope = h_slope.addcmul_(slope, big_k, value=-1).addcmul_(value, k_slope, value=-1).mul_(inverse)
    share_slope.addcmul_(share, lower_slope, value=-1)
    return share, share_slope, big_k.mul_(inverse).mul_(inverse).neg_(), share * inverse


def _in_slices(
    function: Callable[..., tuple[Tensor, ...]], outputs: int, *arrays: Tensor
) -> tuple[list[Tensor], Tensor]:
    """`function` over slices of arrays of one shape: `outputs` arrays like them, and the sum of its (10,) result."""
    layout, back = _dense(arrays)
    flat = [array.view(-1) for array in layout]
    results = [torch.empty_like(array) for array in layout[:1] * outputs]
    size = _SLICE * torch.get_num_threads() if arrays[0].device.type == "cpu" else _SLICE_ELSEWHERE
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
        of = Flat.of(coefficients)
        return _in_slices(lambda x: (flat_value(x, of), x.new_zeros(COEFFICIENTS)), 1, x)[0][0]

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
        ctx.set_materialize_grads(False)
        if has_kernels(x.device):
            from cimbench.methods.networks import rational_kernels as kernels

            (along,), moments = _by_kernel(kernels.gradient, (x, gradient), coefficients)
            return along, moments
        of = Flat.of(coefficients)
        (along,), moments = _in_slices(lambda x, g: flat_gradient(x, g, of), 1, x, gradient)
        return along, moments

    @staticmethod
    def backward(ctx: Any, h: Tensor | None, hc: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:  # type: ignore[override]
        """The gradient of S = sum of h g r' + hc . sum of g dr/dc, for g, x and c."""
        gradient, x, coefficients = ctx.saved_tensors
        h = torch.zeros_like(x) if h is None else h
        if has_kernels(x.device):
            from cimbench.methods.networks import rational_kernels as kernels

            hc = torch.zeros_like(coefficients) if hc is None else hc
            (for_gradient, for_x), moments = _by_kernel(kernels.second, (x, gradient, h), coefficients, hc)
            return for_gradient, for_x, moments
        of = Flat.of(coefficients)
        parts = _in_slices(lambda x, g, h: flat_second(x, g, h, of, hc), 2, x, gradient, h)
        (for_gradient, for_x), moments = parts
        return for_gradient, for_x, moments
