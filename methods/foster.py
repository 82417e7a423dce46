"""FOSTER: Feature Boosting and Compression for Class-Incremental Learning (Wang et al., ECCV 2022)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.datasets.randomness import generator
from cimbench.methods.losses import (
    alignment_factor,
    balanced_distillation_loss,
    distillation_loss,
    effective_number_weights,
)
from cimbench.methods.method import Method, Setup
from cimbench.methods.networks.heads import LinearHead
from cimbench.methods.networks.network import Network, frozen_output, in_eval
from cimbench.methods.reference_switches import FIDELITIES
from cimbench.methods.training.recipe import SecondTraining, Stage
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class FOSTERParameters:
    """beta1, beta2: of the effective numbers that balance boosting and compression; beta1 is one value, or one for each
    later phase. temperature: of both distillations. compression_epochs, compression_weight_decay: of the student; None
    takes training.epochs and training.weight_decay (the published code has no decay there).

    exemplar_counts, image_counts: what the effective numbers are computed from: "corrected", the exemplars and images
    that are there, or "reference", the published code's: as many exemplars of an old class as the budget holds
    uncompressed, and for a new class the sum of its images' places in the data set.
    activations: whether the student takes over the rational activations learnt in the phase, or as in the "reference"
    keeps the old network's. selector: the network that boxes, herding and nearest means come from, "teacher" as
    published, or "student".

    warm_start: the new branch starts from the old one's weights. teacher_alignment, student_alignment: whether new rows
    are shortened to the old ones' length, times alignment_value ^ (old / new classes).
    """

    beta1: tuple[float, ...] = (0.97,)
    beta2: float = 0.97
    temperature: float = 2.0
    compression_epochs: int | None = None
    compression_weight_decay: float | None = None
    warm_start: bool = True
    teacher_alignment: bool = False
    student_alignment: bool = False
    alignment_value: float = 1.0
    exemplar_counts: str = "corrected"
    image_counts: str = "corrected"
    selector: str = "teacher"
    activations: str = "corrected"

    def __post_init__(self) -> None:
        for name, beta in (*(("beta1", beta) for beta in self.beta1), ("beta2", self.beta2)):
            if not 0 <= beta < 1:
                raise InputError(f"methods.foster.{name} is {beta}; give 0 or more, less than 1")
        check_choice("methods.foster.exemplar_counts", self.exemplar_counts, FIDELITIES)
        check_choice("methods.foster.image_counts", self.image_counts, FIDELITIES)
        check_choice("methods.foster.activations", self.activations, FIDELITIES)
        check_choice("methods.foster.selector", self.selector, ("teacher", "student"))
        if not self.beta1:
            raise InputError("methods.foster.beta1 is empty; give one value, or one for each later phase")
        if not self.temperature > 0:
            raise InputError(f"methods.foster.temperature is {self.temperature}; give more than 0")
        if not self.alignment_value > 0:
            raise InputError(f"methods.foster.alignment_value is {self.alignment_value}; give more than 0")
        if self.compression_epochs is not None:
            check_at_least("methods.foster.compression_epochs", self.compression_epochs, 1)
        if self.compression_weight_decay is not None:
            check_at_least("methods.foster.compression_weight_decay", self.compression_weight_decay, 0)


class FOSTER(Method):
    """A second branch learns what the old one misses (the teacher); both are compressed into one (the student).

    The next phase starts from the student. Both are scored.
    """

    note: ClassVar[str] = (
        "teacher is the network of two branches, student the compressed one from which the next phase starts; "
        "boxes, herding and nme are the teacher's."
    )
    second_training: ClassVar[SecondTraining | None] = SecondTraining(epochs="compression_epochs")
    logged_head: ClassVar[str] = "teacher"

    def __init__(self, setup: Setup, parameters: FOSTERParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters
        self.student = self.network

    def learn(self, task: Task) -> None:
        """Plain learning first; later boosting (section 3.2), then compression (section 3.3)."""
        if not task.old_classes:
            self.grow_head(task)
            self.fit(task, lambda images, labels: functional.cross_entropy(self.network(images).logits, labels))
            self.student = self.network
            return
        old = copy.deepcopy(self.student).eval().requires_grad_(False)
        counts = self._counts(task)
        self._boost(task, old, counts)
        self._compress(task, old, counts)

    def _counts(self, task: Task) -> Tensor:
        """Images of each class (classes,), at least 1, since a class may hold none."""
        counts = task.pool.all_labels.bincount(minlength=task.total_classes)
        if self.parameters.exemplar_counts == "reference":
            counts[: task.old_classes] = task.nominal_exemplars
        if self.parameters.image_counts == "reference":
            sums = torch.zeros_like(counts).index_add_(0, task.pool.labels.cpu(), task.positions)
            counts[task.old_classes :] = sums[task.old_classes :]
        return counts.clamp(min=1)

    def _boost(self, task: Task, old: Network, counts: Tensor) -> None:
        """L = CE(logits / weights) + CE(new branch's own logits) + KD to the old model (eqs. 9 to 11)."""
        given, seed = self.parameters, self.setup.seed
        self.network = copy.deepcopy(self.student)
        self.network.add_branch(generator(seed, "branch", task.phase), warm=given.warm_start)
        self.grow_head(task)
        features = self.network.backbone.features
        own = LinearHead(features)
        own.grow(task.total_classes, generator(seed, "auxiliary", task.phase))
        self.network.auxiliary = own.to(self.setup.device)
        if 1 < len(given.beta1) < task.phase:
            raise InputError(
                f"methods.foster.beta1 has {len(given.beta1)} values, but there are more than as many later phases; "
                "give one value, or one for each"
            )
        beta = given.beta1[0] if len(given.beta1) == 1 else given.beta1[task.phase - 1]
        weights = effective_number_weights(counts, beta).float().to(self.setup.device)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            output = self.network(images)
            boosted = functional.cross_entropy(output.logits / weights, labels)
            alone = functional.cross_entropy(own(output.features[:, -features:]), labels)
            with torch.no_grad():  # the frozen first branch is the old model's: its features are here already
                target = old.head(output.features[:, :-features])
            return boosted + alone + distillation_loss(output.logits, target, given.temperature)

        self.fit(task, loss)
        self.network.auxiliary = None
        if given.teacher_alignment:
            self._align(self.network, task)

    def _compress(self, task: Task, old: Network, counts: Tensor) -> None:
        """Balanced distillation of the teacher into one branch that starts as the old model (eq. 12)."""
        given, teacher = self.parameters, self.network.eval()
        self.student = copy.deepcopy(old).requires_grad_(True)
        self.student.freeze(0)
        if teacher.rational_activations and given.activations == "corrected":  # what the masks have learnt goes on
            self.student.rational(0).copy_(teacher.rational(len(teacher.branches) - 1))
        self.student.head.grow(task.total_classes, generator(self.setup.seed, "student head", task.phase))
        weights = effective_number_weights(counts, given.beta2).float().to(self.setup.device)

        def loss(images: Tensor, labels: Tensor) -> Tensor:  # noqa: ARG001 - the teacher is asked, not the labels
            target = frozen_output(teacher, images).logits
            return balanced_distillation_loss(self.student(images).logits, target, weights, given.temperature)

        decay = given.compression_weight_decay
        stage = Stage(name="compression", epochs=given.compression_epochs, weight_decay=decay)
        self.fit(task, loss, stage, self.student)
        if given.student_alignment:
            self._align(self.student, task)

    @torch.no_grad()
    def _align(self, network: Network, task: Task) -> None:
        new_classes = task.total_classes - task.old_classes
        factor = alignment_factor(network.head.weight, new_classes)
        factor = factor * self.parameters.alignment_value ** (task.old_classes / new_classes)
        network.head.weight[task.old_classes :] *= factor

    @property
    def exemplar_network(self) -> Network:
        """The teacher or the student."""
        return self.network if self.parameters.selector == "teacher" else self.student

    def scores(self, images: Tensor) -> dict[str, Tensor]:
        """The teacher's and the student's."""
        return {
            "teacher": in_eval(self.network, images, "logits"),
            "student": in_eval(self.student, images, "logits"),
        }

    def state_dict(self) -> dict[str, Tensor]:
        """Both networks; one where they are the same, after the first phase."""
        if self.student is self.network:
            return super().state_dict()
        student = {f"student.{name}": value for name, value in self.student.state_dict().items()}
        return {**super().state_dict(), **student}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over both networks."""
        super().load_state_dict(state)
        own = {name.removeprefix("student."): value for name, value in state.items() if name.startswith("student.")}
        if not own:
            self.student = self.network
            return
        self.student = self.new_network("student")
        self.student.match(own)
        self.student.load_state_dict(own)
