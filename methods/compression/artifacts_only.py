"""Artifact augmentation alone (CIM's ablation row 2): new images are shown compressed, exemplars are not."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import activation_maps, boxes_above
from cimbench.methods.compression.boxes.boxes import Boxes, whole_image_boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class ArtifactsOnlyParameters:
    """ratio, threshold, resampling: of the compressed versions, as for class activation. artifacts: their schedule."""

    ratio: float = 4.0
    threshold: float = 0.6
    resampling: str = "nearest"
    artifacts: ArtifactParameters = field(default_factory=ArtifactParameters)

    def __post_init__(self) -> None:
        check_switches(
            "compressors.artifacts_only", ratio=self.ratio, resampling=self.resampling, threshold=self.threshold
        )


class _Worn(Compressor):
    """Plain class activation boxes."""

    def __init__(self, parameters: ArtifactsOnlyParameters) -> None:
        self.parameters = parameters

    def format(self, codec: Codec) -> Format:
        """The box's pixels and the small image."""
        return Format(ratio=self.parameters.ratio, resampling=self.parameters.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around normalised activation > tau."""
        return boxes_above(activation_maps(images, network), images, self.parameters.threshold)


class ArtifactsOnly(Compressor):
    """Stores images as they are; while they are new they look like exemplars of plain class activation."""

    def __init__(self, parameters: ArtifactsOnlyParameters) -> None:
        self.artifacts = parameters.artifacts
        self._worn = _Worn(parameters)

    @property
    def augmentation_compressor(self) -> Compressor:
        """Plain class activation."""
        return self._worn

    def format(self, codec: Codec) -> Format:
        """Pixels as they are."""
        return Format(ratio=1.0, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around everything."""
        return Boxes.of(whole_image_boxes(images.sizes))
