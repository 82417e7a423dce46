"""Nearest mean of exemplars (Rebuffi et al., CVPR 2017, algorithm 1): a head every method with a memory has."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.augment import mirrored


def class_means(
    embed: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, classes: int, mirror: bool
) -> Tensor:
    """(classes, D) unit-length means of the exemplars' unit-length features, mirror images included where asked.

    images (N, 3, S, S) uint8, labels (N,). A class without exemplars has a NaN row, which is never nearest.
    """
    features = functional.normalize(embed(images), dim=1)
    if mirror:
        features = (features + functional.normalize(embed(mirrored(images)), dim=1)) / 2
    one_hot = functional.one_hot(labels.to(features.device), classes).to(features.dtype)
    means = one_hot.T @ features / one_hot.sum(0)[:, None]
    return functional.normalize(means, dim=1)


def nearest_mean_scores(features: Tensor, means: Tensor) -> Tensor:
    """(N, classes): minus the Euclidean distance of unit-length features to each mean; -inf for absent classes."""
    distance = torch.cdist(functional.normalize(features, dim=1), means)
    return (-distance).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
