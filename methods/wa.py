"""WA: Maintaining Discrimination and Fairness in Class Incremental Learning (Zhao et al., CVPR 2020)."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError
from cimbench.methods.losses import alignment_factor, distillation_loss
from cimbench.methods.method import Method, Setup
from cimbench.methods.networks.network import frozen_output
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class WAParameters:
    """distillation_temperature: T of the distilled softmax (paper: 2)."""

    distillation_temperature: float = 2.0

    def __post_init__(self) -> None:
        if not self.distillation_temperature > 0:
            raise InputError(
                f"methods.wa.distillation_temperature is {self.distillation_temperature}; give more than 0"
            )


class WA(Method):
    """Cross-entropy and distillation, then the new classes' rows are shortened to the old ones' length."""

    def __init__(self, setup: Setup, parameters: WAParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """(1 - l) CE + l KD with l = old / all classes (eq. 2); then w_new <- gamma w_new (eq. 5)."""
        old = copy.deepcopy(self.network).eval().requires_grad_(False) if task.old_classes else None
        self.grow_head(task)
        share = task.old_classes / task.total_classes

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits = self.network(images).logits
            value = functional.cross_entropy(logits, labels)
            if old is None:
                return value
            kept = distillation_loss(
                logits, frozen_output(old, images).logits, self.parameters.distillation_temperature
            )
            return (1 - share) * value + share * kept

        self.fit(task, loss)
        if old is not None:
            with torch.no_grad():
                weight = self.network.head.weight
                weight[task.old_classes :] *= alignment_factor(weight, task.total_classes - task.old_classes)
