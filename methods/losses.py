"""Losses that two or more methods share, averaged over the batch."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError

Loss = Callable[[Tensor, Tensor], Tensor]  # what a host minimises: of augmented images (B, 3, S, S) and labels (B,)


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


def auxiliary_labels(labels: Tensor, old_classes: int) -> Tensor:
    """0 for any old class, 1 .. for the new ones (Yan et al., CVPR 2021, eq. 6)."""
    return (labels - old_classes + 1).clamp(min=0)


def less_forget_loss(features: Tensor, old_features: Tensor) -> Tensor:
    """1 - cosine of the features before and now (Hou et al., CVPR 2019, eq. 6); (B, F) each."""
    return (1 - functional.cosine_similarity(features, old_features.detach(), dim=1, eps=1e-12)).mean()


def less_forget_weight(base: float, old_classes: int, new_classes: int) -> float:
    """lambda = base x sqrt(old / new) (eq. 7)."""
    return base * float((old_classes / new_classes) ** 0.5)


def margin_ranking_loss(cosines: Tensor, labels: Tensor, old_classes: int, hardest: int, margin: float) -> Tensor:
    """Old classes' samples: their own cosine is above the `hardest` highest new-class ones by `margin` (eq. 8).

    cosines (B, classes) without sigma. The mean over all such pairs, as the reference code has it (the paper's formula
    sums over the rivals); 0 without a sample of an old class.
    """
    old, rivals = labels < old_classes, cosines[:, old_classes:]
    highest = rivals.topk(min(hardest, rivals.shape[1]), dim=1).values
    pairs = functional.relu(margin - cosines.gather(1, labels[:, None]) + highest)
    # all rows are computed: how many are of old classes is not known without waiting for a GPU
    return torch.where(old[:, None], pairs, 0.0).sum() / (old.sum() * highest.shape[1]).clamp(min=1)


def effective_number_weights(counts: Tensor, beta: float) -> Tensor:
    """(1 - beta) / (1 - beta^n) per class, scaled to sum to the number of classes (Cui et al., CVPR 2019, eq. 4).

    Raises InputError for a class of no image, whose weight would be infinite.
    """
    if not bool((counts > 0).all()):
        raise InputError(f"effective numbers of counts {counts.tolist()}: give one image or more of every class")
    weights = (1 - beta) / (1 - beta ** counts.double())
    return weights / weights.sum() * len(counts)


def balanced_distillation_loss(logits: Tensor, teacher: Tensor, weights: Tensor, temperature: float) -> Tensor:
    """Cross-entropy with the teacher's softmax times class weights, normalised (Wang et al., ECCV 2022, eq. 12)."""
    target = torch.softmax(teacher / temperature, 1) * weights
    target = target / target.sum(1, keepdim=True)
    return -(target * torch.log_softmax(logits / temperature, 1)).sum(1).mean()


def alignment_factor(weight: Tensor, new_classes: int) -> Tensor:
    """gamma: mean length of the old rows over that of the `new_classes` last (Zhao et al., CVPR 2020, eq. 5).

    Raises InputError unless there are old rows and new ones.
    """
    if not 0 < new_classes < len(weight):
        raise InputError(f"{new_classes} of a head's {len(weight)} classes are new; alignment needs old and new ones")
    lengths = torch.linalg.vector_norm(weight, dim=1)
    factor: Tensor = lengths[:-new_classes].mean() / lengths[-new_classes:].mean()
    return factor
