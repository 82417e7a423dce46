"""What a method is given to learn a phase from, and what it reports of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.training.checkpoints import Progress
from cimbench.methods.training.pool import Pool


@dataclass(frozen=True, kw_only=True)
class EpochReport:
    """What an epoch came to: 0-based numbers, mean loss over its batches. stage: the training's name."""

    phase: int
    stage: str
    epoch: int
    epochs: int
    loss: float


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """How far an epoch is: `done` of `batches` batches; the other numbers are 0-based."""

    phase: int
    stage: str
    epoch: int
    epochs: int
    done: int
    batches: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """One phase as a method learns it: `pool` has its new images and the replayed exemplars.

    progress: of an earlier attempt at this phase, and where this one's is kept. compressor: learns beside the method,
    where it does. positions: (N,) of the new images among the data set's training images. nominal_exemplars:
    uncompressed ones that an old class's share of the budget holds. on_batch: is told of every batch; what it does has
    to be quick.
    """

    phase: int
    old_classes: int
    total_classes: int
    pool: Pool
    on_epoch: Callable[[EpochReport], None]
    progress: Progress = field(default_factory=Progress)
    positions: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64))
    nominal_exemplars: int = 0
    compressor: Compressor | None = None
    on_batch: Callable[[BatchReport], None] = lambda _report: None
