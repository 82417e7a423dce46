"""Class activation boxes whose threshold is chosen again in every phase (CIM's ablation row 7)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import activation_maps, boxes_above
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, check_switches, with_boxes
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network, in_eval


@dataclass(frozen=True, kw_only=True)
class PhaseTauParameters:
    """thresholds: the values of tau to choose from; the paper gives no rule, grid and rule are our choice.

    ratio: eta, area by which the rest shrinks (paper: 4). resampling: nearest (as the reference) or area_bilinear.
    artifacts: of new images while a phase is learnt, or None.
    """

    ratio: float = 4.0
    thresholds: tuple[float, ...] = (0.4, 0.5, 0.6, 0.7, 0.8)
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None

    def __post_init__(self) -> None:
        if not self.thresholds:
            raise InputError("compressors.phase_tau.thresholds is empty; name at least one")
        for threshold in self.thresholds:
            check_switches("compressors.phase_tau", ratio=self.ratio, resampling=self.resampling, threshold=threshold)


class PhaseTau(Compressor):
    """Before a phase's images are stored, takes the tau at which held-out ones are still recognised best.

    They are compressed at each tau and classified by the network's own head. Of equal ones the highest is taken, which
    stores least. The held-out images are never learnt from and never stored.
    """

    needs_held_out: ClassVar[bool] = True

    def __init__(self, parameters: PhaseTauParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts
        self.threshold = sorted(parameters.thresholds)[len(parameters.thresholds) // 2]

    def format(self, codec: Codec) -> Format:
        """The box's pixels and the small image."""
        return Format(ratio=self.parameters.ratio, resampling=self.parameters.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around normalised activation > the tau chosen last."""
        return boxes_above(activation_maps(images, network), images, self.threshold)

    def tune(self, held_out: ImageStore, network: Network, form: Format) -> None:
        """Choose tau; InputError where nothing is held out."""
        if len(held_out) == 0:
            raise InputError(
                "compressor phase_tau: no held-out images; set protocol.validation_share, for instance to 0.1"
            )
        cam = activation_maps(held_out, network)
        right: dict[float, int] = {}
        for threshold in sorted(self.parameters.thresholds):
            found = boxes_above(cam, held_out, threshold)
            shown = with_boxes(held_out, found, form, network.device).exemplars
            images = shown.batch(torch.arange(len(shown)), network.input_side)
            answers = in_eval(network, images, "logits").argmax(1).cpu()
            right[threshold] = int((answers == held_out.labels).sum())
        self.threshold = max(right, key=lambda threshold: (right[threshold], threshold))

    def report(self) -> dict[str, float]:
        """The threshold chosen last."""
        return {"threshold": self.threshold}

    def state_dict(self) -> dict[str, Tensor]:
        """The threshold chosen last."""
        return {"threshold": torch.tensor(self.threshold, dtype=torch.float64)}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved threshold."""
        self.threshold = float(state["threshold"])
