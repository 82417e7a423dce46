"""Smaller and back: nearest neighbours in Pillow's convention, as the reference has it, or area averages and bilinear.

The nearest-neighbour copies are bound by memory. On a CPU a gather of single bytes is several times slower than a copy,
so the frequent case, every second or every fourth pixel of a row, is done on 16 or 32 bits at once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

RESAMPLINGS = ("nearest", "area_bilinear")
Pixels = NDArray[np.uint8]


@lru_cache(maxsize=4096)
def nearest_index(source: int, target: int) -> NDArray[np.intp]:
    """(target,): the source pixel of each target pixel.

    Pillow starts at half a step and *adds* the step for each pixel in double precision; the running sum rounds
    differently from the closed form where a position is an integer, so it is computed as a running sum here too.
    """
    step = source / target
    positions = np.cumsum(np.array([step / 2] + [step] * (target - 1)))
    index = np.minimum(positions.astype(np.intp), source - 1)
    index.flags.writeable = False
    return index


def shrink_into(source: Pixels, target: Pixels, resampling: str) -> None:
    """Write the (3, H, W) `source` at the size of the (3, h, w) `target`, no larger; equal sizes are copied."""
    if source.shape == target.shape:
        np.copyto(target, source)
    elif resampling == "nearest":
        _shrink_nearest(source, target)
    else:
        target[:] = _interpolated(source, target.shape[1:], "area")


def enlarge_into(source: Pixels, target: Pixels, resampling: str) -> None:
    """Write the (3, h, w) `source` at the size of the (3, H, W) `target`, no smaller; equal sizes are copied."""
    if source.shape == target.shape:
        np.copyto(target, source)
    elif resampling == "nearest":
        _enlarge_nearest(source, target)
    else:
        target[:] = _interpolated(source, target.shape[1:], "bilinear")


def _interpolated(source: Pixels, size: tuple[int, ...], mode: str) -> Pixels:
    images = torch.from_numpy(np.ascontiguousarray(source))[None].float()
    corners: dict[str, Any] = {"align_corners": False} if mode == "bilinear" else {}
    resized: Tensor = functional.interpolate(images, size=size, mode=mode, **corners)
    return resized[0].round_().clamp_(0, 255).to(torch.uint8).numpy()


@lru_cache(maxsize=4096)
def _row_slice(source: int, target: int) -> slice | NDArray[np.intp]:
    """The rows that `nearest_index` picks, as a slice where they are evenly spaced: a slice is read in place."""
    index = nearest_index(source, target)
    steps = np.unique(np.diff(index))
    if len(steps) == 1 and steps[0] > 0:
        return slice(int(index[0]), int(index[-1]) + 1, int(steps[0]))
    return index


@lru_cache(maxsize=4096)
def _even_step(source: int, target: int) -> int:
    """2 or 4 where the picked pixel is the upper middle one of every 2 or 4 (index 2i + 1 or 4i + 2), else 0."""
    index = nearest_index(source, target)
    for step in (2, 4):
        if target * step <= source and np.array_equal(index, np.arange(target) * step + step // 2):
            return step
    return 0


def _shrink_nearest(source: Pixels, target: Pixels) -> None:
    (height, width), (small_height, small_width) = source.shape[1:], target.shape[1:]
    rows = source[:, _row_slice(height, small_height)]
    step = _even_step(width, small_width)
    if step and rows.strides[-1] == 1:
        words = rows[:, :, : small_width * step].view(f"<u{step}")
        np.right_shift(words, 4 * step, out=target, casting="unsafe")  # half a word: its upper middle byte is lowest
    else:
        np.take(rows, nearest_index(width, small_width), axis=2, out=target, mode="clip")


@lru_cache(maxsize=4096)
def _repeats(source: int, target: int) -> int:
    """2 or 4 where every pixel is repeated 2 or 4 times, else 0."""
    times = target // source
    even = target == source * times and np.array_equal(nearest_index(source, target), np.arange(target) // times)
    return times if times in (2, 4) and even else 0


def _enlarge_nearest(source: Pixels, target: Pixels) -> None:
    (small_height, small_width), (height, width) = source.shape[1:], target.shape[1:]
    times = _repeats(small_width, width)
    if times:
        ones = int.from_bytes(b"\x01" * times, "little")
        wide = np.multiply(source, ones, dtype=f"<u{times}", order="C").view(np.uint8)
    else:
        wide = np.take(source, nearest_index(small_width, width), axis=2, mode="clip")
    np.take(wide, nearest_index(small_height, height), axis=1, out=target, mode="clip")
