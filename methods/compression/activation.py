"""Class activation boxes of a store's images: what several compressors start from."""

from __future__ import annotations

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.image_store import ImageStore, groups_of_one_size
from cimbench.methods.compression.acceleration import has_kernels
from cimbench.methods.compression.boxes import Boxes, activation_boxes, class_activation_maps, whole_image_boxes
from cimbench.methods.networks.network import Network, in_eval

_BATCH = 256


def activation_maps(images: ImageStore, network: Network, activation: str = "relu") -> Tensor:
    """A = w_y . F(x) for every image, (N, h, w) on the network's device; the forward sees it squashed."""
    cams = []
    for indices in torch.split(torch.arange(len(images)), _BATCH):
        part = images.subset(indices)
        rows = network.class_rows(part.labels.to(network.device)).detach()
        cams.append(
            class_activation_maps(
                in_eval(network, part.resized(network.input_side), "maps", activation=activation), rows
            )
        )
    return torch.cat(cams)


def boxes_above(cam: Tensor, images: ImageStore, threshold: float) -> Boxes:
    """Boxes on the images' own pixels around normalised activation > threshold; maps (N, h, w). On the CPU."""
    parts = [
        boxes_of_maps(cam[start : start + _BATCH], images.sizes[start : start + _BATCH], threshold)
        for start in range(0, len(images), _BATCH)
    ]
    nothing = Boxes.everywhere_guided(torch.empty(0, 4, dtype=torch.int64))
    xyxy, constant = zip(nothing, *parts, strict=True)
    return Boxes(torch.cat([part.cpu() for part in xyxy]), torch.cat([part.cpu() for part in constant]))


def boxes_of_maps(cam: Tensor, sizes: Tensor, threshold: float) -> Boxes:
    """`boxes.activation_boxes` of maps (B, h, w), on a GPU by its kernel, one launch a size.

    Raises InputError for maps that are not finite and for a threshold under which everything or nothing is.
    """
    if not 0 <= threshold < 1:
        raise InputError(f"threshold is {threshold}; give 0 or more, less than 1")
    if len(cam) and not bool(torch.isfinite(cam.amax((1, 2)) - cam.amin((1, 2))).all()):
        raise InputError("class activation maps are not finite: the network is broken; lower training.learning_rate")
    if not has_kernels(cam.device):
        return activation_boxes(cam, sizes, threshold)
    from cimbench.methods.compression import kernels

    xyxy = torch.empty(len(cam), 4, dtype=torch.int64, device=cam.device)
    constant = torch.empty(len(cam), dtype=torch.bool, device=cam.device)
    for group in groups_of_one_size(sizes):
        height, width = sizes[group[0]].tolist()
        there = group.to(cam.device)
        xyxy[there], constant[there] = kernels.activation_boxes(cam[there], height, width, threshold)
    return Boxes(xyxy, constant)


def box_extents(images: ImageStore, network: Network, threshold: float, area: float | None) -> tuple[Tensor, Tensor]:
    """Widths and heights (N, 2) of boxes whose place is chosen otherwise (ablation rows 4 and 5), and kept_whole (N,).

    With `area` None each is the extent of the image's own class activation box, else that share of the image.
    """
    if area is None:
        found = boxes_above(activation_maps(images, network), images, threshold)
        return found.xyxy[:, 2:] - found.xyxy[:, :2], found.kept_whole
    whole = whole_image_boxes(images.sizes)[:, 2:]
    return (whole * area**0.5).round().long().clamp(min=1), torch.zeros(len(images), dtype=torch.bool)
