"""The epoch loop that every method shares: SGD with momentum, cosine schedule, non-finite losses stopped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from cimbench.datasets.augment import AugmentParameters, augment
from cimbench.datasets.errors import InputError, check_at_least
from cimbench.datasets.loader import shuffled_batches
from cimbench.datasets.randomness import generator
from cimbench.methods.networks.network import Network
from cimbench.methods.pool import Pool


@dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """base_epochs: of the first phase. epochs: of each later one. The learning rate falls to 0 by a cosine.

    gradient_clip: largest norm of a step's gradient; None (as in the papers) leaves it as it is.
    """

    base_epochs: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_clip: float | None = None

    def __post_init__(self) -> None:
        check_at_least("training.base_epochs", self.base_epochs, 1)
        check_at_least("training.epochs", self.epochs, 1)
        check_at_least("training.batch_size", self.batch_size, 2)
        check_at_least("training.learning_rate", self.learning_rate, 0)
        check_at_least("training.weight_decay", self.weight_decay, 0)
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise InputError(f"training.gradient_clip is {self.gradient_clip}; give more than 0, or null for none")
        if not 0 <= self.momentum < 1:
            raise InputError(f"training.momentum is {self.momentum}; give 0 or more, less than 1")

    def epochs_in(self, phase: int) -> int:
        """Epochs of phase `phase`."""
        return self.base_epochs if phase == 0 else self.epochs


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A phase's training, or a second one after it. name: of its random streams. epochs, learning_rate: instead of the
    recipe's where given."""

    name: str
    epochs: int | None = None
    learning_rate: float | None = None

    def changed(self, training: TrainingParameters) -> TrainingParameters:
        """The recipe with this stage's own epochs and rate."""
        return replace(
            training,
            base_epochs=self.epochs or training.base_epochs,
            epochs=self.epochs or training.epochs,
            learning_rate=training.learning_rate if self.learning_rate is None else self.learning_rate,
        )


LEARNING = Stage(name="")


class NonFiniteLossError(RuntimeError):
    """The loss or a weight became infinite or NaN: training stops, the last checkpoint stays."""

    def __init__(self, what: str, phase: int) -> None:
        kept = f"The checkpoint after phase {phase} is kept" if phase else "No phase was complete, so nothing is lost"
        super().__init__(
            f"{what}; lower training.learning_rate or set training.gradient_clip (that is another configuration, which "
            f"starts afresh). {kept}"
        )


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What an epoch came to: 0-based numbers, mean loss over its batches. stage: of a second training, by name."""

    phase: int
    stage: str
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class Task:
    """One phase as a method learns it: `pool` has its new images and the replayed exemplars."""

    phase: int
    old_classes: int
    total_classes: int
    pool: Pool
    on_epoch: Callable[[EpochReport], None]


Loss = Callable[[Tensor, Tensor], Tensor]


def train(
    network: Network,
    loss: Loss,
    task: Task,
    training: TrainingParameters,
    augmentation: AugmentParameters,
    seed: int,
    stage: str = "",
) -> None:
    """Optimise `network` on the task by `loss(augmented images, labels)`; raises NonFiniteLossError.

    stage: names the random streams of a second training in the same phase.
    """
    if len(task.pool) < 2:
        raise InputError(f"phase {task.phase + 1} has {len(task.pool)} image to learn from; give it two or more")
    epochs = training.epochs_in(task.phase)
    trainable = [p for p in network.parameters() if p.requires_grad]
    optimiser = torch.optim.SGD(
        trainable, training.learning_rate, momentum=training.momentum, weight_decay=training.weight_decay
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs)
    purpose = (task.phase, stage) if stage else (task.phase,)
    order = generator(seed, "order", *purpose)
    random = generator(seed, "augment", *purpose, device=task.pool.device)
    network.train()
    for epoch in range(epochs):
        if not stage:  # a second training wears what the first one wore
            task.pool.before_epoch(epoch, network)
        losses = []
        for indices in shuffled_batches(len(task.pool), training.batch_size, order):
            images, labels = task.pool.batch(indices, random)
            value = loss(augment(images, augmentation, random), labels)
            optimiser.zero_grad(set_to_none=True)
            value.backward()  # type: ignore[no-untyped-call]
            if training.gradient_clip is not None:
                nn.utils.clip_grad_norm_(trainable, training.gradient_clip)
            optimiser.step()
            losses.append(value.detach())
        schedule.step()
        task.on_epoch(_report(task.phase, stage, epoch, epochs, torch.stack(losses)))
    network.eval()
    for name, value in network.state_dict().items():
        if not bool(torch.isfinite(value).all()):
            raise NonFiniteLossError(f"{name} is not finite after phase {task.phase + 1}", task.phase)


def _report(phase: int, stage: str, epoch: int, epochs: int, losses: Tensor) -> EpochReport:
    """The epoch's report, read from the device once; raises NonFiniteLossError at the first bad batch."""
    finite = torch.isfinite(losses)
    if not bool(finite.all()):
        batch = int((~finite).long().argmax())
        where = f"phase {phase + 1}, epoch {epoch + 1}, batch {batch + 1}"
        raise NonFiniteLossError(f"the loss is {float(losses[batch])} in {where}", phase)
    return EpochReport(phase=phase, stage=stage, epoch=epoch, epochs=epochs, loss=float(losses.mean()))
