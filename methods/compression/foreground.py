"""The inside of the box is compressed too, at a milder ratio (CIM's ablation row 11)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import activation_maps, boxes_above
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class ForegroundParameters:
    """ratio: eta, area by which the rest shrinks. threshold: tau, pixels with a normalised activation above it are
    boxed. (Paper: 4 and 0.6.) resampling: nearest (as the reference) or area_bilinear. artifacts: of new images while a
    phase is learnt, or None.

    inner_ratio: area by which the box's own pixels shrink; the paper gives none, 1.5 is our choice.
    """

    ratio: float = 4.0
    inner_ratio: float = 1.5
    threshold: float = 0.6
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        check_switches("compressors.foreground", ratio=self.ratio, resampling=self.resampling, threshold=self.threshold)
        if not 1 < self.inner_ratio <= self.ratio:
            raise InputError(
                f"compressors.foreground.inner_ratio is {self.inner_ratio}; give more than 1, at most {self.ratio}"
            )


class Foreground(Compressor):
    """Class activation boxes whose pixels are downsampled less than the rest."""

    def __init__(self, parameters: ForegroundParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts

    def format(self, codec: Codec) -> Format:
        """A smaller crop and the small image."""
        mine = self.parameters
        return Format(ratio=mine.ratio, inner_ratio=mine.inner_ratio, resampling=mine.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around normalised activation > tau."""
        return boxes_above(self.maps(images, network), images, self.parameters.threshold)

    def maps(self, images: ImageStore, network: Network) -> Tensor:
        """A = w_y . F(x)."""
        return activation_maps(images, network)
