"""The pixels of a small image that no reconstruction reads, since the box lies over all that they are enlarged to.

They are not stored (raw parts), or stored as what takes fewest bytes (coded parts).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.exemplars.resampling import nearest_index

_ROUNDING = 1e-3  # of a pixel: torch computes places in single precision
_BLOCKS = {"jpeg": 8, "webp": 8}  # pixels of a side; other codecs choose their own, and the whole has one colour
Pixels = NDArray[np.uint8]


def hidden_parts(sizes: Tensor, small: tuple[Tensor, Tensor], boxes: Tensor, resampling: str) -> Tensor:
    """(n, 4) int64 XYXY in pixels of each small image, zeros where nothing of it is hidden; on the boxes' device.

    sizes: (n, 2) of the images, on the CPU. small: heights and widths (n,) of the small images there, 0 for none.
    boxes: (n, 4) XYXY in the images.
    """
    x0, y0, x1, y1 = boxes.unbind(1)
    top, bottom = _between(sizes[:, 0], small[0], y0, y1, resampling)
    left, right = _between(sizes[:, 1], small[1], x0, x1, resampling)
    found = torch.stack([left, top, right, bottom], 1)
    return found * ((top < bottom) & (left < right))[:, None]


def _between(sides: Tensor, small: Tensor, low: Tensor, high: Tensor, resampling: str) -> tuple[Tensor, Tensor]:
    """First and end of the small image's rows that are read by none but rows `low` to `high` of the image."""
    pairs, which = torch.unique(torch.stack([sides, small], 1), dim=0, return_inverse=True)
    tables = [_reading(side, short, resampling) for side, short in pairs.tolist()]
    if not tables:
        return low, high
    table = torch.from_numpy(np.concatenate(tables, 1)).to(low.device)
    starts = torch.tensor([0, *(each.shape[1] for each in tables[:-1])]).cumsum(0)[which].to(low.device)
    return table[0, starts + low], table[1, starts + high]


@lru_cache(maxsize=4096)
def _reading(side: int, small: int, resampling: str) -> NDArray[np.int64]:
    """(2, side + 1): the end of the small rows that rows before y read, and the first that rows from y on read."""
    found = np.zeros((2, side + 1), dtype=np.int64)
    if small:
        first, last = _read_by_each(side, small, resampling)
        found[0, 1:], found[1, :-1], found[1, -1] = last + 1, first, small
    found.flags.writeable = False
    return found


def _read_by_each(side: int, small: int, resampling: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last row of the small image that each of the image's rows may be computed from, (side,) each."""
    if resampling == "nearest" or side == small:
        index = nearest_index(small, side)
        return index, index
    place = (np.arange(side) + 0.5) * (small / side) - 0.5
    first, last = np.floor(place - _ROUNDING), np.floor(place + _ROUNDING) + 1
    return first.clip(0, small - 1).astype(np.intp), last.clip(0, small - 1).astype(np.intp)


def flattened(small: Pixels, hidden: tuple[int, int, int, int], codec: str) -> Pixels:
    """A copy of the (3, h, w) small image whose hidden XYXY rectangle takes next to nothing when it is coded.

    Within each block that the codec transforms, hidden pixels have the mean colour of those that are read; a block
    without any has the colour of the one before it, of those around the rectangle, so that no difference is coded. At
    least one pixel must be read, or InputError is raised.
    """
    x0, y0, x1, y1 = hidden
    if (x1 - x0) * (y1 - y0) == small[0].size:
        raise InputError(f"all {x1 - x0} x {y1 - y0} pixels of a small image are hidden: it is not to be stored")
    block = _BLOCKS.get(codec, max(small.shape))
    rows, columns = _blocks(small.shape[1], y0, y1, block), _blocks(small.shape[2], x0, x1, block)
    top, left = int(rows[0, 0]), int(columns[0, 0])
    filled = small.copy()
    filled[:, y0:y1, x0:x1] = 0
    around = filled[:, top : int(rows[1, -1]), left : int(columns[1, -1])]
    sums = np.add.reduceat(around, rows[0] - top, axis=1, dtype=np.uint32)
    sums = np.add.reduceat(sums, columns[0] - left, axis=2).reshape(3, -1)
    read = np.outer(rows[1] - rows[0], columns[1] - columns[0]) - np.outer(rows[2], columns[2])
    known = np.flatnonzero(read)
    before = known[np.maximum(np.searchsorted(known, np.arange(read.size), side="right") - 1, 0)]
    colours = np.rint(sums[:, before] / read.ravel()[before]).astype(np.uint8).reshape(3, *read.shape)
    filled[:, y0:y1, x0:x1] = colours.repeat(rows[2], 1).repeat(columns[2], 2)
    return filled


@lru_cache(maxsize=4096)
def _blocks(side: int, low: int, high: int, block: int) -> NDArray[np.intp]:
    """(3, n): first and end of each block of the side that holds pixels low - 1 to high, and how many are hidden."""
    first = np.arange(max(0, low - 1) // block * block, min(side, high + 1), block)
    end = np.minimum(first + block, side)
    return np.stack([first, end, np.maximum(0, np.minimum(end, high) - np.maximum(first, low))])
