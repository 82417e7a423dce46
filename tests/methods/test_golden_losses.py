"""Losses and heads of LUCIR, DER, FOSTER and WA: golden values and gradients, and slow NumPy versions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import InputError
from cimbench.methods import losses
from cimbench.methods.networks.heads import CosineHead

Golden = Callable[[str], dict[str, np.ndarray]]


def leaf(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array).double().requires_grad_()


def near(value: Tensor, expected: np.ndarray) -> None:
    np.testing.assert_allclose(value.detach().numpy(), expected, rtol=1e-9, atol=1e-12)


def test_wa_total(golden: Golden) -> None:
    data = golden("losses")
    logits, old, targets = leaf(data["logits"]), leaf(data["old_logits"]), torch.from_numpy(data["targets"])
    share = float(data["known_classes"]) / float(data["total_classes"])
    assert share == float(data["wa_kd_lambda"])
    kept = losses.distillation_loss(logits, old, float(data["T"]))
    near((1 - share) * functional.cross_entropy(logits, targets) + share * kept, data["wa_total_f64"])


def test_weight_alignment(golden: Golden) -> None:
    data = golden("losses")
    weight, new = torch.from_numpy(data["wa_weight"]).double(), int(data["wa_increment"])
    factor = losses.alignment_factor(weight, new)
    np.testing.assert_allclose(float(factor), data["wa_gamma"], rtol=1e-6)  # the golden one is of float32 rows
    aligned = torch.cat([weight[:-new], factor * weight[-new:]])
    np.testing.assert_allclose(aligned.numpy(), data["wa_aligned_weight"], rtol=1e-5)
    rows = np.linalg.norm(weight.numpy(), axis=1)
    np.testing.assert_allclose(float(factor), rows[:-new].mean() / rows[-new:].mean(), rtol=1e-12)


def test_der(golden: Golden) -> None:
    data = golden("losses")
    targets, known = torch.from_numpy(data["targets"]), int(data["known_classes"])
    auxiliary = losses.auxiliary_labels(targets, known)
    assert auxiliary.tolist() == data["der_aux_targets"].tolist()
    assert auxiliary.tolist() == [max(t - known + 1, 0) for t in targets.tolist()]
    aux = functional.cross_entropy(leaf(data["der_aux_logits"]), auxiliary)
    near(aux, data["der_aux_loss_f64"])
    near(functional.cross_entropy(leaf(data["logits"]), targets) + aux, data["der_total_f64"])


@pytest.mark.parametrize("beta", ["beta1", "beta2"])
def test_effective_numbers(golden: Golden, beta: str) -> None:
    data = golden("losses")
    for kind, counts in (("correct", "counts_correct"), ("bug", "counts_getlen_bug")):
        weights = losses.effective_number_weights(torch.from_numpy(data[counts]), float(data[beta]))
        np.testing.assert_allclose(weights.numpy(), data[f"pcw_{beta}_{kind}"], rtol=1e-5)


def test_effective_numbers_of_nothing_are_refused() -> None:
    with pytest.raises(InputError, match=r"counts \[0, 3\]: give one image or more of every class"):
        losses.effective_number_weights(torch.tensor([0, 3]), 0.9)


@pytest.mark.parametrize("kind", ["correct", "bug"])
def test_foster(golden: Golden, kind: str) -> None:
    data = golden("losses")
    logits, targets = leaf(data["logits"]), torch.from_numpy(data["targets"])
    weights = torch.from_numpy(data[f"pcw_beta1_{kind}"]).double()
    balanced = functional.cross_entropy(logits / weights, targets)
    balanced.backward()
    near(balanced, data[f"foster_clf_{kind}_f64"])
    near(logits.grad, data[f"foster_clf_{kind}_grad_f64"])
    student, weights = leaf(data["student_logits"]), torch.from_numpy(data[f"pcw_beta2_{kind}"]).double()
    kept = losses.balanced_distillation_loss(student, torch.from_numpy(data["logits"]).double(), weights, 2.0)
    kept.backward()
    near(kept, data[f"bkd_{kind}_f64"])
    near(student.grad, data[f"bkd_{kind}_grad_student_f64"])


@pytest.mark.parametrize("batch", ["", "newonly_"])
def test_lucir(golden: Golden, batch: str) -> None:
    data = golden("losses")
    features, before = leaf(data["lucir_cur"]), leaf(data["lucir_ref"])
    head = CosineHead(features.shape[1]).double()
    head.fixed, head.rows = leaf(data["lucir_w_old"]), torch.nn.Parameter(leaf(data["lucir_w_new"]).detach())
    head.sigma = torch.nn.Parameter(torch.tensor([float(data["lucir_sigma"])], dtype=torch.float64))
    targets = torch.from_numpy(data[f"lucir_{batch}targets"])
    old = len(data["lucir_w_old"])
    forgetting = float(data["lucir_lamda"]) * losses.less_forget_loss(features, before)
    classified = functional.cross_entropy(head(features), targets)
    hardest, margin = int(data["lucir_K"]), float(data["lucir_dist"])
    ranked = losses.margin_ranking_loss(head.cosines(features), targets, old, hardest, margin)
    (forgetting + classified + float(data["lucir_lw_mr"]) * ranked).backward()
    near(forgetting, data[f"lucir_{batch}less_forget_f64"])
    near(classified, data[f"lucir_{batch}ce_f64"])
    near(ranked, data[f"lucir_{batch}margin_f64"])
    near(features.grad, data[f"lucir_{batch}grad_cur_f64"])
    near(head.fixed.grad, data[f"lucir_{batch}grad_w_old_f64"])
    near(head.rows.grad, data[f"lucir_{batch}grad_w_new_f64"])
    near(head.sigma.grad, data[f"lucir_{batch}grad_sigma_f64"])
    assert (ranked.item() == 0) == (batch == "newonly_")


def test_margin_ranking_with_plain_loops() -> None:
    rng = np.random.default_rng(0)
    cosines, labels = rng.uniform(-1, 1, (7, 6)), np.array([0, 5, 2, 1, 4, 3, 0])
    terms = [
        max(0.0, 0.5 - cosines[i, labels[i]] + rival)
        for i in range(7) if labels[i] < 4
        for rival in sorted(cosines[i, 4:])[::-1][:2]
    ]  # fmt: skip
    found = losses.margin_ranking_loss(torch.from_numpy(cosines), torch.from_numpy(labels), 4, 2, 0.5)
    np.testing.assert_allclose(float(found), np.mean(terms), rtol=1e-12)


def test_less_forget_weights(golden: Golden) -> None:
    for base, old, new, expected in golden("losses")["lamda_schedule"].tolist():
        assert losses.less_forget_weight(base, int(old), int(new)) == pytest.approx(expected, rel=1e-12)


def test_cosine_head(golden: Golden) -> None:
    data = golden("cosine_head")
    x = leaf(data["x"])
    head = CosineHead(x.shape[1]).double()
    head.fixed, head.rows = leaf(data["w_old"]), torch.nn.Parameter(leaf(data["w_new"]).detach())
    head.sigma = torch.nn.Parameter(torch.from_numpy(data["sigma"]).double())
    logits = head(x)
    near(logits, data["split_f64"])
    (logits * torch.from_numpy(data["upstream"]).double()).sum().backward()
    near(head.rows.grad, data["split_grad_w_new_f64"])
    near(head.fixed.grad, data["split_grad_w_old_f64"])
    near(head.sigma.grad, data["split_grad_sigma_f64"])
    np.testing.assert_allclose(x.grad[:-2].numpy(), data["split_grad_x_f64"][:-2], rtol=1e-9, atol=1e-12)
    near(head.cosines(x)[:, : len(data["w_old"])], data["cosine_nosigma_f64"])
