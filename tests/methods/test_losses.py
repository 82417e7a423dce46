"""Shared losses against the golden vectors and slow NumPy versions."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional

from cimbench.datasets.errors import InputError
from cimbench.methods.losses import (
    alignment_factor,
    auxiliary_labels,
    binary_loss,
    distillation_loss,
    margin_ranking_loss,
)

Golden = Callable[[str], dict[str, np.ndarray]]


def test_distillation_value_and_gradient(golden: Golden) -> None:
    data = golden("losses")
    logits = torch.from_numpy(data["logits"]).double().requires_grad_()
    old = torch.from_numpy(data["old_logits"]).double()
    loss = distillation_loss(logits, old, float(data["T"]))
    loss.backward()
    np.testing.assert_allclose(loss.item(), data["kd_f64"], rtol=1e-10)
    np.testing.assert_allclose(logits.grad.numpy(), data["kd_grad_logits_f64"], rtol=1e-10, atol=1e-14)


def test_icarl_softmax_total(golden: Golden) -> None:
    data = golden("losses")
    logits, old = torch.from_numpy(data["logits"]).double(), torch.from_numpy(data["old_logits"]).double()
    targets = torch.from_numpy(data["targets"])
    total = functional.cross_entropy(logits, targets) + distillation_loss(logits, old, 2.0)
    np.testing.assert_allclose(total.item(), data["icarl_total_f64"], rtol=1e-10)


def test_binary_loss_is_algorithm_3_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    logits, old, labels = rng.normal(size=(6, 5)), rng.normal(size=(6, 3)), np.array([0, 1, 2, 3, 4, 3])

    def sigmoid(x: float) -> float:
        return 1 / (1 + np.exp(-x))

    def expected(known: int) -> float:
        total = 0.0
        for i in range(6):
            for y in range(5):
                target = sigmoid(old[i, y]) if y < known else float(labels[i] == y)
                g = sigmoid(logits[i, y])
                total -= target * np.log(g) + (1 - target) * np.log(1 - g)
        return total / 6

    given = torch.from_numpy(logits), torch.from_numpy(labels)
    np.testing.assert_allclose(binary_loss(*given, torch.from_numpy(old)).item(), expected(3), rtol=1e-12)
    np.testing.assert_allclose(binary_loss(*given, None).item(), expected(0), rtol=1e-12)


def test_alignment_needs_old_and_new_classes() -> None:
    for new in (0, 4):
        with pytest.raises(InputError, match=f"{new} of a head's 4 classes are new; alignment needs old and new ones"):
            alignment_factor(torch.ones(4, 3), new)


def test_a_batch_without_exemplars_has_losses() -> None:
    """No old class's image: the margin term is 0 and has a gradient, the others are finite."""
    cosines = torch.rand(3, 5, requires_grad=True)
    labels = torch.tensor([3, 4, 4])
    value = margin_ranking_loss(cosines, labels, 3, 2, 0.5)
    value.backward()
    assert value.item() == 0
    assert torch.equal(cosines.grad, torch.zeros(3, 5))
    assert auxiliary_labels(labels, 3).tolist() == [1, 2, 2]
    assert bool(torch.isfinite(binary_loss(cosines, labels, torch.rand(3, 3))))
