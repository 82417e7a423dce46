"""Whole images as AVIF of a lower quality: MRDC's idea (see jpeg.py) with the newest of the codecs."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import Boxes, whole_image_boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class AvifParameters:
    """quality: of the codec, 1 to 100. artifacts: of new images while a phase is learnt, or None."""

    quality: int = 50
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.quality <= 100:
            raise InputError(f"compressors.avif.quality is {self.quality}; give 1 to 100")


class Avif(Compressor):
    """Keeps every pixel, coarsely. In paper units it saves nothing: that unit counts area."""

    def __init__(self, parameters: AvifParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts

    def format(self, codec: Codec) -> Format:  # noqa: ARG002
        """The compressor's own codec, whatever the budget's: its bytes are what is held."""
        return Format(ratio=1.0, codec=Codec(name="avif", quality=self.parameters.quality))

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """The whole image, for every image."""
        return Boxes.of(whole_image_boxes(images.sizes))
