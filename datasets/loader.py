"""Batches on the device: images stay uint8 until they are augmented, and never leave it between epochs."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor


def shuffled_batches(
    images: Tensor, labels: Tensor, batch_size: int, random: torch.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """One epoch of (B, 3, S, S) uint8 and (B,) labels in a new order; the last batch is smaller.

    A last batch of one image joins the one before, since batch normalisation has no variance to learn from it.
    """
    order = torch.randperm(len(labels), generator=random, device=random.device).to(images.device)
    parts = list(torch.split(order, batch_size))
    if len(parts) > 1 and len(parts[-1]) == 1:
        parts[-2:] = [torch.cat(parts[-2:])]
    for part in parts:
        yield images[part], labels[part]
