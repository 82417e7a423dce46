"""The contract of a compressor: which box of an image keeps its pixels, and how much the rest shrinks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor

from cimbench.methods.compression.boxes import area_shares
from cimbench.methods.compression.resampling import down_and_up
from cimbench.methods.networks.network import Network


class Boxes(NamedTuple):
    """xyxy: (B, 4) int64 pixels. constant: (B,) bool, images whose map said nothing (kept whole)."""

    xyxy: Tensor
    constant: Tensor


class Compressor(ABC):
    """Chooses a box per image; inside it pixels stay, outside the image is downsampled by `ratio` in area."""

    ratio: float

    @abstractmethod
    def boxes(self, images: Tensor, labels: Tensor, network: Network) -> Boxes:
        """Boxes for images (B, 3, H, W) uint8 with labels (B,), which `network` has just learnt."""


def costs_in_paper_units(boxes: Tensor, height: int, width: int, ratio: float) -> Tensor:
    """m = 1 - (1 - 1/eta)(1 - |B| / (H W)) of SPEC 2, (B,) float64; 1 is one original image."""
    share = area_shares(boxes, height, width)
    return share + (1 - share) / ratio


def reconstructed(images: Tensor, boxes: Tensor, ratio: float) -> Tensor:
    """x~ = M_B x + (1 - M_B) up(down(x, eta)): (B, 3, H, W) uint8 and boxes (B, 4) -> (B, 3, H, W) uint8."""
    height, width = images.shape[-2:]
    x0, y0, x1, y1 = boxes.to(images.device).unbind(1)
    columns, rows = torch.arange(width, device=images.device), torch.arange(height, device=images.device)
    inside_x = (columns >= x0[:, None]) & (columns < x1[:, None])
    inside_y = (rows >= y0[:, None]) & (rows < y1[:, None])
    inside = (inside_y[:, :, None] & inside_x[:, None, :])[:, None]
    return torch.where(inside, images, down_and_up(images, ratio))
