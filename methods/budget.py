"""What "the same memory budget" means (SPEC 3): a unit, a total, and each seen class's share of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, check_choice
from cimbench.datasets.image_store import ImageStore
from cimbench.methods.compression.exemplar import Codec, encode_exemplar, encoded_length

UNITS = ("paper_units", "raw_bytes", "coded_bytes")
SHARINGS = ("fixed_total", "fixed_per_class")
_SAMPLED_IMAGES = 2000


@dataclass(frozen=True, kw_only=True)
class BudgetParameters:
    """unit: paper_units (area fractions as published), raw_bytes or coded_bytes (bytes really held).

    exemplars_per_class: the budget in uncompressed exemplars, when all classes are seen (paper: 20). sharing:
    fixed_total (LFS: the whole budget is there from the first phase, shared by the classes seen so far) or
    fixed_per_class (LFH). jpeg_quality: of coded_bytes.
    """

    unit: str
    exemplars_per_class: float
    sharing: str = "fixed_total"
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        check_choice("budget.unit", self.unit, UNITS)
        check_choice("budget.sharing", self.sharing, SHARINGS)
        if not 1 <= self.jpeg_quality <= 100:
            raise InputError(f"budget.jpeg_quality is {self.jpeg_quality}; give 1 to 100")
        if not self.exemplars_per_class >= 1 or math.isinf(self.exemplars_per_class):
            raise InputError(
                f"budget.exemplars_per_class is {self.exemplars_per_class}, less than one uncompressed exemplar or no "
                "number; give 1 or more (to learn without a memory, choose the method finetune)"
            )

    @property
    def codec(self) -> Codec:
        """How exemplars are held: as pixels, or as JPEG where coded bytes are counted."""
        return Codec(name="jpeg" if self.unit == "coded_bytes" else "raw", quality=self.jpeg_quality)


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The total in `parameters.unit` for `classes` classes, from `plain_cost`: the mean cost of a whole image."""

    parameters: BudgetParameters
    plain_cost: float
    classes: int

    @property
    def total(self) -> float:
        """The whole budget; an integer in every unit, rounded down."""
        return math.floor(self.parameters.exemplars_per_class * self.classes * self.plain_cost)

    def share(self, seen_classes: int) -> float:
        """One class's share once `seen_classes` are seen; rounded down, so that shares never exceed the total."""
        sharers = seen_classes if self.parameters.sharing == "fixed_total" else self.classes
        return self.total // sharers

    def limit(self, seen_classes: int) -> float:
        """What all seen classes may hold together."""
        return self.share(seen_classes) * seen_classes


def mean_plain_cost(images: ImageStore, parameters: BudgetParameters) -> float:
    """Mean cost of an uncompressed exemplar in the budget's unit, over all images (2,000 spread evenly where coded)."""
    if parameters.unit == "paper_units":
        return 1.0
    if parameters.unit == "raw_bytes":
        whole = [(h, w, torch.tensor([0, 0, w, h])) for h, w in images.sizes.tolist()]
        return sum(encoded_length(h, w, box, 1.0) for h, w, box in whole) / len(images)
    spread = torch.linspace(0, len(images) - 1, min(len(images), _SAMPLED_IMAGES)).long()
    return sum(len(_whole(images.image(int(i)), parameters.codec)) for i in spread) / len(spread)


def _whole(image: Tensor, codec: Codec) -> Tensor:
    height, width = image.shape[-2:]
    return encode_exemplar(image, torch.tensor([0, 0, width, height]), 0, 1.0, codec)
