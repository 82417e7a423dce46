"""From a class activation map to the box that keeps its pixels (SPEC 2). Boxes are XYXY pixels, ends exclusive."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def class_activation_maps(maps: Tensor, rows: Tensor) -> Tensor:
    """A = w_y . F(x): maps (B, F, h, w) and classifier rows (B, F) -> (B, h, w)."""
    return torch.einsum("bfhw,bf->bhw", maps, rows)


def normalised_maps(cam: Tensor) -> Tensor:
    """Min-max normalised to [0, 1] per image; an exactly constant map becomes NaN (0 / 0)."""
    low = cam.amin((1, 2), keepdim=True)
    shifted = cam - low
    return shifted / shifted.amax((1, 2), keepdim=True)


def resized_maps(cam: Tensor, height: int, width: int) -> Tensor:
    """(B, h, w) -> (B, height, width), bilinear between pixel centres (align_corners = False)."""
    return functional.interpolate(cam[:, None], size=(height, width), mode="bilinear", align_corners=False)[:, 0]


def mask_boxes(mask: Tensor) -> Tensor:
    """The tight box (B, 4) around all true pixels of each (B, H, W) mask; (0, 0, 0, 0) where there is none."""
    height, width = mask.shape[-2:]
    in_row, in_column = mask.any(2).long(), mask.any(1).long()
    x0, y0 = in_column.argmax(1), in_row.argmax(1)
    x1, y1 = width - in_column.flip(1).argmax(1), height - in_row.flip(1).argmax(1)
    boxes = torch.stack([x0, y0, x1, y1], 1)
    return boxes * mask.flatten(1).any(1, keepdim=True)


def cam_boxes(maps: Tensor, rows: Tensor, height: int, width: int, threshold: float) -> tuple[Tensor, Tensor]:
    """Boxes (B, 4) of activation > threshold on an image of height x width, and which maps were constant (B,) bool.

    A constant map says nothing about where to look: it keeps the whole image, is counted, and is never 0 / 0 (C21).
    """
    cam = normalised_maps(class_activation_maps(maps, rows))
    constant = cam.isnan().flatten(1).any(1)
    boxes = mask_boxes(resized_maps(cam, height, width) > threshold)
    return torch.where(constant[:, None], whole_image_boxes(len(maps), height, width, maps.device), boxes), constant


def whole_image_boxes(count: int, height: int, width: int, device: torch.device | str = "cpu") -> Tensor:
    """(count, 4): boxes that keep everything."""
    return torch.tensor([0, 0, width, height], device=device).expand(count, 4)


def area_shares(boxes: Tensor, height: int, width: int) -> Tensor:
    """|B| / (H W) per box, (B,) float64."""
    x0, y0, x1, y1 = boxes.double().unbind(1)
    return (x1 - x0) * (y1 - y0) / width / height
