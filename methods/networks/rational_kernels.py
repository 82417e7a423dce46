"""The rational activation and its derivatives as Triton kernels, one launch each: the same formulas as rational.py.

Bound by memory: each array is read once and written once. Sums for the coefficients are made a block at a time and
added up afterwards in a fixed order, so that they are the same bits each time.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

BLOCK = 1024


@triton.jit
def _signed(value):  # type: ignore[no-untyped-def]
    """-1, 0 or 1, in the value's type."""
    return (value > 0).to(value.dtype) - (value < 0).to(value.dtype)


@triton.jit
def _upper(c, x):  # type: ignore[no-untyped-def]
    """P and its first and second derivative."""
    a1, a2, a3 = tl.load(c + 1), tl.load(c + 2), tl.load(c + 3)
    a4, a5 = tl.load(c + 4), tl.load(c + 5)
    value = ((((a5 * x + a4) * x + a3) * x + a2) * x + a1) * x + tl.load(c)
    slope = (((5 * a5 * x + 4 * a4) * x + 3 * a3) * x + 2 * a2) * x + a1
    curve = ((20 * a5 * x + 12 * a4) * x + 6 * a3) * x + 2 * a2
    return value, slope, curve


@triton.jit
def _lower(c, x):  # type: ignore[no-untyped-def]
    """Q and its first and second derivative; the derivative of |x| is 0 at 0."""
    size, sign = tl.abs(x), _signed(x)
    b1, b2 = tl.abs(tl.load(c + 6)), tl.abs(tl.load(c + 7))
    b3, b4 = tl.abs(tl.load(c + 8)), tl.abs(tl.load(c + 9))
    value = (((b4 * size + b3) * size + b2) * size + b1) * size + 1
    slope = (((4 * b4 * size + 3 * b3) * size + 2 * b2) * size + b1) * sign
    curve = ((12 * b4 * size + 6 * b3) * size + 2 * b2) * tl.abs(sign)
    return value, slope, curve


