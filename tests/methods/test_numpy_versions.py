"""Losses, heads and the network against slow versions in NumPy, written from the formulas; gradients by differences."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from cimbench.methods import losses
from cimbench.methods.networks.heads import CosineHead
from cimbench.methods.networks.resnet import STEMS, BasicBlock, ResNet

Array = NDArray[np.float64]

RNG = np.random.default_rng(7)
LOGITS, OLD_LOGITS, TEACHER = RNG.normal(size=(5, 6)), RNG.normal(size=(5, 4)), RNG.normal(size=(5, 6))
FEATURES, OLD_FEATURES = RNG.normal(size=(5, 7)), RNG.normal(size=(5, 7))
LABELS = np.array([0, 5, 2, 4, 3])
COUNTS = np.array([3, 3, 4, 5, 50, 60])
OLD = 4


def log_softmax(row: Array) -> Array:
    return row - row.max() - np.log(np.exp(row - row.max()).sum())


def distillation(logits: Array) -> float:
    total = 0.0
    for row, old in zip(logits, OLD_LOGITS, strict=True):
        for p, q in zip(np.exp(log_softmax(old / 2)), log_softmax(row[:OLD] / 2), strict=True):
            total -= p * q
    return total / len(logits)


def binary(logits: Array) -> float:
    total = 0.0
    for row, old, label in zip(logits, OLD_LOGITS, LABELS, strict=True):
        for c, value in enumerate(row):
            target = 1 / (1 + np.exp(-old[c])) if c < OLD else float(c == label)
            total += np.log1p(np.exp(value)) - target * value
    return total / len(logits)


def less_forget(features: Array) -> float:
    pairs = zip(features, OLD_FEATURES, strict=True)
    return float(np.mean([1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b) for a, b in pairs]))


def margin_ranking(cosines: Array) -> float:
    terms = []
    for row, label in zip(cosines, LABELS, strict=True):
        if label < OLD:
            for rival in sorted(row[OLD:], reverse=True)[:1]:
                terms.append(max(0.0, 0.5 - row[label] + rival))
    return float(np.mean(terms))


def effective_numbers(beta: float) -> Array:
    each = np.array([(1 - beta) / (1 - beta ** float(n)) for n in COUNTS])
    return each * len(each) / each.sum()


def boosting(logits: Array) -> float:
    weights = effective_numbers(0.9)
    return -float(np.mean([log_softmax(row / weights)[label] for row, label in zip(logits, LABELS, strict=True)]))


def balanced_distillation(logits: Array) -> float:
    total, weights = 0.0, effective_numbers(0.6)
    for row, teacher in zip(logits, TEACHER, strict=True):
        target = np.exp(log_softmax(teacher / 2)) * weights
        total -= float(target / target.sum() @ log_softmax(row / 2))
    return total / len(logits)


def auxiliary(logits: Array) -> float:
    """DER's: the first column stands for every old class, the next for the new ones in their order."""
    targets = [0 if label < OLD else label - OLD + 1 for label in LABELS]
    return -float(np.mean([log_softmax(row)[t] for row, t in zip(logits, targets, strict=True)]))


def tensor(array: Array) -> torch.Tensor:
    return torch.from_numpy(array)


def ours_boosting(logits: torch.Tensor) -> torch.Tensor:
    weights = losses.effective_number_weights(torch.from_numpy(COUNTS), 0.9)
    return torch.nn.functional.cross_entropy(logits / weights, torch.from_numpy(LABELS))


def ours_balanced(logits: torch.Tensor) -> torch.Tensor:
    weights = losses.effective_number_weights(torch.from_numpy(COUNTS), 0.6)
    return losses.balanced_distillation_loss(logits, tensor(TEACHER), weights, 2.0)


