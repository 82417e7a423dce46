"""The whole image downsampled, no box kept (CIM's ablation row 3): the plain rival of every mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class FullParameters:
    """ratio: eta, area by which the image shrinks (paper: 4). resampling: nearest (as the reference) or area_bilinear.

    artifacts: of new images while a phase is learnt, or None.
    """

    ratio: float = 4.0
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        check_switches("compressors.full", ratio=self.ratio, resampling=self.resampling)


class Full(Compressor):
    """An empty box for every image: cost 1 / eta."""

    def __init__(self, parameters: FullParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts

    def format(self, codec: Codec) -> Format:
        """A small image and no crop."""
        return Format(ratio=self.parameters.ratio, resampling=self.parameters.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Nothing is kept at full resolution."""
        return Boxes.of(torch.zeros(len(images), 4, dtype=torch.int64))
