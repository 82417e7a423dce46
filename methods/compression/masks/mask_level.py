"""CIM's mask level (Luo et al., CVPR 2023): how the outer loss changes with the coefficients phi of the activations.

One step, with A = the normalised class activation map through the rational activations:
    inner  theta+ = theta - step * d/dtheta L_host(A x + (1 - A) up(down(x)); theta)
    outer  CE(other batch; theta+) + mu' CE(batch through the rationals) + mu mean(A^2)
and the gradient of the outer loss for phi, through theta+. The inner gradient reaches theta through A as well, so that
second derivatives of the activations are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from cimbench.methods.compression.boxes.activation import class_activation_maps
from cimbench.methods.compression.exemplars.resampling import nearest_index
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network


class Batch(NamedTuple):
    """images (B, 3, S, S), augmented and normalised; labels (B,)."""

    images: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class MaskLevel:
    """What a step of the mask level is made of; names and values as in AdaptiveParameters."""

    ratio: float
    inner_ratio: float
    resampling: str
    activation: str
    size_weight: float
    diversity_weight: float
    two_levels: bool
    shortcuts: str
    soft_images: str
    micro_batch: int


class MaskGradient(NamedTuple):
    """gradients: (positions, 10) for each branch asked for. inner, outer, diversity, size: the unweighted terms."""

    gradients: list[Tensor]
    inner: Tensor
    outer: Tensor
    diversity: Tensor
    size: Tensor


def mask_gradient(
    network: Network, loss: Loss, inner: Batch, outer: Batch, step: float, level: MaskLevel, branches: list[int]
) -> MaskGradient:
    """d outer / d phi of the branches named, exact; the network is in evaluation mode and keeps its weights.

    With more images than level.micro_batch the step is made in parts, with the host's loss averaged over them: only one
    part's graph of second order is held at a time, at the price of one more pass for the inner gradient.
    """
    with _leaves(network, branches) as phi:
        if not level.two_levels:
            return _one_level(network, loss, inner, phi, level)
        if len(inner.images) <= level.micro_batch:
            return _whole(network, loss, inner, outer, step, level, phi)
        return _in_parts(network, loss, inner, outer, step, level, phi)


@contextmanager
def _leaves(network: Network, branches: list[int]) -> Iterator[list[Tensor]]:
    """The branches' coefficients as leaves that collect gradients, within the block."""
    phi = [network.rational(number) for number in branches]
    for coefficients in phi:
        coefficients.requires_grad_(True)
    try:
        yield phi
    finally:
        for coefficients in phi:
            coefficients.requires_grad_(False)


def soft_masks(network: Network, batch: Batch, activation: str) -> tuple[Tensor, Tensor]:
    """A (B, h, w) in [0, 1], and the logits of the same forward. The classifier's rows are constants here.

    A constant map says nothing about where to look and is 1 everywhere, as its box is the whole image.
    """
    output = network(batch.images, activation)
    maps = class_activation_maps(output.maps, network.class_rows(batch.labels).detach())
    shifted = maps - maps.amin((1, 2), keepdim=True)
    span = shifted.amax((1, 2), keepdim=True)
    constant = span == 0
    return torch.where(constant, 1.0, shifted / torch.where(constant, 1.0, span)), output.logits


def soft_compressed(images: Tensor, masks: Tensor, level: MaskLevel) -> Tensor:
    """A x + (1 - A) up(down(x)), A resized bilinearly; where boxes are compressed too, A is over what is kept of x."""
    size = images.shape[-2:]
    weights = functional.interpolate(masks[:, None], size=size, mode="bilinear", align_corners=False)
    kept = images if level.inner_ratio == 1 else small_and_back(images, level.inner_ratio, level)
    return weights * kept + (1 - weights) * small_and_back(images, level.ratio, level)


def small_and_back(images: Tensor, ratio: float, level: MaskLevel) -> Tensor:
    """up(down(x)), smaller by `ratio` in area, as exemplars are stored; "reference": by torch's nearest neighbours."""
    height, width = images.shape[-2:]
    small = [max(1, int(side / ratio**0.5)) for side in (height, width)]
    if level.soft_images == "reference":
        return functional.interpolate(functional.interpolate(images, size=small), size=(height, width))
    if level.resampling == "area_bilinear":
        shrunk = functional.interpolate(images, size=small, mode="area")
        return functional.interpolate(shrunk, size=(height, width), mode="bilinear", align_corners=False)
    rows, columns = (
        torch.from_numpy(nearest_index(side, less)[nearest_index(less, side)]).to(images.device)
        for side, less in zip((height, width), small, strict=True)
    )
    return images[:, :, rows[:, None], columns]


