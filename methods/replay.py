"""Replay: new classes' images and exemplars in one pool, cross-entropy."""

from __future__ import annotations

from dataclasses import dataclass

from torch.nn import functional

from cimbench.methods.method import Method, Setup
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class ReplayParameters:
    """Nothing to choose."""


class Replay(Method):
    """Cross-entropy over all classes seen, on new images and exemplars as they come."""

    def __init__(self, setup: Setup, parameters: ReplayParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """Go on from the last phase's weights."""
        self.grow_head(task)
        self.fit(task, lambda images, labels: functional.cross_entropy(self.network(images).logits, labels))
