"""DER: Dynamically Expandable Representation (Yan et al., CVPR 2021), without channel masks and pruning ("w/o P")."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError, check_at_least
from cimbench.datasets.randomness import generator
from cimbench.methods.losses import auxiliary_labels
from cimbench.methods.method import Method, Setup
from cimbench.methods.networks.heads import LinearHead
from cimbench.methods.training.recipe import SecondTraining, Stage
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class DERParameters:
    """auxiliary_weight: of the new branch's own loss (paper: 1). warm_start: a new branch starts from the last one's
    weights (as the reference codes have it) or afresh.

    tuning_epochs, tuning_learning_rate, tuning_temperature: of the classifier's second training, on as many images of
    every class (paper: 30, 0.1, 5); 0 epochs leave it out.
    """

    auxiliary_weight: float = 1.0
    warm_start: bool = True
    tuning_epochs: int = 30
    tuning_learning_rate: float = 0.1
    tuning_temperature: float = 5.0

    def __post_init__(self) -> None:
        check_at_least("methods.der.auxiliary_weight", self.auxiliary_weight, 0)
        check_at_least("methods.der.tuning_epochs", self.tuning_epochs, 0)
        check_at_least("methods.der.tuning_learning_rate", self.tuning_learning_rate, 0)
        if not self.tuning_temperature > 0:
            raise InputError(f"methods.der.tuning_temperature is {self.tuning_temperature}; give more than 0")


class DER(Method):
    """One new branch a phase beside the frozen ones; then the classifier again on balanced data."""

    note: ClassVar[str] = (
        "without channel masks and pruning (w/o P): the model grows by a whole network in every phase."
    )
    second_training: ClassVar[SecondTraining | None] = SecondTraining(epochs="tuning_epochs", balanced=True)

    def __init__(self, setup: Setup, parameters: DERParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """Representation learning (section 3.2), then classifier learning (section 3.4)."""
        if task.old_classes:
            random = generator(self.setup.seed, "branch", task.phase)
            self.network.add_branch(random, warm=self.parameters.warm_start)
        self.grow_head(task)
        if not task.old_classes:
            self.fit(task, lambda images, labels: functional.cross_entropy(self.network(images).logits, labels))
            return
        self._learn_representation(task)
        counts = task.pool.all_labels.bincount(minlength=task.total_classes)
        if self.parameters.tuning_epochs and bool(counts.all()):  # a class without an image would be lost
            self._tune_classifier(task)

    def _learn_representation(self, task: Task) -> None:
        """L = L_H + lambda_a L_Ha (eq. 7): the auxiliary classifier tells new classes and "old" from the new branch."""
        features = self.network.backbone.features
        auxiliary = LinearHead(features)
        new_classes = task.total_classes - task.old_classes
        auxiliary.grow(new_classes + 1, generator(self.setup.seed, "auxiliary", task.phase))
        self.network.auxiliary = auxiliary.to(self.setup.device)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            output = self.network(images)
            apart = functional.cross_entropy(
                auxiliary(output.features[:, -features:]), auxiliary_labels(labels, task.old_classes)
            )
            return functional.cross_entropy(output.logits, labels) + self.parameters.auxiliary_weight * apart

        self.fit(task, loss)
        self.network.auxiliary = None

    def _tune_classifier(self, task: Task) -> None:
        """The classifier alone, from new weights, on as many images of every class, logits over a temperature."""
        network, given = self.network, self.parameters
        network.freeze(len(network.branches))
        network.head = LinearHead(network.features)
        network.head.grow(task.total_classes, generator(self.setup.seed, "tuned head", task.phase))
        network.head.to(self.setup.device)
        pool = task.pool.balanced(generator(self.setup.seed, "balance", task.phase))

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            return functional.cross_entropy(network(images).logits / given.tuning_temperature, labels)

        stage = Stage(name="tuning", epochs=given.tuning_epochs, learning_rate=given.tuning_learning_rate)
        self.fit(replace(task, pool=pool), loss, stage)