def _terms(network: Network, loss: Loss, batch: Batch, level: MaskLevel) -> tuple[Tensor, Tensor, Tensor]:
    """The host's loss on the softly compressed batch, the diversity term and the size term."""
    masks, logits = soft_masks(network, batch, level.activation)
    hybrid = soft_compressed(batch.images, masks, level)
    return loss(hybrid, batch.labels), functional.cross_entropy(logits, batch.labels), masks.square().mean()


def stepped_weights(network: Network) -> dict[str, Tensor]:
    """theta: the weights that the inner step moves, those of the branches that learn; no classifier."""
    return {
        name: value
        for name, value in network.named_parameters()
        if value.requires_grad and name.startswith("branches.")
    }


def _after_step(
    weights: dict[str, Tensor], gradients: tuple[Tensor, ...], step: float, level: MaskLevel
) -> dict[str, Tensor]:
    """theta+. In the reference code the shortcuts do not get theirs (C8)."""
    moved = {name: value - step * gradient for (name, value), gradient in zip(weights.items(), gradients, strict=True)}
    if level.shortcuts == "reference":
        moved = {name: value for name, value in moved.items() if ".downsample." not in name}
    return moved


def _asked(network: Network, weights: dict[str, Tensor], batch: Batch) -> Tensor:
    """Cross-entropy of a batch under other weights."""
    output = functional_call(network, weights, (batch.images,))
    return functional.cross_entropy(output.logits, batch.labels)


def _whole(
    network: Network, loss: Loss, inner: Batch, outer: Batch, step: float, level: MaskLevel, phi: list[Tensor]
) -> MaskGradient:
    """The graph of second order held at once."""
    weights = stepped_weights(network)
    value, diversity, size = _terms(network, loss, inner, level)
    gradients = torch.autograd.grad(value, list(weights.values()), create_graph=True)
    asked = _asked(network, _after_step(weights, gradients, step, level), outer)
    total = asked + level.diversity_weight * diversity + level.size_weight * size
    found = torch.autograd.grad(total, phi)
    return MaskGradient(list(found), *(term.detach() for term in (value, asked, diversity, size)))


def _one_level(network: Network, loss: Loss, inner: Batch, phi: list[Tensor], level: MaskLevel) -> MaskGradient:
    """Ablation row 8: phi goes down the host's loss on the softly compressed batch itself; there is no theta+."""
    value, diversity, size = _terms(network, loss, inner, level)
    found = torch.autograd.grad(value + level.diversity_weight * diversity + level.size_weight * size, phi)
    return MaskGradient(list(found), *(term.detach() for term in (value, value, diversity, size)))


def _parts(batch: Batch, size: int) -> list[tuple[float, Batch]]:
    """Parts of a batch of at most `size` images, with their shares of it."""
    pairs = zip(torch.split(batch.images, size), torch.split(batch.labels, size), strict=True)
    return [(len(labels) / len(batch.labels), Batch(images, labels)) for images, labels in pairs]


def _in_parts(
    network: Network, loss: Loss, inner: Batch, outer: Batch, step: float, level: MaskLevel, phi: list[Tensor]
) -> MaskGradient:
    """d CE(theta+) / d phi = -step * d/dphi (d L_inner / d theta . v) with v = d CE(theta+) / d theta+.

    v first, by plain gradients; then one part after another of the product on the right.
    """
    weights = stepped_weights(network)
    parts, terms = _parts(inner, level.micro_batch), [inner.images.new_zeros(()) for _ in range(4)]
    gradients = tuple(torch.zeros_like(value) for value in weights.values())
    for coefficients in phi:
        coefficients.requires_grad_(False)
    for share, part in parts:
        value = _terms(network, loss, part, level)[0]
        found = torch.autograd.grad(share * value, list(weights.values()))
        gradients = tuple(sum_ + one for sum_, one in zip(gradients, found, strict=True))
    moved = {n: v.detach().requires_grad_(True) for n, v in _after_step(weights, gradients, step, level).items()}
    direction = {name: torch.zeros_like(value) for name, value in moved.items()}
    for share, part in _parts(outer, level.micro_batch):
        asked = share * _asked(network, moved, part)
        terms[1] += asked.detach()
        for name, one in zip(moved, torch.autograd.grad(asked, list(moved.values())), strict=True):
            direction[name] += one
    for coefficients in phi:
        coefficients.requires_grad_(True)
    sums = [torch.zeros_like(coefficients) for coefficients in phi]
    chosen = [value for name, value in weights.items() if name in moved]
    for share, part in parts:
        value, diversity, size = _terms(network, loss, part, level)
        found = torch.autograd.grad(share * value, chosen, create_graph=True)
        along = sum((one * direction[n]).sum() for n, one in zip(moved, found, strict=True))
        rest = share * (level.diversity_weight * diversity + level.size_weight * size)
        for total, one in zip(sums, torch.autograd.grad(rest - step * along, phi), strict=True):
            total += one
        for place, term in ((0, value), (2, diversity), (3, size)):
            terms[place] += share * term.detach()
    return MaskGradient(sums, *terms)
