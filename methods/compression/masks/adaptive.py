"""Adaptive masks (CIM, Luo et al., CVPR 2023): what cim.py and its ablations share, told apart by parameters.

The map that boxes come from is adaptive: it is read through rational activations beside the ReLUs. Their coefficients
phi learn, after every epoch of the host's own training, what masks serve the next step of learning best (masks.py).
"""

from __future__ import annotations

import math
import time
import warnings
from contextlib import nullcontext
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.boxes.activation import activation_maps, boxes_above
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import ArtifactParameters, Compressor, EpochDone, check_switches
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.compression.masks.graph_memory import GraphMemory
from cimbench.methods.compression.masks.mask_level import Batch, MaskGradient, MaskLevel, mask_gradient
from cimbench.methods.errors import NonFiniteLossError
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network
from cimbench.methods.networks.rational import start_values
from cimbench.methods.reference_switches import FIDELITIES

EXPLODED = 1e3  # an outer loss that no network has: chance among a thousand classes is 6.9


@dataclass(frozen=True, kw_only=True)
class AdaptiveParameters:
    """ratio, threshold, resampling, artifacts: as for plain class activation. inner_ratio: area by which the box's own
    pixels shrink, 1 keeps them (ablation row 11).

    steps_per_class: of the mask level after each epoch, times new classes, rounded down, at least 1. batch_size: of its
    two batches. micro_batch: images whose graph of second order is held at once. inner_share: b1 over the task level's
    rate. rate, weight_decay: of Adam on phi, the rate falling by a cosine. gradient_norm: largest norm of a step's
    gradient, times sqrt(branches). size_weight, diversity_weight: mu and mu'. levels: "two", or "one" (row 8: phi goes
    down the host's loss without theta+). activations: "all", or "last_block" (row 10).

    mask_images: "whole" draws the two batches from new images as they are (published), None as the host sees them, some
    of them compressed where there is artifact augmentation.

    shortcuts (C8), old_branches (C4): whether shortcuts take the inner step, and a frozen branch's activations learn:
    "corrected", or not, as in the "reference". soft_images: small images as they are stored, or by torch's.
    """

    section: ClassVar[str] = "compressors.cim"

    ratio: float = 4.0
    inner_ratio: float = 1.0
    threshold: float = 0.6
    resampling: str = "nearest"
    artifacts: ArtifactParameters | None = None
    steps_per_class: float = 0.5
    batch_size: int = 16
    micro_batch: int = 16
    inner_share: float = 0.1
    rate: float = 0.01
    weight_decay: float = 5e-4
    gradient_norm: float = 1.0
    size_weight: float = 0.1
    diversity_weight: float = 0.2
    levels: str = "two"
    activations: str = "all"
    mask_images: str | None = None
    shortcuts: str = "corrected"
    old_branches: str = "corrected"
    soft_images: str = "corrected"

    def __post_init__(self) -> None:
        check_switches(self.section, ratio=self.ratio, resampling=self.resampling, threshold=self.threshold)
        if not 1 <= self.inner_ratio <= self.ratio:
            raise InputError(f"{self.section}.inner_ratio is {self.inner_ratio}; give 1 to {self.ratio}")
        for name in ("steps_per_class", "inner_share", "weight_decay", "size_weight", "diversity_weight"):
            check_at_least(f"{self.section}.{name}", getattr(self, name), 0)
        for name in ("rate", "gradient_norm"):
            if not getattr(self, name) > 0:
                raise InputError(f"{self.section}.{name} is {getattr(self, name)}; give more than 0")
        for name in ("batch_size", "micro_batch"):
            check_at_least(f"{self.section}.{name}", getattr(self, name), 1)
        check_choice(f"{self.section}.levels", self.levels, ("one", "two"))
        check_choice(f"{self.section}.activations", self.activations, ("all", "last_block"))
        if self.mask_images is not None:
            check_choice(f"{self.section}.mask_images", self.mask_images, ("whole",))
        for name in ("shortcuts", "old_branches", "soft_images"):
            check_choice(f"{self.section}.{name}", getattr(self, name), FIDELITIES)

    @property
    def activation(self) -> str:
        """What the network is called with."""
        return "rational" if self.activations == "all" else "rational_in_last_block"

    @property
    def level(self) -> MaskLevel:
        """A step of the mask level."""
        return MaskLevel(
            ratio=self.ratio,
            inner_ratio=self.inner_ratio,
            resampling=self.resampling,
            activation=self.activation,
            size_weight=self.size_weight,
            diversity_weight=self.diversity_weight,
            two_levels=self.levels == "two",
            shortcuts=self.shortcuts,
            soft_images=self.soft_images,
            micro_batch=self.micro_batch,
        )


