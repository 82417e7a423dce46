"""Losses that two or more methods share, averaged over the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def distillation_loss(logits: Tensor, old_logits: Tensor, temperature: float) -> Tensor:
    """Cross-entropy of softmax(old / T) with softmax(new / T), both over the old classes; no T^2 factor.

    logits (B, classes), old_logits (B, old classes). As in iCaRL's later variant, WA and FOSTER (golden: kd).
    """
    old = old_logits.shape[1]
    target = torch.softmax(old_logits / temperature, 1)
    return -(target * torch.log_softmax(logits[:, :old] / temperature, 1)).sum(1).mean()


def binary_loss(logits: Tensor, labels: Tensor, old_logits: Tensor | None) -> Tensor:
    """iCaRL's loss (algorithm 3): for each sample the sum over classes of binary cross-entropies.

    New classes are asked for the label's indicator; old classes for the old network's own sigmoid outputs.
    """
    target = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
    if old_logits is not None:
        target = torch.cat([torch.sigmoid(old_logits), target[:, old_logits.shape[1] :]], 1)
    return functional.binary_cross_entropy_with_logits(logits, target, reduction="none").sum(1).mean()
