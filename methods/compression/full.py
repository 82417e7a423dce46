"""The whole image downsampled, no box kept (CIM's ablation row 3): the plain rival of every mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.compressor import Boxes, Compressor
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class FullParameters:
    """ratio: eta, area by which the image shrinks (paper: 4)."""

    ratio: float = 4.0

    def __post_init__(self) -> None:
        if not self.ratio > 1:
            raise InputError(f"compressors.full.ratio is {self.ratio}; give more than 1")


class Full(Compressor):
    """An empty box for every image: cost 1 / eta."""

    def __init__(self, parameters: FullParameters) -> None:
        self.parameters = parameters
        self.ratio = parameters.ratio

    def boxes(self, images: Tensor, labels: Tensor, network: Network) -> Boxes:  # noqa: ARG002
        """Nothing is kept at full resolution."""
        count = len(images)
        return Boxes(torch.zeros(count, 4, dtype=torch.int64), torch.zeros(count, dtype=torch.bool))
