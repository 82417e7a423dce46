"""Herding and its budget against the reference's own output: exact (golden README 4)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.methods.memory.herding import herding_order, longest_prefix, normalised_features, select, with_extras
from tests.conftest import DEVICES

Golden = Callable[[str], dict[str, np.ndarray]]


def budgeted_herding(features: torch.Tensor, costs: torch.Tensor, budget: float) -> list[int]:
    return select("herding", features, costs, budget, torch.Generator())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["herding_a", "herding_b", "herding_c"])
def test_selection_and_reduction(golden: Golden, name: str, device: str) -> None:
    data = golden(name)
    features, costs = torch.from_numpy(data["features"]).to(device), torch.from_numpy(data["compress_rates"])
    chosen = budgeted_herding(features, costs, float(data["budget"]))
    assert chosen == data["selected"].tolist()
    assert sum(costs[chosen].tolist()) == pytest.approx(float(data["selected_consumption"]), abs=1e-12)
    plain = budgeted_herding(features, torch.ones(len(costs)), float(data["budget"]))
    assert plain == data["plain_selected"].tolist()
    for budget, kept in zip(data["reduce_budgets"].tolist(), data["reduce_kept_count"].tolist(), strict=True):
        assert longest_prefix(costs[chosen], budget) == kept


def test_running_sums_at_the_budgets_edge(golden: Golden) -> None:
    data = golden("herding_rate_edge")
    features = torch.from_numpy(data["features"])
    for k, (rate, budget) in enumerate(zip(data["rate"].tolist(), data["budget"].tolist(), strict=True)):
        costs = torch.full((len(features),), rate, dtype=torch.float64)
        chosen = budgeted_herding(features, costs, budget)
        assert len(chosen) == data["count"][k]
        assert chosen == [i for i in data["selected"][k].tolist() if i >= 0]
        assert longest_prefix(costs, budget) == data["count"][k]


def test_a_memory_over_three_steps(golden: Golden) -> None:
    data = golden("herding_sequence")
    starts = np.concatenate([[0], data["class_counts"].cumsum()])
    features, costs = torch.from_numpy(data["features"]), torch.from_numpy(data["compress_rates"])
    memory: dict[int, list[int]] = {}
    for step, new in enumerate([(0, 1), (2,), (3,)]):
        seen = len(memory) + len(new)
        share = int(data["memory_size"]) // seen
        assert share == data[f"step{step}_per_class"]
        for label, kept in memory.items():
            memory[label] = kept[: longest_prefix(costs[torch.tensor(kept) + starts[label]], share)]
        for label in new:
            mine = slice(int(starts[label]), int(starts[label + 1]))
            memory[label] = budgeted_herding(features[mine], costs[mine], share)
        held = [(label, index) for label, kept in memory.items() for index in kept]
        offset = starts if data[f"step{step}_index"].max() >= data["class_counts"].max() else np.zeros(5, dtype=int)
        assert [label for label, _ in held] == data[f"step{step}_class"].tolist()
        assert [int(index + offset[label]) for label, index in held] == data[f"step{step}_index"].tolist()
        for row, (label, kept) in enumerate(memory.items()):
            mean = normalised_features(features[torch.tensor(kept) + starts[label]]).mean(0)
            expected = data[f"step{step}_class_means"][row]
            np.testing.assert_allclose((mean / mean.norm()).numpy(), expected, rtol=1e-6, atol=1e-6)


def test_a_class_smaller_than_its_share_is_kept_whole() -> None:
    """The reference raises here (C12, C13)."""
    features = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    assert sorted(budgeted_herding(features, torch.ones(5), 20)) == [0, 1, 2, 3, 4]
    assert longest_prefix(torch.ones(5), 20) == 5
    assert longest_prefix(torch.ones(5), 0.5) == 0
    assert longest_prefix(torch.empty(0), 1) == 0


def test_no_candidates_and_broken_features() -> None:
    assert budgeted_herding(torch.empty(0, 3), torch.empty(0), 3) == []
    with pytest.raises(InputError, match="not finite"):
        budgeted_herding(torch.tensor([[1.0, float("nan")]]), torch.ones(1), 3)


def greedy(features: np.ndarray, steps: int) -> list[int]:
    """Algorithm 4 with plain loops."""
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    target, total, chosen = unit.mean(0), np.zeros(features.shape[1]), [0] * 0
    for k in range(1, steps + 1):
        gaps = np.linalg.norm(target - (total + unit) / k, axis=1)
        gaps[chosen] = np.inf
        chosen.append(int(np.argmin(gaps)))
        total += unit[chosen[-1]]
    return chosen


@pytest.mark.parametrize("device", DEVICES)
def test_herding_is_the_greedy_of_the_paper(device: str) -> None:
    """A class of ImageNet's size, to its last image: 1300 x 512."""
    features = torch.randn(1300, 512, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    assert herding_order(features.to(device), 1300).tolist() == greedy(features.numpy(), 1300)


@pytest.mark.parametrize("spread", [1e-3, 1e-5, 1e-7])
def test_features_that_hardly_differ_are_told_apart(spread: float) -> None:
    random = torch.Generator().manual_seed(4)
    features = torch.ones(1, 64).double() + spread * torch.randn(100, 64, generator=random).double()
    assert herding_order(features, 20).tolist() == greedy(features.numpy(), 20)


def test_of_equal_candidates_the_first_is_taken() -> None:
    """Data sets hold pictures twice."""
    some = torch.randn(150, 48, generator=torch.Generator().manual_seed(3))
    features = torch.cat([some, some[:77]])
    order = herding_order(features, len(features)).tolist()
    for first in range(77):
        assert order.index(first) < order.index(150 + first)


def test_random_selection_fits_and_follows_its_generator() -> None:
    costs = torch.rand(40, generator=torch.Generator().manual_seed(0)).double()

    def picked(seed: int) -> list[int]:
        return select("random", torch.empty(40, 1), costs, 5.0, torch.Generator().manual_seed(seed))

    assert sum(costs[picked(1)].tolist()) <= 5.0
    assert picked(1) == picked(1) != picked(2)
    assert len(set(picked(1))) == len(picked(1))


def test_extras_by_hand() -> None:
    """Nine are left: the classes of one and of two exemplars take 4 and 3, the third 1; then 1 fits, of the third."""
    costs = [torch.tensor(each).double() for each in ([5, 5, 3, 6], [5, 4, 9], [2, 2, 2, 1, 1])]
    assert with_extras([2, 1, 3], costs, 9) == [3, 2, 5]
    assert with_extras([2, 1, 3], costs, 0) == [2, 1, 3]
    assert with_extras([4, 3, 5], costs, 100) == [4, 3, 5]
    assert with_extras([0, 0], [torch.tensor([0.1, 0.2]), torch.tensor([0.2])], 0.3) == [1, 0]  # 0.1 + 0.2 > 0.3
