"""Nearest mean of exemplars (Rebuffi et al., CVPR 2017, algorithm 1): a head every method with a memory has."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional


def class_means(features: Sequence[Tensor], labels: Tensor, classes: int) -> Tensor:
    """(classes, D) unit-length means of the exemplars' unit-length features.

    features: (N, D) of the exemplars, and of their mirror images where those count too. labels (N,). A class without
    exemplars has a NaN row, which is never nearest.
    """
    units = [functional.normalize(one, dim=1) for one in features]
    mean = units[0] if len(units) == 1 else sum(units[1:], start=units[0]) / len(units)
    one_hot = functional.one_hot(labels.to(mean.device), classes).to(mean.dtype)
    return functional.normalize(one_hot.T @ mean / one_hot.sum(0)[:, None], dim=1)


def nearest_mean_scores(features: Tensor, means: Tensor) -> Tensor:
    """(N, classes): minus the Euclidean distance of unit-length features to each mean; -inf for absent classes."""
    distance = torch.cdist(functional.normalize(features, dim=1), means)
    return (-distance).nan_to_num(nan=-torch.inf, neginf=-torch.inf)
