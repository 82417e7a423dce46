"""Class activation boxes of a store's images: what several compressors start from."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore, groups_of_one_size
from cimbench.methods.compression.acceleration import has_kernels
from cimbench.methods.compression.boxes.boxes import Boxes, whole_image_boxes
from cimbench.methods.compression.boxes.interpolation import _matrices
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
    nothing = Boxes.of(torch.empty(0, 4, dtype=torch.int64))
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
    from cimbench.methods.compression.boxes import kernels

    xyxy = torch.empty(len(cam), 4, dtype=torch.int64, device=cam.device)
    constant = torch.empty(len(cam), dtype=torch.bool, device=cam.device)
    for group in groups_of_one_size(sizes):
        height, width = sizes[group[0]].tolist()
        there = group.to(cam.device)
        xyxy[there], constant[there] = kernels.activation_boxes(cam[there], height, width, threshold)
    return Boxes(xyxy, constant)


def box_extents(images: ImageStore, network: Network, threshold: float, area: float | None) -> tuple[Tensor, Tensor]:
    """Widths and heights (N, 2) of boxes placed otherwise (ablation rows 4 and 5), and stored_whole (N,).

    With `area` None each is the extent of the image's own class activation box, else that share of the image.
    """
    if area is None:
        found = boxes_above(activation_maps(images, network), images, threshold)
        return found.xyxy[:, 2:] - found.xyxy[:, :2], found.stored_whole
    whole = whole_image_boxes(images.sizes)[:, 2:]
    return (whole * area**0.5).round().long().clamp(min=1), torch.zeros(len(images), dtype=torch.bool)


def class_activation_maps(maps: Tensor, rows: Tensor) -> Tensor:
    """A = w_y . F(x): maps (B, F, h, w) and classifier rows (B, F) -> (B, h, w)."""
    return torch.einsum("bfhw,bf->bhw", maps, rows)


def normalised_maps(cam: Tensor) -> Tensor:
    """Min-max normalised to [0, 1] per image; an exactly constant map becomes NaN (0 / 0)."""
    shifted = cam - cam.amin((1, 2), keepdim=True)
    return shifted / shifted.amax((1, 2), keepdim=True)


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
        return Boxes.of(torch.empty(0, 4, dtype=torch.int64, device=cam.device))
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
