"""The order of a training epoch: batches of indices, shuffled by the generator that is passed in."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def shuffled_batches(count: int, batch_size: int, random: torch.Generator) -> Iterator[Tensor]:
    """One epoch over `count` items in a new order, as (B,) int64 indices; the last batch is smaller.

    A last batch of one item joins the one before, since batch normalisation has no variance to learn from it.
    """
    order = torch.randperm(count, generator=random, device=random.device).cpu()
    parts = list(torch.split(order, batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    yield from parts
