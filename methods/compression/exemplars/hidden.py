"""The pixels of a small image that no reconstruction reads, since the box lies over all that they are enlarged to.

They are not stored (raw parts), or stored as what takes fewest bytes (coded parts).
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

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
    without any has the colour of the one before it, so that no difference is coded. At least one pixel must be read.
    """
    height, width = small.shape[1:]
    block = _BLOCKS.get(codec, max(height, width))
    down, across = -(-height // block), -(-width // block)
    left, top, right, bottom = hidden
    read = np.zeros((down * block, across * block))
    read[:height, :width] = 1
    read[top:bottom, left:right] = 0
    seen = np.zeros((3, *read.shape))
    seen[:, :height, :width] = small
    seen *= read
    count = read.reshape(down, block, across, block).sum((1, 3)).reshape(-1)
    total = seen.reshape(3, down, block, across, block).sum((2, 4)).reshape(3, -1)
    known = np.flatnonzero(count)
    before = known[np.searchsorted(known, np.arange(len(count)), side="right").clip(min=1) - 1]
    colours = np.rint(total[:, before] / count[before]).astype(np.uint8).reshape(3, down, across)
    flat = colours.repeat(block, 1).repeat(block, 2)
    filled = small.copy()
    filled[:, top:bottom, left:right] = flat[:, top:bottom, left:right]
    return filled
