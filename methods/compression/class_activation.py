"""Plain class activation boxes (CIM's ablation row 6): the region that the classifier looks at; nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.boxes import cam_boxes
from cimbench.methods.compression.compressor import Boxes, Compressor
from cimbench.methods.networks.network import Network, in_eval


@dataclass(frozen=True, kw_only=True)
class ClassActivationParameters:
    """ratio: eta, area by which the rest shrinks. threshold: tau, pixels with a normalised activation above it are
    boxed. (Paper: 4 and 0.6.)"""

    ratio: float = 4.0
    threshold: float = 0.6

    def __post_init__(self) -> None:
        if not self.ratio > 1:
            raise InputError(f"compressors.class_activation.ratio is {self.ratio}; give more than 1")
        if not 0 <= self.threshold < 1:
            raise InputError(f"compressors.class_activation.threshold is {self.threshold}; give 0 or more, less than 1")


class ClassActivation(Compressor):
    """Boxes from A = w_y . F(x), read from the network as it is after the phase (SPEC 2)."""

    def __init__(self, parameters: ClassActivationParameters) -> None:
        self.parameters = parameters
        self.ratio = parameters.ratio

    def boxes(self, images: Tensor, labels: Tensor, network: Network) -> Boxes:
        """Boxes on the images' own pixels; the forward sees the whole image squashed to the network's input side."""
        height, width = images.shape[-2:]
        side = network.input_side
        seen = images if (height, width) == (side, side) else transforms.resize(images, [side, side], antialias=True)
        maps = in_eval(network, seen, "maps")
        rows = network.class_rows(labels.to(network.device)).detach()
        boxes, constant = cam_boxes(maps, rows, height, width, self.parameters.threshold)
        return Boxes(boxes.to(torch.int64).cpu(), constant.cpu())
