"""Plain class activation boxes (CIM's ablation row 6): the region that the classifier looks at; nothing is learned."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import activation_maps, boxes_above
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class ClassActivationParameters:
    """ratio: eta, area by which the rest shrinks. threshold: tau, pixels with a normalised activation above it are
    boxed. (Paper: 4 and 0.6.) resampling: nearest (as the reference) or area_bilinear. artifacts: of new images while a
    phase is learnt, or None."""

    ratio: float = 4.0
    threshold: float = 0.6
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        check_switches(
            "compressors.class_activation", ratio=self.ratio, resampling=self.resampling, threshold=self.threshold
        )


class ClassActivation(Compressor):
    """Boxes from A = w_y . F(x), read from the network as it is after the phase (CIM, section 3)."""

    def __init__(self, parameters: ClassActivationParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts

    def format(self, codec: Codec) -> Format:
        """The box's pixels and the small image."""
        return Format(ratio=self.parameters.ratio, resampling=self.parameters.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around normalised activation > tau."""
        return boxes_above(self.maps(images, network), images, self.parameters.threshold)

    def maps(self, images: ImageStore, network: Network) -> Tensor:
        """A = w_y . F(x)."""
        return activation_maps(images, network)
