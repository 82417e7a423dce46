"""A recipe: how long, how fast and how precisely a network is trained; and the stages of a phase."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from cimbench.datasets.errors import InputError, check_at_least, check_choice

SCHEDULES = ("cosine", "steps")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """base_epochs: of the first phase. epochs: of each later one.

    schedule: the rate falls to 0 by a "cosine", or is multiplied by `decay` at each of `milestones` ("steps", epochs
    from the phase's start); both after `warmup_epochs` in which it rises linearly. gradient_clip: largest norm of a
    step's gradient; None (as in the papers) leaves it as it is.

    precision: of the losses' forward passes (weights, optimiser and evaluation are float32). compile: learn through
    torch.compile. Both for GPUs; on a CPU they are seldom a gain.
    """

    base_epochs: int
    epochs: int
    batch_size: int
    learning_rate: float
    momentum: float = 0.9
    weight_decay: float = 5e-4
    gradient_clip: float | None = None
    schedule: str = "cosine"
    milestones: tuple[int, ...] = ()
    decay: float = 0.1
    warmup_epochs: int = 0
    precision: str = "float32"
    compile: bool = False

    def __post_init__(self) -> None:
        check_at_least("training.base_epochs", self.base_epochs, 1)
        check_at_least("training.epochs", self.epochs, 1)
        check_at_least("training.batch_size", self.batch_size, 2)
        check_at_least("training.learning_rate", self.learning_rate, 0)
        check_at_least("training.weight_decay", self.weight_decay, 0)
        check_at_least("training.warmup_epochs", self.warmup_epochs, 0)
        check_choice("training.schedule", self.schedule, SCHEDULES)
        check_choice("training.precision", self.precision, PRECISIONS)
        if self.gradient_clip is not None and not self.gradient_clip > 0:
            raise InputError(f"training.gradient_clip is {self.gradient_clip}; give more than 0, or null for none")
        if not 0 <= self.momentum < 1:
            raise InputError(f"training.momentum is {self.momentum}; give 0 or more, less than 1")
        if not 0 < self.decay <= 1:
            raise InputError(f"training.decay is {self.decay}; give more than 0, at most 1")
        if list(self.milestones) != sorted(set(self.milestones)) or any(epoch < 1 for epoch in self.milestones):
            raise InputError(f"training.milestones is {list(self.milestones)}; give rising epochs, from 1")
        if (self.schedule == "steps") != bool(self.milestones):
            raise InputError(
                f"training.schedule is {self.schedule} and training.milestones is {list(self.milestones)}; "
                "steps need milestones, a cosine has none ([])"
            )

    def epochs_in(self, phase: int) -> int:
        """Epochs of phase `phase`."""
        return self.base_epochs if phase == 0 else self.epochs


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A phase's first training, or a second one after it. name: in checkpoints and reports, and of the random streams
    of a second one. epochs, learning_rate, weight_decay: instead of the recipe's where given."""

    name: str
    epochs: int | None = None
    learning_rate: float | None = None
    weight_decay: float | None = None

    def changed(self, training: TrainingParameters) -> TrainingParameters:
        """The recipe with this stage's own rate and epochs; with epochs of its own, it falls by a plain cosine."""
        own: dict[str, Any] = {"learning_rate": self.learning_rate, "weight_decay": self.weight_decay}
        training = replace(training, **{name: value for name, value in own.items() if value is not None})
        if self.epochs is None:
            return training
        return replace(
            training,
            base_epochs=self.epochs,
            epochs=self.epochs,
            schedule="cosine",
            milestones=(),
            warmup_epochs=0,
        )


FIRST = "learning"  # the name of a phase's first training
LEARNING = Stage(name=FIRST)


@dataclass(frozen=True, kw_only=True)
class SecondTraining:
    """What a plan has to know of a method that trains twice in every phase after the first. epochs: the method's
    parameter that says how long; where it is None, as long as the first training. balanced: on as many images of every
    class as the rarest has.
    """

    epochs: str
    balanced: bool = False


def rate_factor(training: TrainingParameters, epoch: int, epochs: int) -> float:
    """What the learning rate is multiplied by in `epoch` (0-based) of `epochs`; milestones count after the warm-up."""
    warmup = training.warmup_epochs
    if epoch < warmup:
        return (epoch + 1) / (warmup + 1)
    if training.schedule == "steps":
        return float(training.decay ** sum(epoch - warmup >= milestone for milestone in training.milestones))
    return (1 + math.cos(math.pi * (epoch - warmup) / max(1, epochs - warmup))) / 2
