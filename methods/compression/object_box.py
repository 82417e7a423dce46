"""Ground-truth boxes, where the data set has them: an oracle that no learned mask beats by much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.boxes import Boxes, whole_image_boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network


@dataclass(frozen=True, kw_only=True)
class ObjectBoxParameters:
    """ratio: eta, area by which the rest shrinks (paper: 4). resampling: nearest (as the reference) or area_bilinear.

    artifacts: of new images while a phase is learnt, or None.
    """

    ratio: float = 4.0
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        check_switches("compressors.object_box", ratio=self.ratio, resampling=self.resampling)


class ObjectBox(Compressor):
    """The box that people drew; an image without one is kept whole and counted."""

    needs_object_boxes: ClassVar[bool] = True

    def __init__(self, parameters: ObjectBoxParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts

    def format(self, codec: Codec) -> Format:
        """The box's pixels and the small image."""
        return Format(ratio=self.parameters.ratio, resampling=self.parameters.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """From the data set; InputError where it has none."""
        if len(images.boxes) != len(images):
            raise InputError("compressor object_box: this data set has no object boxes; choose another compressor")
        missing = (images.boxes < 0).any(1)
        return Boxes(torch.where(missing[:, None], whole_image_boxes(images.sizes), images.boxes), missing)
