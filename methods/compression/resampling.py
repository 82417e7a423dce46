"""Nearest-neighbour resampling in the convention of Pillow, as the reference uses it (SPEC 2)."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor


@lru_cache(maxsize=1024)
def nearest_index(source: int, target: int) -> Tensor:
    """(target,) int64: the source pixel of each target pixel.

    Pillow starts at half a step and *adds* the step for each pixel in double precision; the running sum rounds
    differently from the closed form where a position is an integer, so it is computed as a running sum here too.
    """
    step = source / target
    positions = np.cumsum(np.array([step / 2] + [step] * (target - 1)))
    return torch.from_numpy(np.minimum(positions.astype(np.int64), source - 1))


def small_side(side: int, ratio: float) -> int:
    """Pixels of a downsampled side: int(side / sqrt(ratio)), at least one (SPEC 2)."""
    return max(1, int(side / ratio**0.5))


def resized_nearest(images: Tensor, height: int, width: int) -> Tensor:
    """(..., H, W) -> (..., height, width), exactly as Pillow's NEAREST."""
    rows = nearest_index(images.shape[-2], height).to(images.device)
    columns = nearest_index(images.shape[-1], width).to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)


def down_and_up(images: Tensor, ratio: float) -> Tensor:
    """up(down(x)): (..., H, W) -> the same shape, each pixel replaced by the one its small image keeps for it."""
    height, width = images.shape[-2:]
    small_height, small_width = small_side(height, ratio), small_side(width, ratio)
    rows = nearest_index(height, small_height)[nearest_index(small_height, height)].to(images.device)
    columns = nearest_index(width, small_width)[nearest_index(small_width, width)].to(images.device)
    return images.index_select(-2, rows).index_select(-1, columns)
