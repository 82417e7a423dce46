"""The procedure of the published code (docs/cim.md), image by image, written apart from the suite's own code.

Bilinear resize of the map to full size, threshold, rectangle; two Pillow NEAREST resizes of the whole image, paste.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import interpolate

Corners = tuple[int, int, int, int]


def activation_map(maps: Tensor, row: Tensor) -> Tensor:
    """w_y . F(x) of one image: maps (F, h, w), row (F,)."""
    return (maps * row[:, None, None]).sum(0)


def box(cam: Tensor, height: int, width: int, threshold: float) -> Corners:
    """The tight rectangle around the full-size map > threshold; XYXY, ends exclusive."""
    shifted = cam - cam.min()
    normalised = shifted / shifted.max()
    enlarged = interpolate(normalised[None, None], size=(height, width), mode="bilinear", align_corners=False)
    mask = (enlarged[0, 0] > threshold).numpy()
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if len(rows) == 0:
        return 0, 0, 0, 0
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def blurred(picture: Image.Image, corners: Corners, ratio: float) -> Image.Image:
    """The picture downsampled and enlarged again, the box's own pixels pasted back."""
    width, height = picture.size
    small = (int(width / ratio**0.5), int(height / ratio**0.5))
    shown = picture.resize(small, Image.Resampling.NEAREST).resize((width, height), Image.Resampling.NEAREST)
    shown.paste(picture.crop(corners), corners[:2])
    return shown


def herding(features: NDArray[np.float64], steps: int) -> list[int]:
    """iCaRL's algorithm 4: at each step the candidate that brings the mean of the chosen closest to the class mean."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    target, total, chosen = unit.mean(0), np.zeros(features.shape[1]), list[int]()
    for k in range(1, steps + 1):
        gaps = np.linalg.norm(target - (total + unit) / k, axis=1)
        gaps[chosen] = np.inf
        chosen.append(int(gaps.argmin()))
        total += unit[chosen[-1]]
    return chosen