def ours_auxiliary(logits: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(logits, losses.auxiliary_labels(torch.from_numpy(LABELS), OLD))


PAIRS: dict[str, tuple[Callable[[torch.Tensor], torch.Tensor], Callable[[Array], float], Array]] = {
    "distillation": (lambda x: losses.distillation_loss(x, tensor(OLD_LOGITS), 2.0), distillation, LOGITS),
    "binary": (lambda x: losses.binary_loss(x, torch.from_numpy(LABELS), tensor(OLD_LOGITS)), binary, LOGITS),
    "less-forget": (lambda x: losses.less_forget_loss(x, tensor(OLD_FEATURES)), less_forget, FEATURES),
    "margin": (
        lambda x: losses.margin_ranking_loss(x, torch.from_numpy(LABELS), OLD, 1, 0.5),
        margin_ranking,
        np.tanh(LOGITS),
    ),
    "boosting": (ours_boosting, boosting, LOGITS),
    "balanced distillation": (ours_balanced, balanced_distillation, LOGITS),
    "auxiliary": (ours_auxiliary, auxiliary, LOGITS[:, :3]),
}


def by_differences(function: Callable[[Array], float], at: Array) -> Array:
    """The gradient by central differences."""
    gradient, step = np.zeros_like(at), 1e-6
    for place in np.ndindex(at.shape):
        moved = [at.copy(), at.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        gradient[place] = (function(moved[0]) - function(moved[1])) / (2 * step)
    return gradient


@pytest.mark.parametrize("name", PAIRS)
def test_losses_and_their_gradients(name: str) -> None:
    ours, slow, at = PAIRS[name]
    given = tensor(at).clone().requires_grad_()
    value = ours(given)
    value.backward()
    np.testing.assert_allclose(value.item(), slow(at), rtol=1e-12)
    assert given.grad is not None
    np.testing.assert_allclose(given.grad.numpy(), by_differences(slow, at), rtol=1e-6, atol=1e-9)


def test_weight_alignment() -> None:
    weight = RNG.normal(size=(6, 7))
    lengths = [np.sqrt(sum(value**2 for value in row)) for row in weight]
    expected = np.mean(lengths[:OLD]) / np.mean(lengths[OLD:])
    assert float(losses.alignment_factor(tensor(weight), 2)) == pytest.approx(expected, rel=1e-12)


def test_the_cosine_head_and_its_gradients() -> None:
    """Fixed and learnt rows, sigma, features; rows below the smallest length are not blown up."""
    head = CosineHead(7).double()
    head.fixed = tensor(RNG.normal(size=(2, 7)))
    head.rows = torch.nn.Parameter(tensor(RNG.normal(size=(3, 7))))
    head.sigma = torch.nn.Parameter(torch.tensor([2.5], dtype=torch.float64))
    upstream = RNG.normal(size=(5, 5))

    def slow(features: Array, rows: Array, sigma: float) -> float:
        everything = np.concatenate([head.fixed.numpy(), rows])
        total = 0.0
        for i, x in enumerate(features):
            for c, w in enumerate(everything):
                total += upstream[i, c] * sigma * (x @ w) / (np.linalg.norm(x) * np.linalg.norm(w))
        return total

    given = tensor(FEATURES).clone().requires_grad_()
    value = (head(given) * tensor(upstream)).sum()
    value.backward()
    rows = head.rows.detach().numpy()
    np.testing.assert_allclose(value.item(), slow(FEATURES, rows, 2.5), rtol=1e-12)
    assert given.grad is not None and head.rows.grad is not None and head.sigma.grad is not None
    differences = by_differences(lambda x: slow(x, rows, 2.5), FEATURES)
    np.testing.assert_allclose(given.grad.numpy(), differences, rtol=1e-6, atol=1e-9)
    differences = by_differences(lambda w: slow(FEATURES, w, 2.5), rows)
    np.testing.assert_allclose(head.rows.grad.numpy(), differences, rtol=1e-6, atol=1e-9)
    assert float(head.sigma.grad) == pytest.approx(slow(FEATURES, rows, 1.0), rel=1e-12)


def convolution(images: Array, kernel: Array, stride: int, padding: int) -> Array:
    """(B, C, H, W) and (O, C, k, k) -> (B, O, h, w), pixel by pixel."""
    padded = np.pad(images, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = kernel.shape[-1]
    high, wide = ((side - size) // stride + 1 for side in padded.shape[-2:])
    out = np.zeros((len(images), len(kernel), high, wide))
    for y in range(high):
        for x in range(wide):
            window = padded[:, :, y * stride : y * stride + size, x * stride : x * stride + size]
            out[:, :, y, x] = np.einsum("bcij,ocij->bo", window, kernel)
    return out


def normalised(images: Array, norm: torch.nn.Module) -> Array:
    """Batch normalisation by its running statistics."""
    names = ("running_mean", "running_var", "weight", "bias")
    mean, variance, weight, bias = (getattr(norm, name).detach().numpy()[:, None, None] for name in names)
    return (images - mean) / np.sqrt(variance + 1e-5) * weight + bias


def slow_block(x: Array, block: BasicBlock) -> Array:
    stride = block.conv1.stride[0]
    out = normalised(convolution(x, block.conv1.weight.detach().numpy(), stride, 1), block.bn1).clip(min=0)
    out = normalised(convolution(out, block.conv2.weight.detach().numpy(), 1, 1), block.bn2)
    if block.downsample is not None:
        convolved, norm = block.downsample
        x = normalised(convolution(x, convolved.weight.detach().numpy(), stride, 0), norm)
    return (out + x).clip(min=0) if block.activated else out + x


def slow_resnet(images: Array, network: ResNet, stem: str) -> Array:
    kernel, stride, pooled = STEMS[stem]
    x = convolution(images, network.conv1.weight.detach().numpy(), stride, kernel // 2)
    x = normalised(x, network.bn1).clip(min=0)
    if pooled:
        padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))  # after a ReLU, 0 is never above a maximum
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
        x = windows[:, :, ::2, ::2].max((-2, -1))
    for number in range(network.stages):
        for block in network.get_submodule(f"layer{number + 1}").children():
            x = slow_block(x, block)  # type: ignore[arg-type]
    return x


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("last_activation", [True, False])
def test_the_network_pixel_by_pixel(stem: str, last_activation: bool) -> None:
    network = ResNet((1, 2), 3, stem, last_activation=last_activation).double().eval()
    random = torch.Generator().manual_seed(0)
    for value in network.state_dict().values():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=random)
            value.copy_(0.3 * drawn if value.ndim > 1 else 0.2 + drawn.abs())
    images = RNG.normal(size=(2, 3, 13, 13))
    with torch.no_grad():
        found = network(tensor(images)).numpy()
    expected = slow_resnet(images, network, stem)
    assert float((expected > 0).mean()) > 0.1
    assert (expected.min() < 0) == (not last_activation)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
