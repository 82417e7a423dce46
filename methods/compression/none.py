"""No compression: exemplars are whole images, as in iCaRL and its successors."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import Boxes, whole_image_boxes
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class NoneParameters:
    """Nothing to choose."""


class NoCompression(Compressor):
    """Keeps the whole image."""

    def __init__(self, parameters: NoneParameters) -> None:
        self.parameters = parameters

    def format(self, codec: Codec) -> Format:
        """Whole images, by the budget's codec."""
        return Format(ratio=1.0, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """The whole image, for every image."""
        return Boxes.of(whole_image_boxes(images.sizes))
