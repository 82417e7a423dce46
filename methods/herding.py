"""Which images become exemplars: herding (Rebuffi et al., CVPR 2017, algorithm 4) or chance, within a cost budget."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

SELECTIONS = ("herding", "random")


def normalised_features(features: Tensor) -> Tensor:
    """(N, D) float64 rows divided by (their length + 1e-8)."""
    rows = features.double()
    unit: Tensor = rows / (torch.linalg.vector_norm(rows, dim=1, keepdim=True) + 1e-8)
    return unit


def longest_prefix(costs: Tensor, budget: float) -> int:
    """How many leading items fit: the running float64 sum of `costs` may equal the budget, not exceed it."""
    fits = np.cumsum(costs.double().numpy()) <= budget
    return int(fits.argmin()) if not fits.all() else len(costs)


def running_sum(costs: Tensor) -> float:
    """The plain running float64 sum, as `longest_prefix` counts (Python's own `sum` is compensated since 3.12)."""
    return float(np.cumsum(costs.double().numpy())[-1]) if len(costs) else 0.0


def budgeted_herding(features: Tensor, costs: Tensor, budget: float) -> list[int]:
    """Positions in herding order, stopped before the first candidate that would exceed the budget.

    features (N, D), costs (N,). Each step takes the candidate that brings the mean of the chosen closest to the mean
    of all (first one on ties). The stop is kept even where a cheaper candidate would still fit, so that what is held
    is a prefix of one order whatever the budget (C14). A class smaller than its budget is taken whole (C13).
    Raises ValueError for features that are not finite.
    """
    if not bool(torch.isfinite(features).all()):
        raise ValueError("features for herding are not finite; the network that gave them is broken")
    if len(features) == 0:
        return []
    rows = normalised_features(features)
    target, chosen_sum, spent = rows.mean(0), torch.zeros_like(rows[0]), 0.0
    free = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
    chosen: list[int] = []
    prices = costs.double().tolist()
    while len(chosen) < len(rows):
        distance = (target - (chosen_sum + rows) / (len(chosen) + 1)).norm(dim=1)
        best = int(distance.masked_fill(~free, torch.inf).argmin())
        spent += prices[best]
        if spent > budget:
            break
        chosen.append(best)
        chosen_sum += rows[best]
        free[best] = False
    return chosen


def select(selection: str, features: Tensor, costs: Tensor, budget: float, random: torch.Generator) -> list[int]:
    """Positions of the exemplars to keep, most important first, within the budget."""
    if selection == "herding":
        return budgeted_herding(features, costs, budget)
    order = torch.randperm(len(costs), generator=random)
    return [int(i) for i in order[: longest_prefix(costs[order], budget)]]
