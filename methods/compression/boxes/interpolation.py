"""How torch enlarges a map, bilinear between centres: as taps and as matrices."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor


class Interpolation(NamedTuple):
    """How a side of `source` cells becomes one of `target` pixels, bilinear between centres (align_corners = False).

    low, weight: (target,) pixel i is (1 - weight) cell[low] + weight cell[min(low + 1, source - 1)]. extreme: the first
    and last pixel between each two centres; a bilinear map is linear there, so its maximum is at one of them.
    """

    low: Tensor
    weight: Tensor
    extreme: Tensor


@lru_cache(maxsize=4096)
def interpolation(source: int, target: int) -> Interpolation:
    """The taps of torch's bilinear interpolation, in float32 as there."""
    position = ((torch.arange(target) + 0.5) * (source / target) - 0.5).clamp(min=0)
    low = position.long().clamp(max=source - 1)
    change = torch.ones(target + 1, dtype=torch.bool)
    change[1:-1] = low[1:] != low[:-1]
    extreme = torch.nonzero(change[:-1] | change[1:]).flatten()
    return Interpolation(low, (position - low).float(), extreme)


def interpolation_matrix(source: int, target: int) -> Tensor:
    """(source, target) float32: cells -> pixels."""
    taps = interpolation(source, target)
    pixels = torch.arange(target)
    matrix = torch.zeros(source, target)
    matrix[taps.low, pixels] += 1 - taps.weight
    matrix[(taps.low + 1).clamp(max=source - 1), pixels] += taps.weight
    return matrix


@lru_cache(maxsize=1024)
def _matrices(source: int, target: int) -> tuple[Tensor, Tensor]:
    """(source, target) of all pixels and (source, K) of the extreme ones, K <= 2 source."""
    matrix = interpolation_matrix(source, target)
    return matrix, matrix[:, interpolation(source, target).extreme]
