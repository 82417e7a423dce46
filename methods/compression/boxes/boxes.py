"""From a class activation map to the box that keeps its pixels (CIM, section 3). Boxes are XYXY, ends exclusive."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Boxes(NamedTuple):
    """xyxy: (N, 4) int64 pixels. stored_whole: (N,) bool, images without a usable box.

    Their activation map was constant, or no bounding box is annotated; they are stored uncompressed and counted.
    """

    xyxy: Tensor
    stored_whole: Tensor

    @classmethod
    def of(cls, xyxy: Tensor) -> Boxes:
        """Boxes of images that all have one."""
        return cls(xyxy, torch.zeros(len(xyxy), dtype=torch.bool, device=xyxy.device))


def overlap(boxes: Tensor, others: Tensor) -> Tensor:
    """Intersection over union (N,) of boxes (N, 4) with others, one by one, XYXY with exclusive ends; 0 of nothing."""
    corners = torch.cat([torch.maximum(boxes, others)[:, :2], torch.minimum(boxes, others)[:, 2:]], 1)
    shared, mine, theirs = ((b[:, 2:] - b[:, :2]).clamp(min=0).prod(1).double() for b in (corners, boxes, others))
    return (shared / (mine + theirs - shared).clamp(min=1)).float()


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
