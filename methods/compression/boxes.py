"""From a class activation map to the box that keeps its pixels (SPEC 2). Boxes are XYXY pixels, ends exclusive."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Boxes(NamedTuple):
    """xyxy: (N, 4) int64 pixels. kept_whole: (N,) bool, images of which nothing said where to look.

    They are kept whole and counted: their activation map was constant, or people drew no box.
    """

    xyxy: Tensor
    kept_whole: Tensor

    @classmethod
    def everywhere_guided(cls, xyxy: Tensor) -> Boxes:
        """Boxes of which each was chosen."""
        return cls(xyxy, torch.zeros(len(xyxy), dtype=torch.bool, device=xyxy.device))


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (N,) of boxes (N, 4) with others, one by one, XYXY with exclusive ends; 0 of nothing."""
    corners = torch.cat([torch.maximum(boxes, others)[:, :2], torch.minimum(boxes, others)[:, 2:]], 1)
    shared, mine, theirs = ((b[:, 2:] - b[:, :2]).clamp(min=0).prod(1).double() for b in (corners, boxes, others))
    return (shared / (mine + theirs - shared).clamp(min=1)).float()


def class_activation_maps(maps: Tensor, rows: Tensor) -> Tensor:
    """A = w_y . F(x): maps (B, F, h, w) and classifier rows (B, F) -> (B, h, w)."""
    return torch.einsum("bfhw,bf->bhw", maps, rows)


def normalised_maps(cam: Tensor) -> Tensor:
    """Min-max normalised to [0, 1] per image; an exactly constant map becomes NaN (0 / 0)."""
    shifted = cam - cam.amin((1, 2), keepdim=True)
    return shifted / shifted.amax((1, 2), keepdim=True)


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


def _side_matrices(source: int, targets: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Both for images whose sides are `targets` (N,): (N or 1, source, longest) and (N or 1, source, most extreme).

    Shorter sides end in zeros, above no threshold. Placed as `like`; float64 on a GPU, where float32 may be less.
    """
    sides, which = torch.unique(targets, return_inverse=True)
    pairs = [_matrices(source, side) for side in sides.tolist()]
    made = []
    for matrices in zip(*pairs, strict=True):
        longest = max(matrix.shape[1] for matrix in matrices)
        table = torch.stack([functional.pad(matrix, (0, longest - matrix.shape[1])) for matrix in matrices])
        table = table.to(like.device, torch.float64 if like.is_cuda else torch.float32)
        made.append(table if len(sides) == 1 else table[which.to(like.device)])
    return made[0], made[1]


def _highest(cam: Tensor, along: Tensor, across: Tensor) -> Tensor:
    """(B, s, t) cells -> (B, pixels of t): the highest value of each pixel column of the enlarged map.

    along (B or 1, t, T): all pixels of that side. across (B or 1, s, K): the extreme pixels of the other side.
    """
    return (across.transpose(1, 2) @ cam @ along).amax(1)


def _extent(found: Tensor) -> tuple[Tensor, Tensor]:
    """(B, T) bool -> first true position and one past the last, both (B,); 0 and 0 where none is true."""
    some = found.any(1)
    marks = found.to(torch.uint8)
    return marks.argmax(1) * some, (found.shape[1] - marks.flip(1).argmax(1)) * some


def activation_boxes(cam: Tensor, sizes: Tensor, threshold: float) -> Boxes:
    """The tight boxes around normalised activation > threshold, for maps (B, h, w) on images of sizes (B, 2).

    The map enlarged to the image is never made: a row has a pixel above the threshold where its highest one is, which
    lies at one of at most 2 w columns. A constant map says nothing about where to look: it keeps the whole image,
    counted, and is never 0 / 0 (C21).
    """
    if len(cam) == 0:
        return Boxes.everywhere_guided(torch.empty(0, 4, dtype=torch.int64, device=cam.device))
    normalised = normalised_maps(cam)
    constant = normalised.isnan().flatten(1).any(1)
    all_rows, extreme_rows = _side_matrices(cam.shape[1], sizes[:, 0], cam)
    all_columns, extreme_columns = _side_matrices(cam.shape[2], sizes[:, 1], cam)
    exact = normalised.to(all_rows.dtype)
    in_column = _highest(exact, all_columns, extreme_rows) > threshold
    in_row = _highest(exact.transpose(1, 2), all_rows, extreme_columns) > threshold
    (x0, x1), (y0, y1) = _extent(in_column), _extent(in_row)
    whole = whole_image_boxes(sizes.to(cam.device))
    return Boxes(torch.where(constant[:, None], whole, torch.stack([x0, y0, x1, y1], 1)), constant)


def whole_image_boxes(sizes: Tensor) -> Tensor:
    """(N, 4): boxes that keep everything, for images of sizes (N, 2) height and width."""
    height, width = sizes.unbind(1)
    zero = torch.zeros_like(height)
    return torch.stack([zero, zero, width, height], 1)


def area_shares(boxes: Tensor, sizes: Tensor) -> Tensor:
    """|B| / (H W) per box, (N,) float64, of images of sizes (N, 2)."""
    x0, y0, x1, y1 = boxes.double().unbind(1)
    height, width = sizes.to(boxes.device).double().unbind(1)
    return (x1 - x0) * (y1 - y0) / width / height
