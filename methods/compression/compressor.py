"""The contract of a compressor: which box of an image keeps its pixels, and how box and rest are stored."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.compression.exemplars.packing import pack_store
from cimbench.methods.compression.exemplars.resampling import RESAMPLINGS
from cimbench.methods.compression.exemplars.store import ExemplarStore
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class ArtifactParameters:
    """While a phase is learnt, its new images are shown as their own compressed version with a probability that grows.

    It is 0 at first, and `step` more each time the boxes are made again, every `refresh_epochs` epochs, so that old and
    new images come to look alike (CIM's paper: 0.1 and 40).
    """

    step: float = 0.1
    refresh_epochs: int = 40

    def __post_init__(self) -> None:
        if not 0 < self.step <= 1:
            raise InputError(
                f"artifacts.step is {self.step}; give more than 0, at most 1 (or artifacts: null for none)"
            )
        check_at_least("artifacts.refresh_epochs", self.refresh_epochs, 1)


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """An epoch (0-based, of `epochs`) that a host has learnt, at the learning rate `rate`.

    draw: that many of the phase's images, exemplars among them, augmented and normalised, with their labels; all there
    are where there are fewer. No image comes again before all were drawn, so that two batches that follow one another
    share none unless the phase has fewer images than both.
    """

    phase: int
    epoch: int
    epochs: int
    new_classes: int
    rate: float
    draw: Callable[[int], tuple[Tensor, Tensor]]


def check_switches(section: str, *, ratio: float, resampling: str, threshold: float = 0.5) -> None:
    """Raise InputError unless eta > 1, tau lies between 0 and 1, and the resampling is known."""
    if not ratio > 1:
        raise InputError(f"{section}.ratio is {ratio}; give more than 1")
    if not 0 < threshold < 1:
        raise InputError(f"{section}.threshold is {threshold}; give more than 0, less than 1")
    check_choice(f"{section}.resampling", resampling, RESAMPLINGS)


class Compressor(ABC):
    """Chooses a box per image; inside it pixels stay, outside the image is downsampled.

    One that chooses something on held-out images does so in `tune`; it reports what it chose and keeps it as state.
    """

    needs_held_out: ClassVar[bool] = False
    needs_object_boxes: ClassVar[bool] = False
    rational_activations: ClassVar[bool] = (
        False  # whether the host's networks have rational activations beside their ReLUs
    )
    artifacts: ArtifactParameters | None = None

    @abstractmethod
    def format(self, codec: Codec) -> Format:
        """How its exemplars are stored under a budget that stores parts by `codec`."""

    @abstractmethod
    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:
        """Boxes for images, of one size or of many, whose classes `network` is learning or has learnt."""

    @property
    def augmentation_compressor(self) -> Compressor:
        """What makes the compressed versions that new images are shown as."""
        return self

    def maps(self, images: ImageStore, network: Network) -> Tensor | None:  # noqa: ARG002
        """The maps (N, h, w) that boxes are read from, for pictures; None where nothing is read."""
        return None

    @property
    def draws_whole_images(self) -> bool:
        """Whether `after_epoch` is given new images as they are, though the host may see some compressed."""
        return False

    def after_epoch(self, network: Network, loss: Loss, done: EpochDone) -> None:  # noqa: B027
        """Learn beside the host, which has just learnt an epoch by `loss`; the network's weights stay as they are."""

    def measured(self) -> dict[str, float]:
        """Numbers of the phase's learning, by name."""
        return {}

    def learning_state(self) -> dict[str, Tensor]:
        """What the rest of an interrupted phase's learning depends on."""
        return {}

    def load_learning_state(self, state: dict[str, Tensor]) -> None:  # noqa: B027
        """Go on within a phase."""

    def tune(self, held_out: ImageStore, network: Network, form: Format) -> None:  # noqa: B027
        """Choose what is chosen per phase, on images of its classes that the network has not learnt from."""

    def report(self) -> dict[str, float]:
        """What was chosen, by name."""
        return {}

    def state_dict(self) -> dict[str, Tensor]:
        """What the next phase starts from."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:  # noqa: B027
        """Take over a saved state."""


class Compressed(NamedTuple):
    """exemplars: one for each image, in the images' order. stored_whole: (N,) bool, see Boxes."""

    exemplars: ExemplarStore
    stored_whole: Tensor


def compressed(
    images: ImageStore, compressor: Compressor, network: Network, form: Format, random: torch.Generator
) -> Compressed:
    """Every image as the exemplar it would be, packed on the network's device. form: by `compressor.format`."""
    return with_boxes(images, compressor.boxes(images, network, random), form, network.device)


def with_boxes(images: ImageStore, boxes: Boxes, form: Format, device: torch.device) -> Compressed:
    """Every image as an exemplar of that format, with boxes already chosen: what artifact augmentation needs too."""
    exemplars = ExemplarStore.from_packed(pack_store(images, boxes.xyxy, form, device), form)
    return Compressed(exemplars, boxes.stored_whole)
