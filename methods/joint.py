"""Joint: all images of all classes seen so far, from scratch in every phase. The upper bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from torch.nn import functional

from cimbench.datasets.errors import check_at_least
from cimbench.methods.method import Method, Setup
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class JointParameters:
    """epochs: of every phase, since each starts again; None takes training.base_epochs."""

    epochs: int | None = None

    def __post_init__(self) -> None:
        if self.epochs is not None:
            check_at_least("methods.joint.epochs", self.epochs, 1)


class Joint(Method):
    """Cross-entropy on everything; needs no memory and breaks the protocol on purpose."""

    uses_memory: ClassVar[bool] = False
    sees_all_data: ClassVar[bool] = True
    note: ClassVar[str] = "sees all images of all classes so far and starts again in every phase."

    def __init__(self, setup: Setup, parameters: JointParameters) -> None:
        epochs = parameters.epochs or setup.training.base_epochs
        super().__init__(replace(setup, training=replace(setup.training, epochs=epochs, base_epochs=epochs)))
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """Start from new weights."""
        self.network = self.new_network("network", task.phase)
        self.grow_head(task)
        self.fit(task, lambda images, labels: functional.cross_entropy(self.network(images).logits, labels))