@triton.jit
def value_kernel(x, c, out, count, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """r(x) = P / Q."""
    at = tl.program_id(0).to(tl.int64) * block + tl.arange(0, block)
    here = at < count
    point = tl.load(x + at, mask=here, other=0.0)
    upper, _, _ = _upper(c, point)
    lower, _, _ = _lower(c, point)
    tl.store(out + at, upper / lower, mask=here)


@triton.jit
def gradient_kernel(x, g, c, along, sums, count, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """g dr/dx, and the block's sums of g dr/dc."""
    program = tl.program_id(0).to(tl.int64)
    at = program * block + tl.arange(0, block)
    here = at < count
    point = tl.load(x + at, mask=here, other=0.0)
    gradient = tl.load(g + at, mask=here, other=0.0)
    upper, upper_slope, _ = _upper(c, point)
    lower, lower_slope, _ = _lower(c, point)
    value = upper / lower
    tl.store(along + at, gradient * ((upper_slope - value * lower_slope) / lower), mask=here)
    weighted = gradient / lower
    other = -weighted * value
    size = tl.abs(point)
    for i in tl.static_range(6):
        tl.store(sums + program * 10 + i, tl.sum(weighted, 0))
        weighted = weighted * point
    for k in tl.static_range(4):
        other = other * size
        tl.store(sums + program * 10 + 6 + k, tl.sum(other, 0) * _signed(tl.load(c + 6 + k)))


@triton.jit
def _across(hc, c, x):  # type: ignore[no-untyped-def]
    """H = sum of hc_i x^i and K = sum of hc_k sign(b_k) |x|^k, with their derivatives."""
    h0, h1, h2 = tl.load(hc), tl.load(hc + 1), tl.load(hc + 2)
    h3, h4, h5 = tl.load(hc + 3), tl.load(hc + 4), tl.load(hc + 5)
    h = ((((h5 * x + h4) * x + h3) * x + h2) * x + h1) * x + h0
    h_slope = (((5 * h5 * x + 4 * h4) * x + 3 * h3) * x + 2 * h2) * x + h1
    size = tl.abs(x)
    k1, k2 = tl.load(hc + 6) * _signed(tl.load(c + 6)), tl.load(hc + 7) * _signed(tl.load(c + 7))
    k3, k4 = tl.load(hc + 8) * _signed(tl.load(c + 8)), tl.load(hc + 9) * _signed(tl.load(c + 9))
    k = (((k4 * size + k3) * size + k2) * size + k1) * size
    k_slope = (((4 * k4 * size + 3 * k3) * size + 2 * k2) * size + k1) * _signed(x)
    return h, h_slope, k, k_slope


@triton.jit
def second_kernel(  # type: ignore[no-untyped-def]
    x, g, h, c, hc, for_gradient, for_x, sums, count, block: tl.constexpr
):
    """The gradient of sum of h g r' + hc . sum of g dr/dc for g and x, and the block's sums of that for c."""
    program = tl.program_id(0).to(tl.int64)
    at = program * block + tl.arange(0, block)
    here = at < count
    point = tl.load(x + at, mask=here, other=0.0)
    gradient = tl.load(g + at, mask=here, other=0.0)
    along = tl.load(h + at, mask=here, other=0.0)
    upper, upper_slope, upper_curve = _upper(c, point)
    whole, lower_slope, lower_curve = _lower(c, point)
    big_h, h_slope, big_k, k_slope = _across(hc, c, point)
    lower = 1 / whole
    value = upper * lower
    slope = (upper_slope - value * lower_slope) * lower
    share = (big_h - value * big_k) * lower
    tl.store(for_gradient + at, along * slope + share, mask=here)
    curve = (upper_curve - 2 * slope * lower_slope - value * lower_curve) * lower
    share_slope = (h_slope - slope * big_k - value * k_slope - share * lower_slope) * lower
    tl.store(for_x + at, gradient * (along * curve + share_slope), mask=here)
    weighted = gradient * lower
    own = along * weighted
    turned = own * lower_slope * lower
    to = -turned - weighted * big_k * lower
    by = -(own * slope - turned * value + weighted * share - weighted * value * big_k * lower)
    size, power, other = tl.abs(point), own, -own * value * _signed(point)
    tl.store(sums + program * 10, tl.sum(to, 0))
    for i in tl.static_range(1, 6):
        to = to * point
        tl.store(sums + program * 10 + i, tl.sum(to, 0) + i * tl.sum(power, 0))
        power = power * point
    for k in tl.static_range(1, 5):
        by = by * size
        tl.store(sums + program * 10 + 5 + k, (tl.sum(by, 0) + k * tl.sum(other, 0)) * _signed(tl.load(c + 5 + k)))
        other = other * size


def _run(kernel: Any, outputs: int, coefficients: tuple[Tensor, ...], *arrays: Tensor) -> tuple[list[Tensor], Tensor]:
    """Outputs like arrays[0], and the (10,) sums; arrays are contiguous and of one shape."""
    count = arrays[0].numel()
    programs = triton.cdiv(count, BLOCK)
    results = [torch.empty_like(arrays[0]) for _ in range(outputs)]
    if not count:
        return results, arrays[0].new_zeros(10)
    sums = [] if kernel is value_kernel else [arrays[0].new_empty(programs, 10)]
    given = tuple(values.contiguous() for values in coefficients)
    kernel[(programs,)](*arrays, *given, *results, *sums, count, block=BLOCK)
    return results, sums[0].sum(0) if sums else arrays[0].new_empty(0)


def value(x: Tensor, coefficients: Tensor) -> Tensor:
    """r(x) for contiguous x."""
    return _run(value_kernel, 1, (coefficients,), x)[0][0]


def gradient(x: Tensor, g: Tensor, coefficients: Tensor) -> tuple[list[Tensor], Tensor]:
    """[g dr/dx], and the sum of g dr/dc."""
    return _run(gradient_kernel, 1, (coefficients,), x, g)


def second(x: Tensor, g: Tensor, h: Tensor, coefficients: Tensor, hc: Tensor) -> tuple[list[Tensor], Tensor]:
    """The gradients of sum of h g r' + hc . sum of g dr/dc: [for g, for x], and for c."""
    return _run(second_kernel, 2, (coefficients, hc), x, g, h)
