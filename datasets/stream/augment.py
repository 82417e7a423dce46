"""Augmentation: pure, batched, on the images' device, random only through the generator it is given."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError, check_at_least, check_choice

MEAN = (0.485, 0.456, 0.406)
STANDARD_DEVIATION = (0.229, 0.224, 0.225)
AUTO_AUGMENT = ("imagenet", "cifar10")  # policies


@dataclass(frozen=True, kw_only=True)
class AugmentParameters:
    """What training images undergo, in this order.

    resized_crop_scale: area share (low, high) of a random resized crop with aspect 3/4 to 4/3, or None. source_side:
    pixels to which images are squashed before it, at least the network's input_side, or None for just that.
    crop_padding: pixels of a random shift, edges repeated. flip: mirror half of the images. brightness: factor drawn
    from 1 +- this. auto_augment: policy "imagenet" or "cifar10" (Cubuk et al., CVPR 2019), or None. cutout: side in
    pixels of a square at a random place, set to the mean colour (DeVries and Taylor, 2017); 0 for none.
    """

    resized_crop_scale: tuple[float, float] | None = None
    crop_padding: int = 0
    flip: bool = True
    brightness: float = 0.0
    auto_augment: str | None = None
    cutout: int = 0
    source_side: int | None = None

    def __post_init__(self) -> None:
        check_at_least("augment.crop_padding", self.crop_padding, 0)
        check_at_least("augment.cutout", self.cutout, 0)
        if self.auto_augment is not None:
            check_choice("augment.auto_augment", self.auto_augment, AUTO_AUGMENT)
        if not 0 <= self.brightness <= 1:
            raise InputError(f"augment.brightness is {self.brightness}; give 0 to 1")
        if self.source_side is not None and self.resized_crop_scale is None:
            raise InputError(
                f"augment.source_side is {self.source_side}, but augment.resized_crop_scale is null, so nothing is "
                "taken from the larger images; set it, or source_side to null"
            )
        scale = self.resized_crop_scale
        if scale is not None and not 0 < scale[0] <= scale[1] <= 1:
            raise InputError(f"augment.resized_crop_scale is {scale}; give 0 < low <= high <= 1, or null")


def normalise(images: Tensor) -> Tensor:
    """(B, 3, H, W) uint8, or float in [0, 255], as zero-mean float32 by the ImageNet statistics."""
    innermost = images.permute(0, 2, 3, 1)
    if images.device.type == "cpu" and innermost.is_contiguous():  # rows of numbers: six times as fast as by channels
        mean, scale = _statistics_of_rows(images.shape[3])
        rows = innermost.reshape(-1, images.shape[3] * 3).to(torch.float32, copy=True)
        return rows.sub_(mean).div_(scale).view(innermost.shape).permute(0, 3, 1, 2)
    mean, scale = _statistics(images.device)
    return (
        images.to(torch.float32, copy=True).sub_(mean).div_(scale)
    )  # one new array: fresh memory costs more than sums


@cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (1, 3, 1, 1), kept on the device: a constant sent anew makes the host wait."""
    mean, deviation = (torch.tensor(values).view(1, 3, 1, 1) * 255 for values in (MEAN, STANDARD_DEVIATION))
    return mean.to(device), deviation.to(device)


@cache
def _statistics_of_rows(width: int) -> tuple[Tensor, Tensor]:
    """The same for each number of a row of pixels whose channels lie innermost: (3 * width,) each."""
    mean, deviation = _statistics(torch.device("cpu"))
    return mean.flatten().repeat(width), deviation.flatten().repeat(width)


def mirrored(images: Tensor) -> Tensor:
    """Left and right exchanged."""
    return images.flip(-1)


def _some_mirrored(images: Tensor, chosen: Tensor) -> Tensor:
    """Those that are chosen, (B,) bool, mirrored."""
    out = mirrored(images)
    if images.device.type != "cpu":
        return torch.where(chosen.view(-1, 1, 1, 1), out, images)
    for place in (~chosen).nonzero().flatten().tolist():  # on a CPU four times as fast as choosing numbers
        out[place] = images[place]
    return out


def _uniform(count: int, low: float, high: float, random: torch.Generator) -> Tensor:
    return torch.empty(count, device=random.device).uniform_(low, high, generator=random)


