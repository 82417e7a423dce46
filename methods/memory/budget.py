"""What "the same memory budget" means (docs/compression.md): a unit, a total, and each seen class's share of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from cimbench.datasets.errors import InputError, check_choice
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import whole_image_boxes
from cimbench.methods.compression.exemplars.codecs import CODECS, RAW, Codec
from cimbench.methods.compression.exemplars.exemplar import Format, headers_for
from cimbench.methods.compression.exemplars.packing import pack

UNITS = ("paper_units", "raw_bytes", "coded_bytes")
SHARINGS = ("fixed_total", "fixed_per_class")
FILLS = ("global",)
_SAMPLED_IMAGES = 2000


@dataclass(frozen=True, kw_only=True)
class BudgetParameters:
    """unit: paper_units (area fractions as published), raw_bytes or coded_bytes (bytes really held).

    exemplars_per_class: the budget in uncompressed exemplars, when all classes are seen (paper: 20). sharing:
    fixed_total (LFS: the whole budget is there from the first phase, shared by the classes seen so far) or
    fixed_per_class (LFH). codec, quality: how parts are stored where coded bytes are counted, "jpeg", "webp" or "avif".
    fill: "global" gives what the classes' shares leave unused to the next exemplars of any class; None leaves it, as
    published.
    """

    unit: str
    exemplars_per_class: float
    sharing: str = "fixed_total"
    codec: str = "jpeg"
    quality: int = 90
    fill: str | None = None

    def __post_init__(self) -> None:
        if self.fill is not None:
            check_choice("budget.fill", self.fill, FILLS)
        check_choice("budget.unit", self.unit, UNITS)
        check_choice("budget.sharing", self.sharing, SHARINGS)
        check_choice("budget.codec", self.codec, [name for name in CODECS if name != RAW.name])
        if not 1 <= self.quality <= 100:
            raise InputError(f"budget.quality is {self.quality}; give 1 to 100")
        if not self.exemplars_per_class >= 1 or math.isinf(self.exemplars_per_class):
            raise InputError(
                f"budget.exemplars_per_class is {self.exemplars_per_class}, less than one uncompressed exemplar or no "
                "number; give 1 or more (to learn without a memory, choose the method finetune)"
            )

    @property
    def stored_by(self) -> Codec:
        """What turns parts into bytes: pixels as they are, or the codec where coded bytes are counted."""
        return Codec(name=self.codec, quality=self.quality) if self.unit == "coded_bytes" else RAW


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The total in `parameters.unit` for `classes` classes, from `plain_cost`: the mean cost of a whole image.

    shared: what the memory holds once, whatever it remembers; it is paid before the classes have their shares.
    """

    parameters: BudgetParameters
    plain_cost: float
    classes: int
    shared: float = 0.0

    @property
    def total(self) -> float:
        """The whole budget; an integer in every unit, rounded down."""
        return math.floor(self.parameters.exemplars_per_class * self.classes * self.plain_cost)

    def share(self, seen_classes: int) -> float:
        """One class's share once `seen_classes` are seen; rounded down, so that shares never exceed the total."""
        sharers = seen_classes if self.parameters.sharing == "fixed_total" else self.classes
        return max(0.0, self.total - self.shared) // sharers

    def nominal(self, seen_classes: int) -> int:
        """Uncompressed exemplars of a class as the reference codes count them: floor(M / classes), or M a class."""
        given = self.parameters.exemplars_per_class
        fixed = self.parameters.sharing == "fixed_per_class"
        return int(given) if fixed else int(given * self.classes) // max(1, seen_classes)

    def limit(self, seen_classes: int) -> float:
        """What all seen classes may hold together, with what they share."""
        return self.share(seen_classes) * seen_classes + self.shared


def mean_plain_cost(images: ImageStore, parameters: BudgetParameters) -> float:
    """Mean cost of an uncompressed exemplar in the budget's unit, over all images (2,000 spread evenly where coded)."""
    if parameters.unit == "paper_units":
        return 1.0
    if parameters.unit == "raw_bytes":
        lengths = headers_for(images.sizes, whole_image_boxes(images.sizes), images.labels, Format(ratio=1.0)).lengths
        return int(lengths.sum()) / len(images)
    spread = torch.linspace(0, len(images) - 1, min(len(images), _SAMPLED_IMAGES)).long()
    plain = Format(ratio=1.0, codec=parameters.stored_by)
    sampled = images.subset(spread)
    held = [
        len(pack(sampled.stacked(group), whole_image_boxes(sampled.sizes[group]), sampled.labels[group], plain).buffer)
        for group in sampled.same_size_groups()
    ]
    return sum(held) / len(sampled)
