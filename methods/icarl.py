"""iCaRL: Incremental Classifier and Representation Learning (Rebuffi et al., CVPR 2017).

Representation: algorithm 3. Exemplars: algorithms 4 and 5, in memory.py and herding.py. Prediction: algorithm 1, the
head "nme" that the evaluation harness adds for every method with a memory.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.methods.losses import binary_loss, distillation_loss
from cimbench.methods.method import Method, Setup
from cimbench.methods.networks.network import frozen_output
from cimbench.methods.training.task import Task

LOSSES = ("sigmoid", "softmax")


@dataclass(frozen=True, kw_only=True)
class ICaRLParameters:
    """loss: "sigmoid" (the paper's) or "softmax" (cross-entropy and distillation, as later suites have it).

    distillation_temperature, distillation_weight: of the softmax variant.
    """

    loss: str = "sigmoid"
    distillation_temperature: float = 2.0
    distillation_weight: float = 1.0

    def __post_init__(self) -> None:
        check_choice("methods.icarl.loss", self.loss, LOSSES)
        check_at_least("methods.icarl.distillation_weight", self.distillation_weight, 0)
        if not self.distillation_temperature > 0:
            raise InputError(
                f"methods.icarl.distillation_temperature is {self.distillation_temperature}; give more than 0"
            )


class ICaRL(Method):
    """Learns new classes while the network before the phase tells what to keep of the old ones."""

    def __init__(self, setup: Setup, parameters: ICaRLParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """Algorithm 3: q from the network as it was, then the network on labels and q."""
        old = copy.deepcopy(self.network).eval().requires_grad_(False) if task.old_classes else None
        self.grow_head(task)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            logits = self.network(images).logits
            old_logits = frozen_output(old, images).logits if old is not None else None
            if self.parameters.loss == "sigmoid":
                return binary_loss(logits, labels, old_logits)
            value = functional.cross_entropy(logits, labels)
            if old_logits is not None:
                kept = distillation_loss(logits, old_logits, self.parameters.distillation_temperature)
                value = value + self.parameters.distillation_weight * kept
            return value

        self.fit(task, loss)
