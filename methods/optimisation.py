"""The epoch loop that every method shares: SGD with momentum, cosine schedule, non-finite losses stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from cimbench.datasets.augment import AugmentParameters, augment
from cimbench.datasets.errors import InputError, check_at_least
from cimbench.datasets.loader import shuffled_batches
from cimbench.datasets.randomness import generator


@dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """base_epochs: of the first phase. epochs: of each later one. The learning rate falls to 0 by a cosine."""

    base_epochs: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4

    def __post_init__(self) -> None:
        check_at_least("training.base_epochs", self.base_epochs, 1)
        check_at_least("training.epochs", self.epochs, 1)
        check_at_least("training.batch_size", self.batch_size, 2)
        check_at_least("training.learning_rate", self.learning_rate, 0)
        check_at_least("training.weight_decay", self.weight_decay, 0)
        if not 0 <= self.momentum < 1:
            raise InputError(f"training.momentum is {self.momentum}; give 0 or more, less than 1")

    def epochs_in(self, phase: int) -> int:
        """Epochs of phase `phase`."""
        return self.base_epochs if phase == 0 else self.epochs


class NonFiniteLossError(RuntimeError):
    """The loss became infinite or NaN: training stops, the last checkpoint stays."""


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What an epoch came to: 0-based numbers, mean loss over its batches."""

    phase: int
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One phase as a method learns it: new images and replayed exemplars together, (N, 3, S, S) uint8 on the device."""

    phase: int
    old_classes: int
    total_classes: int
    images: Tensor
    labels: Tensor
    on_epoch: Callable[[EpochReport], None]


Loss = Callable[[Tensor, Tensor], Tensor]


def train(
    module: nn.Module,
    loss: Loss,
    task: Task,
    training: TrainingParameters,
    augmentation: AugmentParameters,
    seed: int,
) -> None:
    """Optimise `module` on the task by `loss(augmented images, labels)`; raises NonFiniteLossError."""
    epochs = training.epochs_in(task.phase)
    trainable: Iterable[nn.Parameter] = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(
        trainable, training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    order = generator(seed, "order", task.phase)
    random = generator(seed, "augment", task.phase, device=task.images.device)
    module.train()
    for epoch in range(epochs):
        losses = []
        for images, labels in shuffled_batches(task.images, task.labels, training.batch_size, order):
            value = loss(augment(images, augmentation, random), labels)
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            losses.append(value.detach())
        schedule.step()
        task.on_epoch(_report(task.phase, epoch, epochs, torch.stack(losses)))
    module.eval()


def _report(phase: int, epoch: int, epochs: int, losses: Tensor) -> EpochReport:
    """The epoch's report, read from the device once; raises NonFiniteLossError at the first bad batch."""
    finite = torch.isfinite(losses)
    if not bool(finite.all()):
        batch = int((~finite).long().argmax())
        raise NonFiniteLossError(
            f"the loss is {float(losses[batch])} in phase {phase + 1}, epoch {epoch + 1}, batch {batch + 1}; "
            "lower training.learning_rate. The checkpoint of the phase before is kept"
        )
    return EpochReport(phase=phase, epoch=epoch, epochs=epochs, loss=float(losses.mean()))
