"""The order of a training's epochs: batches of indices that follow from the seed, what they are for and the epoch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.randomness import generator


@dataclass(frozen=True, kw_only=True)
class EpochSampler:
    """Batches of every epoch of a training over `count` items, new images and exemplars under one numbering.

    The order is drawn from (seed, purpose, epoch) alone: it depends neither on what was drawn before nor on how many
    workers read, so that a training can go on at any batch.
    """

    count: int
    batch_size: int
    seed: int
    purpose: tuple[str | int, ...]

    def batches(self, epoch: int) -> list[Tensor]:
        """The epoch's batches, (B,) int64 indices each; the last is smaller, or one larger."""
        order = torch.randperm(self.count, generator=generator(self.seed, *self.purpose, epoch))
        parts = list(torch.split(order, self.batch_size))
        if len(parts) > 1 and len(parts[-1]) == 1:  # one image has no variance for batch normalisation to learn from
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts
