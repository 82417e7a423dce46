"""A backbone with its classifier: the only thing of a host method that a compressor may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cimbench.datasets.augment import normalise
from cimbench.datasets.errors import check_at_least, check_choice
from cimbench.methods.networks.heads import LinearHead
from cimbench.methods.networks.resnet import STEMS, ResNet, initialise

ARCHITECTURES = {"resnet18": (2, 2, 2, 2), "resnet8": (1, 1, 1)}


@dataclass(frozen=True, kw_only=True)
class NetworkParameters:
    """architecture: resnet18 (four stages of two blocks) or resnet8 (three stages of one). width: channels of the
    first stage (64 in the papers). stem: see resnet.STEMS. input_side: pixels to which images are squashed."""

    architecture: str
    stem: str
    width: int
    input_side: int

    def __post_init__(self) -> None:
        check_choice("network.architecture", self.architecture, ARCHITECTURES)
        check_choice("network.stem", self.stem, STEMS)
        check_at_least("network.width", self.width, 1)
        check_at_least("network.input_side", self.input_side, 8)


class Output(NamedTuple):
    """logits (B, classes), features (B, F), maps (B, F, s, s)."""

    logits: Tensor
    features: Tensor
    maps: Tensor


class Network(nn.Module):
    """ResNet, global average pooling and a growing linear head."""

    def __init__(self, parameters: NetworkParameters, random: torch.Generator) -> None:
        super().__init__()
        self.input_side = parameters.input_side
        self.backbone = ResNet(ARCHITECTURES[parameters.architecture], parameters.width, parameters.stem)
        self.head = LinearHead(self.backbone.features)
        initialise(self.backbone, random)

    def forward(self, images: Tensor) -> Output:
        """Normalised images (B, 3, S, S) -> Output."""
        maps = self.backbone(images)
        features = maps.mean((2, 3))
        return Output(self.head(features), features, maps)

    def class_rows(self, labels: Tensor) -> Tensor:
        """The classifier rows (B, F) of the labels, for a class activation map."""
        return self.head.weight[labels]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device


@torch.no_grad()
def in_eval(network: Network, images: Tensor, part: str, batch_size: int = 256) -> Tensor:
    """One part of Output ("logits", "features" or "maps") for (N, 3, S, S) uint8 images, in evaluation mode.

    The network's mode is restored; the other parts are dropped batch by batch.
    """
    was_training = network.training
    network.eval()
    batches = torch.split(images, batch_size)
    parts: list[Tensor] = [getattr(network(normalise(batch.to(network.device))), part) for batch in batches]
    network.train(was_training)
    return torch.cat(parts)
