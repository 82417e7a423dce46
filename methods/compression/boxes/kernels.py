"""Boxes of class activation maps as a Triton kernel, for CUDA; the same results as activation.py gives on a CPU."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.boxes.interpolation import interpolation

_PIXELS = 128


@triton.jit
def _first_and_last(  # type: ignore[no-untyped-def]
    cam, lowest, span, threshold, low, weight, cells, pixels, other_low, other_weight, extreme, extremes, other_cells,
    stride, other_stride, block: tl.constexpr,
):  # fmt: skip
    """The first and one past the last of `pixels` lines in which an extreme pixel of the other side is above."""
    first = pixels
    last = 0
    for begin in range(0, pixels, block):
        pixel = begin + tl.arange(0, block)
        valid = pixel < pixels
        here = tl.load(low + pixel, mask=valid, other=0)
        part = tl.load(weight + pixel, mask=valid, other=0.0)
        after = tl.minimum(here + 1, cells - 1)
        found = tl.zeros([block], dtype=tl.int32)
        for k in range(0, extremes):
            at = tl.load(extreme + k)
            across = tl.load(other_low + at)
            share = tl.load(other_weight + at)
            beyond = tl.minimum(across + 1, other_cells - 1)
            a = tl.div_rn(tl.load(cam + here * stride + across * other_stride) - lowest, span)
            b = tl.div_rn(tl.load(cam + here * stride + beyond * other_stride) - lowest, span)
            c = tl.div_rn(tl.load(cam + after * stride + across * other_stride) - lowest, span)
            d = tl.div_rn(tl.load(cam + after * stride + beyond * other_stride) - lowest, span)
            value = (1 - part) * ((1 - share) * a + share * b) + part * ((1 - share) * c + share * d)
            found = found | (value > threshold).to(tl.int32)
        hit = (found > 0) & valid
        first = tl.minimum(first, tl.min(tl.where(hit, pixel, pixels), 0))
        last = tl.maximum(last, tl.max(tl.where(hit, pixel + 1, 0), 0))
    return tl.where(last > 0, first, 0), last


@triton.jit
def boxes_kernel(  # type: ignore[no-untyped-def]
    cams, boxes, constants, threshold, rows, columns, height, width, row_low, row_weight, row_extreme, row_extremes,
    column_low, column_weight, column_extreme, column_extremes, block_cells: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    """Program (image): minimum and maximum of its map, then the extent of what is above the threshold."""
    image = tl.program_id(0).to(tl.int64)
    cam = cams + image * rows * columns
    cell = tl.arange(0, block_cells)
    values = tl.load(cam + cell, mask=cell < rows * columns, other=float("inf"))
    lowest = tl.min(values, 0)
    span = tl.max(tl.where(cell < rows * columns, values, float("-inf")), 0) - lowest
    constant = span == 0
    divisor = tl.where(constant, 1.0, span)
    y0, y1 = _first_and_last(
        cam, lowest, divisor, threshold, row_low, row_weight, rows, height, column_low, column_weight, column_extreme,
        column_extremes, columns, columns, 1, block,
    )  # fmt: skip
    x0, x1 = _first_and_last(
        cam, lowest, divisor, threshold, column_low, column_weight, columns, width, row_low, row_weight, row_extreme,
        row_extremes, rows, 1, columns, block,
    )  # fmt: skip
    tl.store(boxes + 4 * image, tl.where(constant, 0, x0).to(tl.int64))
    tl.store(boxes + 4 * image + 1, tl.where(constant, 0, y0).to(tl.int64))
    tl.store(boxes + 4 * image + 2, tl.where(constant, width, x1).to(tl.int64))
    tl.store(boxes + 4 * image + 3, tl.where(constant, height, y1).to(tl.int64))
    tl.store(constants + image, constant.to(tl.int8))


@lru_cache(maxsize=1024)
def _taps(cells: int, pixels: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    low, weight, extreme = interpolation(cells, pixels)
    return low.int().to(device), weight.to(device), extreme.int().to(device)


def activation_boxes(cam: Tensor, height: int, width: int, threshold: float) -> Boxes:
    """As boxes.activation_boxes, in one launch; maps (B, h, w)."""
    device, (rows, columns) = cam.device, cam.shape[1:]
    boxes = torch.empty(len(cam), 4, dtype=torch.int64, device=device)
    constant = torch.empty(len(cam), dtype=torch.int8, device=device)
    if len(cam):
        row_taps, column_taps = _taps(rows, height, device), _taps(columns, width, device)
        kernel: Any = boxes_kernel
        kernel[(len(cam),)](
            cam.float().contiguous(), boxes, constant, threshold, rows, columns, height, width,
            *row_taps, len(row_taps[2]), *column_taps, len(column_taps[2]),
            block_cells=triton.next_power_of_2(rows * columns), block=_PIXELS, enable_fp_fusion=False,
        )  # fmt: skip
    return Boxes(boxes, constant.bool())