def random_shift(images: Tensor, padding: int, random: torch.Generator) -> Tensor:
    """Each image moved by up to `padding` pixels both ways, its border repeated; bits are kept, not interpolated."""
    count, _, height, width = images.shape
    shifts = torch.randint(-padding, padding + 1, (2, count, 1), generator=random, device=random.device)
    if images.device.type == "cpu":
        return _cut_from_padded(images, padding, shifts[:, :, 0].T.tolist())
    shifts = shifts.to(images.device)
    rows = (torch.arange(height, device=images.device) + shifts[0]).clamp(0, height - 1)
    columns = (torch.arange(width, device=images.device) + shifts[1]).clamp(0, width - 1)
    table = images.permute(0, 2, 3, 1)
    each = torch.arange(count, device=images.device).view(-1, 1, 1)
    return table[each, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def _cut_from_padded(images: Tensor, padding: int, shifts: list[list[int]]) -> Tensor:
    """The same by copying a part of each padded image: on a CPU much faster than looking up every pixel."""
    height, width = images.shape[-2:]
    table = images.permute(0, 2, 3, 1)
    padded, moved = _edges_repeated(table, padding), table.new_empty(table.shape)
    for place, (down, right) in enumerate(shifts):
        top, left = padding + down, padding + right
        moved[place] = padded[place, top : top + height, left : left + width]
    return moved.permute(0, 3, 1, 2)


def _edges_repeated(table: Tensor, padding: int) -> Tensor:
    """(B, H, W, 3) with its border `padding` times more on every side."""
    count, height, width, channels = table.shape
    padded = table.new_empty(count, height + 2 * padding, width + 2 * padding, channels)
    middle = padded[:, :, padding : padding + width]
    middle[:, padding : padding + height] = table
    middle[:, :padding], middle[:, padding + height :] = table[:, :1], table[:, -1:]
    padded[:, :, :padding], padded[:, :, padding + width :] = middle[:, :, :1], middle[:, :, -1:]
    return padded


def random_resized_crop(
    images: Tensor, scale: tuple[float, float], random: torch.Generator, side: int | None = None
) -> Tensor:
    """A random box of `scale` of the area, aspect 3/4 to 4/3, sampled bilinearly to (B, 3, side, side) float.

    By default they are as large as they were.
    """
    count, size = len(images), (side, side) if side is not None else images.shape[-2:]
    area = _uniform(count, scale[0], scale[1], random)
    log_aspect = _uniform(count, -0.2876821, 0.2876821, random)  # ln(4/3)
    across = (area * log_aspect.exp()).sqrt().clamp(max=1)
    down = (area / log_aspect.exp()).sqrt().clamp(max=1)
    shift_x = _uniform(count, -1, 1, random) * (1 - across)
    shift_y = _uniform(count, -1, 1, random) * (1 - down)
    affine = torch.zeros(count, 2, 3, device=random.device)
    affine[:, 0, 0], affine[:, 0, 2] = across, shift_x
    affine[:, 1, 1], affine[:, 1, 2] = down, shift_y
    grid = functional.affine_grid(affine.to(images.device), [count, 3, *size], align_corners=False)
    return functional.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def cut_out(images: Tensor, side: int, random: torch.Generator) -> Tensor:
    """A square of `side` pixels of each image set to 0; its middle lies anywhere, so that the border may cut it."""
    count, _, height, width = images.shape
    middle = torch.rand(2, count, 1, generator=random, device=random.device).to(images.device)

    def inside(places: int, share: Tensor) -> Tensor:
        first = (share * places).floor() - side // 2
        place = torch.arange(places, device=images.device)
        return (place >= first) & (place < first + side)

    hole = inside(height, middle[0])[:, :, None] & inside(width, middle[1])[:, None, :]
    return images.masked_fill(hole[:, None], 0.0)


def augment(images: Tensor, parameters: AugmentParameters, random: torch.Generator, side: int | None = None) -> Tensor:
    """(B, 3, S, S) uint8 -> augmented, normalised float32 (B, 3, side, side); of the same side by default.

    S differs from `side` where it is parameters.source_side, from which random crops are taken.
    """
    out = images
    if parameters.crop_padding:
        out = random_shift(out, parameters.crop_padding, random)
    if parameters.resized_crop_scale is not None:
        out = random_resized_crop(out, parameters.resized_crop_scale, random, side)
    if parameters.flip:
        mirror = torch.rand(len(out), generator=random, device=random.device).to(out.device) < 0.5
        out = _some_mirrored(out, mirror)
    if parameters.brightness:
        factor = _uniform(len(out), 1 - parameters.brightness, 1 + parameters.brightness, random).to(out.device)
        out = (out.float() * factor.view(-1, 1, 1, 1)).clamp(0, 255)
    if parameters.auto_augment is not None:
        from cimbench.datasets.stream.auto_augment import auto_augment  # torchvision takes seconds to import

        out = auto_augment(parameters.auto_augment).of_batch(out.round().to(torch.uint8), random)
    out = normalise(out)
    return cut_out(out, parameters.cutout, random) if parameters.cutout else out
