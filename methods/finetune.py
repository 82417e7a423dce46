"""Finetune: each phase's new classes alone, no memory. The lower bound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch.nn import functional

from cimbench.methods.method import Method, Setup
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class FinetuneParameters:
    """Nothing to choose."""


class Finetune(Method):
    """Cross-entropy over all classes seen, on the new classes' images."""

    uses_memory: ClassVar[bool] = False

    def __init__(self, setup: Setup, parameters: FinetuneParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """Go on from the last phase's weights."""
        self.grow_head(task)
        self.fit(task, lambda images, labels: functional.cross_entropy(self.network(images).logits, labels))
