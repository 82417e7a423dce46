"""A box in the middle of the image (CIM's ablation row 5): photographers point at things."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import box_extents
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class CenterBoxParameters:
    """area: the box's share of the image; None: as large as the image's own class activation box at `threshold`.

    The paper gives no sizes; None is our choice, so that only the place differs from class_activation. ratio: eta, area
    by which the rest shrinks. resampling: nearest (as the reference) or area_bilinear. artifacts: of new images while a
    phase is learnt, or None.
    """

    ratio: float = 4.0
    threshold: float = 0.6
    area: float | None = None
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        check_switches("compressors.center_box", ratio=self.ratio, resampling=self.resampling, threshold=self.threshold)
        if self.area is not None and not 0 < self.area <= 1:
            raise InputError(f"compressors.center_box.area is {self.area}; give more than 0, at most 1, or null")


class CenterBox(Compressor):
    """As large as class activation would have it, in the middle."""

    def __init__(self, parameters: CenterBoxParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts

    def format(self, codec: Codec) -> Format:
        """The box's pixels and the small image."""
        return Format(ratio=self.parameters.ratio, resampling=self.parameters.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around the image's centre."""
        extents, stored_whole = box_extents(images, network, self.parameters.threshold, self.parameters.area)
        room = images.sizes.flip(1) - extents  # across, down
        corners = room // 2
        return Boxes(torch.cat([corners, corners + extents], 1), stored_whole)
