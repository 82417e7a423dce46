"""One step of the mask level against the golden vectors, which come from the published functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from cimbench.methods.compression.masks import mask_level
from cimbench.methods.compression.masks.mask_level import Batch, mask_gradient, soft_masks
from cimbench.methods.losses import distillation_loss
from cimbench.methods.networks.network import Network, NetworkParameters
from tests.methods.mask_cases import REFERENCE, Case
from tests.methods.rationals import filled

Golden = Callable[[str], dict[str, np.ndarray]]


def drawn(seed: int, shape: tuple[int, ...], scale: float = 1.0) -> Tensor:
    """The recipe's standard normal numbers, rounded to float32 and widened."""
    return torch.from_numpy((np.random.RandomState(seed).standard_normal(shape) * scale).astype(np.float32)).double()


def golden_case(data: dict[str, np.ndarray]) -> Case:
    """The published step as our objects: one branch, or FOSTER's two with its three terms."""
    base, classes, branches = int(data["base_seed"]), int(data["num_classes"]), int(data["num_backbones"])
    parameters = NetworkParameters(architecture="resnet18", stem="imagenet", width=64, input_side=64)
    network = Network(parameters, torch.Generator(), rational_activations=True)
    if branches == 2:
        network.add_branch(torch.Generator(), warm=True)
    network.head.grow(classes, torch.Generator())
    network.double()
    for number, branch in enumerate(network.branches):
        branch.load_state_dict(filled(base + 1000 * number, 0.02).state_dict())
    with torch.no_grad():
        network.head.weight.copy_(drawn(base + 50000, (classes, 512 * branches), (512 * branches) ** -0.5))
        network.head.bias.zero_()
    network.eval()
    images = [drawn(int(data[f"{part}_input_seed"]), tuple(data["inputs_shape"])) for part in ("inner", "outer")]
    batches = [
        Batch(x, torch.from_numpy(data[f"{part}_targets"])) for x, part in zip(images, ("inner", "outer"), strict=True)
    ]

    def plain(x: Tensor, y: Tensor) -> Tensor:
        return functional.cross_entropy(network(x).logits, y)

    def boosting(x: Tensor, y: Tensor) -> Tensor:
        known, weights = int(data["known_classes"]), torch.from_numpy(data["per_cls_weights"]).double()
        output = network(x)
        own = output.features[:, 512:] @ drawn(base + 50001, (classes, 512), 512**-0.5).T
        with torch.no_grad():
            old = network.branches[0](x).mean((2, 3)) @ drawn(base + 50002, (known, 512), 512**-0.5).T
        value = functional.cross_entropy(output.logits / weights, y) + functional.cross_entropy(own, y)
        return value + distillation_loss(output.logits, old, 2.0)

    step = float(data["lr"]) * float(data["lr_ratio"])
    return Case(network, boosting if branches == 2 else plain, *batches, step)


@pytest.mark.parametrize("shortcuts", ["reference", "corrected"])
@pytest.mark.parametrize("name", ["bilevel", "bilevel_b", "bilevel_incr"])
def test_golden_steps(golden: Golden, name: str, shortcuts: str) -> None:
    """Maps, every loss and the gradient for phi, with shortcuts that ignore the stepped weights and that take them."""
    data = golden(name)
    case, suffix = golden_case(data), "asis" if shortcuts == "reference" else "dsfast"
    level = replace(REFERENCE, shortcuts=shortcuts)
    learning = [len(case.network.branches) - 1]
    found = mask_gradient(case.network, case.loss, case.inner, case.outer, case.step, level, learning)
    soft, _ = soft_masks(case.network, case.inner, "rational")
    np.testing.assert_allclose(soft.detach()[:, None].numpy(), data["cams_f64"], rtol=0, atol=1e-9)
    hybrid = mask_level.soft_compressed(case.inner.images, soft, level).detach().numpy()
    np.testing.assert_allclose(hybrid, data["hybrid_inputs_f32"], rtol=0, atol=1e-5)
    for term, key in (
        ("inner", "inner_loss"),
        ("outer", f"outer_ce_{suffix}"),
        ("diversity", "div_loss"),
        ("size", "reg_loss"),
    ):
        key = f"{key}_f64"
        assert float(getattr(found, term)) == pytest.approx(float(data[key]), rel=1e-10), term
    expected = data[f"grad_{suffix}_f64"]
    gradient = found.gradients[0].flatten().numpy()
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-8 * np.abs(expected).max())
    halves = replace(level, micro_batch=2)
    parts = mask_gradient(case.network, case.loss, case.inner, case.outer, case.step, halves, learning)
    np.testing.assert_allclose(
        parts.gradients[0].flatten().numpy(), expected, rtol=0, atol=1e-8 * np.abs(expected).max()
    )
    for term in ("inner", "outer", "diversity", "size"):
        torch.testing.assert_close(getattr(parts, term), getattr(found, term))
