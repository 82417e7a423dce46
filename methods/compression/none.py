"""No compression: exemplars are whole images, as in iCaRL and its successors."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.methods.compression.boxes import whole_image_boxes
from cimbench.methods.compression.compressor import Boxes, Compressor
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class NoneParameters:
    """Nothing to choose."""


class NoCompression(Compressor):
    """Keeps the whole image."""

    ratio = 1.0

    def __init__(self, parameters: NoneParameters) -> None:
        self.parameters = parameters

    def boxes(self, images: Tensor, labels: Tensor, network: Network) -> Boxes:  # noqa: ARG002
        """The whole image, for every image."""
        count, _, height, width = images.shape
        return Boxes(whole_image_boxes(count, height, width), torch.zeros(count, dtype=torch.bool))
