"""Which images become exemplars: herding (Rebuffi et al., CVPR 2017, algorithm 4) or chance, within a cost budget."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from cimbench.datasets.errors import InputError

SELECTIONS = ("herding", "random")
_TIE = 1e-12


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


def herding_order(features: Tensor, steps: int) -> Tensor:
    """The first `steps` <= N positions (steps,) in herding order, on the device of the features (N, D); N > 0.

    Each step takes the candidate that brings the mean of the chosen closest to the mean of all. With c the difference
    of a candidate from that mean and s the sum of the chosen ones' differences, || s + c || is least where
    ||c||^2 + 2 c . s is: one product with the feature matrix, which is what bounds it. Of candidates within rounding of
    the best the first is taken.
    """
    rows = normalised_features(features)
    rows = rows - rows.mean(0)
    squares = rows.square().sum(1)
    tie = _TIE * squares.max()
    chosen = rows.new_zeros(rows.shape[1])
    taken = torch.zeros(len(rows), dtype=torch.bool, device=rows.device)
    order = torch.empty(steps, dtype=torch.int64, device=rows.device)
    for k in range(steps):
        distance = (squares + 2 * (rows @ chosen)).masked_fill(taken, torch.inf)
        best = (distance <= distance.min() + tie).to(torch.uint8).argmax().view(1)
        order[k : k + 1] = best
        taken.index_fill_(0, best, True)
        chosen += rows.index_select(0, best)[0]
    return order


def ranked(selection: str, features: Tensor, costs: Tensor, budget: float, random: torch.Generator) -> list[int]:
    """Positions in order of importance, by herding or by chance: no fewer than fit the budget, one more where there is.

    features (N, D), costs (N,). Raises InputError for features that are not finite, where herding reads them.
    """
    if selection != "herding":
        order: list[int] = torch.randperm(len(costs), generator=random).tolist()
        return order
    if not bool(torch.isfinite(features).all()):
        raise InputError("features for herding are not finite: the network is broken; lower training.learning_rate")
    if len(features) == 0:
        return []
    steps = min(len(features), longest_prefix(costs.sort().values, budget) + 1)  # no order has more than the cheapest
    herded: list[int] = herding_order(features, steps).cpu().tolist()
    return herded


def select(selection: str, features: Tensor, costs: Tensor, budget: float, random: torch.Generator) -> list[int]:
    """Positions of the exemplars to keep, most important first, stopped before the first that would exceed the budget.

    The stop is kept even where a cheaper candidate would still fit, so that what is held is a prefix of one order
    whatever the budget (C14). A class smaller than its budget is taken whole (C13).
    """
    order = ranked(selection, features, costs, budget, random)
    return order[: longest_prefix(costs[order], budget)]


def with_extras(counts: list[int], costs: list[Tensor], left: float) -> list[int]:
    """Counts of exemplars, more of them while the next one of any class costs no more than what is left in all.

    costs: (n,) of each class's exemplars, most important first; the first `counts` of them are kept already. Classes
    take turns, one exemplar each, those with the fewest exemplars first. Sums of fractions stay 1e-9 below it.
    """
    counts, taken = list(counts), True
    while taken:
        taken = False
        for place in sorted(range(len(counts)), key=lambda k: (counts[k], k)):
            if counts[place] == len(costs[place]):
                continue
            cost = float(costs[place][counts[place]])
            if cost <= (left if cost.is_integer() else left - 1e-9):
                counts[place] += 1
                left -= cost
                taken = True
    return counts