class AdaptiveMasks(Compressor):
    """Class activation boxes through activations that learn; phi itself is in the network and goes on with it."""

    rational_activations = True

    def __init__(self, parameters: AdaptiveParameters) -> None:
        self.parameters = parameters
        self.artifacts = parameters.artifacts
        self.adam: torch.optim.Adam | None = None
        self.moments: dict[str, Tensor] = {}  # of an interrupted phase, until Adam is made for its network
        self.latest: dict[str, float] = {}

    @property
    def draws_whole_images(self) -> bool:
        """By mask_images."""
        return self.parameters.mask_images == "whole"

    def format(self, codec: Codec) -> Format:
        """The box's pixels, or fewer of them, and the small image."""
        mine = self.parameters
        return Format(ratio=mine.ratio, inner_ratio=mine.inner_ratio, resampling=mine.resampling, codec=codec)

    def boxes(self, images: ImageStore, network: Network, random: torch.Generator) -> Boxes:  # noqa: ARG002
        """Around adaptive activation > tau."""
        return boxes_above(self.maps(images, network), images, self.parameters.threshold)

    def maps(self, images: ImageStore, network: Network) -> Tensor:
        """Class activation maps through the rational activations."""
        found = activation_maps(images, network, self.parameters.activation)
        if not bool(torch.isfinite(found).all()):
            rate = f"{self.parameters.section}.rate"
            raise InputError(f"maps through the rational activations are not finite; lower {rate}")
        return found

    def after_epoch(self, network: Network, loss: Loss, done: EpochDone) -> None:
        """int(0.5 x new classes) steps of the mask level, the network in evaluation mode."""
        started, given = time.perf_counter(), self.parameters
        branches = self._learning(network)
        phi = [network.rational(number) for number in branches]
        if done.epoch == 0:
            self.adam, self.moments, self.latest = None, {}, {"mask_seconds": 0.0, "mask_graph_bytes": 0.0}
        adam = self._optimiser(phi)
        adam.param_groups[0]["lr"] = given.rate * (1 + math.cos(math.pi * done.epoch / done.epochs)) / 2
        was_training, worst = network.training, torch.zeros((), device=network.device)
        network.eval()
        for number in range(max(1, int(given.steps_per_class * done.new_classes))):
            inner, outer = (Batch(*done.draw(given.batch_size)) for _ in range(2))
            graph = GraphMemory()  # counted in the phase's first step, which is as large as any
            with graph if done.epoch == number == 0 else nullcontext():
                found = mask_gradient(network, loss, inner, outer, given.inner_share * done.rate, given.level, branches)
            worst = torch.maximum(worst, found.outer)
            self.latest["mask_graph_bytes"] = max(self.latest["mask_graph_bytes"], float(graph.bytes))
            for coefficients, gradient in zip(phi, found.gradients, strict=True):
                coefficients.grad = gradient
            nn.utils.clip_grad_norm_(phi, given.gradient_norm * math.sqrt(len(network.branches)))
            adam.step()
            adam.zero_grad(set_to_none=True)
        network.train(was_training)
        self._check(network, done)
        self._measure(network, found, time.perf_counter() - started)
        self._check_losses(float(worst), done)

    def _learning(self, network: Network) -> list[int]:
        """The branches whose activations learn: all, or as the reference code has it the last alone."""
        last = len(network.branches) - 1
        return [last] if self.parameters.old_branches == "reference" else list(range(last + 1))

    def _optimiser(self, phi: list[Tensor]) -> torch.optim.Adam:
        """The phase's Adam; where the phase was interrupted, with the moments of then."""
        if self.adam is None:
            self.adam = torch.optim.Adam(phi, self.parameters.rate, weight_decay=self.parameters.weight_decay)
            for number, coefficients in enumerate(phi):
                mine = {n.split(".")[1]: value for n, value in self.moments.items() if n.startswith(f"{number}.")}
                if mine:  # the count of steps stays on the CPU, as Adam has it
                    on = {name: value if name == "step" else value.to(coefficients) for name, value in mine.items()}
                    self.adam.state[coefficients] = on
            self.moments = {}
        return self.adam

    def _measure(self, network: Network, found: MaskGradient, seconds: float) -> None:
        read = network.backbone.positions_read(self.parameters.activation)
        start = start_values(len(read)).to(network.device)
        shifts = torch.stack([network.rational(number)[read] - start for number in range(len(network.branches))])
        self.latest = {
            "mask_seconds": self.latest["mask_seconds"] + seconds,
            "mask_graph_bytes": self.latest["mask_graph_bytes"],
            "mask_inner_loss": float(found.inner),
            "mask_outer_loss": float(found.outer),
            "mask_outer_loss_worst": self.latest.get("mask_outer_loss_worst", 0.0),
            "mask_size": float(found.size),
            "rational_shift": float(shifts.square().mean().sqrt()),
        }

    def _check(self, network: Network, done: EpochDone) -> None:
        """Raise NonFiniteLossError at the first activation whose coefficients are not finite."""
        for number in range(len(network.branches)):
            bad = torch.nonzero(~torch.isfinite(network.rational(number)).all(1)).flatten().tolist()
            if bad:
                raise NonFiniteLossError(
                    f"the rational activation {network.backbone.position_name(bad[0])} of branch {number + 1} is not "
                    f"finite after epoch {done.epoch + 1} of phase {done.phase + 1}",
                    done.phase,
                    f"{self.parameters.section}.rate or {self.parameters.section}.gradient_norm",
                )

    def _check_losses(self, worst: float, done: EpochDone) -> None:
        """Say when the inner step explodes: theta+ then says nothing of learning, and clipping hides it."""
        before = self.latest["mask_outer_loss_worst"]
        if worst > EXPLODED >= before:
            names = f"{self.parameters.section}.inner_share, or the host's training.learning_rate"
            warnings.warn(
                f"the mask level's outer loss is {worst:.3g} in epoch {done.epoch + 1} of phase {done.phase + 1}: its "
                f"inner step is too large, and the masks learn nothing of use from it; lower {names}",
                stacklevel=2,
            )
        self.latest["mask_outer_loss_worst"] = max(before, worst)

    def measured(self) -> dict[str, float]:
        """Of the phase: seconds of the mask level, bytes that the graph of its first step holds, its last step's losses
        and mean A^2, the largest outer loss, and how far phi has moved."""
        return dict(self.latest)

    def learning_state(self) -> dict[str, Tensor]:
        """Adam's moments, and what was measured."""
        states = self.adam.state_dict()["state"] if self.adam is not None else {}
        moments = {f"adam.{n}.{name}": value.clone() for n, state in states.items() for name, value in state.items()}
        return moments | {f"latest.{n}": torch.tensor(v, dtype=torch.float64) for n, v in self.latest.items()}

    def load_learning_state(self, state: dict[str, Tensor]) -> None:
        """Go on within a phase."""
        self.adam = None
        self.moments = {n.removeprefix("adam."): value for n, value in state.items() if n.startswith("adam.")}
        self.latest = {n.removeprefix("latest."): float(v) for n, v in state.items() if n.startswith("latest.")}
