"""Batches for what a compressor learns after an epoch: the phase's images, in an order of their own."""

from __future__ import annotations

import torch
from torch import Tensor

from cimbench.datasets.stream.augment import AugmentParameters, augment
from cimbench.methods.training.pool import Pool


class Draws:
    """Draws batches of a pool, augmented: no image comes again before all others were drawn.

    Two batches that follow one another share none, unless the pool has fewer images than both. order: on the CPU.
    random: of the augmentation, on the pool's device. side: in pixels.
    """

    def __init__(
        self, pool: Pool, augmentation: AugmentParameters, order: torch.Generator, random: torch.Generator, side: int
    ) -> None:
        self._pool, self._augmentation, self._side = pool, augmentation, side
        self._order, self._random = order, random
        self._left = self._latest = torch.empty(0, dtype=torch.int64)

    def __call__(self, count: int) -> tuple[Tensor, Tensor]:
        """(count, 3, side, side) float images and (count,) labels; all there are where there are fewer."""
        if len(self._left) < min(count, len(self._pool)):
            again = torch.randperm(len(self._pool), generator=self._order)
            was_left, recent = torch.isin(again, self._left), torch.isin(again, self._latest)
            others = again[~was_left & ~recent]  # the latest batch and what is left come after all others
            self._left = torch.cat([self._left, others, again[~was_left & recent], again[was_left]])
        self._latest, self._left = self._left[:count], self._left[count:]
        images, labels = self._pool.batch(self._latest)
        return augment(images, self._augmentation, self._random, self._side), labels
