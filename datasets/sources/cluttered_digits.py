"""Cluttered digits: real handwritten digits in a large, distracting scene (after Cluttered MNIST, Mnih et al. 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError, check_at_least
from cimbench.datasets.progress import Advance
from cimbench.datasets.randomness import generator
from cimbench.datasets.reading.catalogue import Catalogue


@dataclass(frozen=True, kw_only=True)
class ClutteredDigitsParameters:
    """Sizes in pixels, ranges with both ends included; how the defaults were chosen is in CONTRIBUTING."""

    side: int
    digit_side: tuple[int, int]
    fragments: int
    fragment_side: tuple[int, int]
    background_contrast: float
    train_per_class: int
    test_per_class: int
    seed: int

    def __post_init__(self) -> None:
        check_at_least("dataset.parameters.train_per_class", self.train_per_class, 1)
        check_at_least("dataset.parameters.test_per_class", self.test_per_class, 1)
        check_at_least("dataset.parameters.fragments", self.fragments, 0)
        if not 0 <= self.background_contrast <= 1:
            raise InputError(f"dataset.parameters.background_contrast is {self.background_contrast}; give 0 to 1")
        for name, (low, high) in {"digit_side": self.digit_side, "fragment_side": self.fragment_side}.items():
            if not 1 <= low <= high <= self.side:
                raise InputError(
                    f"dataset.parameters.{name} is ({low}, {high}); give 1 <= low <= high <= side ({self.side})"
                )


def _scans() -> tuple[Tensor, Tensor]:
    """(1797, 8, 8) float scans in [0, 1] and their digits, from scikit-learn's installed files."""
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise InputError("source cluttered_digits reads the digits that scikit-learn installs; install it") from None
    bunch = load_digits()
    return torch.from_numpy(bunch.images).float() / 16, torch.from_numpy(bunch.target).long()


def _integer(low: int, high: int, random: torch.Generator) -> int:
    return int(torch.randint(low, high + 1, (), generator=random))


def _enlarged(scan: Tensor, side: int) -> Tensor:
    return functional.interpolate(scan[None, None], size=(side, side), mode="bilinear", align_corners=False)[0, 0]


def _paste(scene: Tensor, ink: Tensor, top: int, left: int, random: torch.Generator) -> None:
    """Blend `ink` (h, w) into the scene (3, H, W) in a random bright colour."""
    height, width = ink.shape
    colour = 0.55 + 0.45 * torch.rand(3, 1, 1, generator=random)
    patch = scene[:, top : top + height, left : left + width]
    patch.copy_(patch * (1 - ink) + colour * ink)


def _scene(
    scan: Tensor, others: Tensor, p: ClutteredDigitsParameters, random: torch.Generator
) -> tuple[Tensor, Tensor]:
    """One picture (3, side, side) uint8 and the digit's true box, XYXY."""
    noise = torch.rand(1, 3, 5, 5, generator=random) * p.background_contrast
    scene = functional.interpolate(noise, size=(p.side, p.side), mode="bilinear", align_corners=False)[0]
    for _ in range(p.fragments):
        other = others[_integer(0, len(others) - 1, random)]
        whole, cut = _integer(*p.digit_side, random), _integer(*p.fragment_side, random)
        cut = min(cut, whole)
        y, x = _integer(0, whole - cut, random), _integer(0, whole - cut, random)
        top, left = _integer(0, p.side - cut, random), _integer(0, p.side - cut, random)
        _paste(scene, _enlarged(other, whole)[y : y + cut, x : x + cut], top, left, random)
    size = _integer(*p.digit_side, random)
    top, left = _integer(0, p.side - size, random), _integer(0, p.side - size, random)
    _paste(scene, _enlarged(scan, size), top, left, random)
    return (scene * 255).round().to(torch.uint8), torch.tensor([left, top, left + size, top + size])


def catalogue(parameters: ClutteredDigitsParameters, _folder: Path, progress: Advance) -> Catalogue:
    """The data set, equal bits for equal parameters; train and test scenes are built from disjoint scans."""
    scans, digits = _scans()
    total = 10 * (parameters.train_per_class + parameters.test_per_class)
    images, boxes, labels, names, is_test = [], [], [], [], []
    for test, count in ((False, parameters.train_per_class), (True, parameters.test_per_class)):
        part = "test" if test else "train"
        # every fourth scan is for testing: digit, fragments and all
        in_part = (torch.arange(len(digits)) % 4 == 0) == test
        for digit in range(10):
            own, others = scans[in_part & (digits == digit)], scans[in_part & (digits != digit)]
            random = generator(parameters.seed, "cluttered_digits", part, digit)
            for number in range(count):
                image, box = _scene(own[number % len(own)], others, parameters, random)
                images.append(image)
                boxes.append(box)
                labels.append(digit)
                names.append(f"{part}/{digit}/{number:05d}")
                is_test.append(test)
                progress(len(images), total)
    return Catalogue(
        origin="scikit-learn's digits",
        class_names=tuple(str(digit) for digit in range(10)),
        names=tuple(names),
        labels=torch.tensor(labels),
        is_test=torch.tensor(is_test),
        boxes=torch.stack(boxes),
        content=images.__getitem__,
    )
