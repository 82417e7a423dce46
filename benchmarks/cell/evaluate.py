"""After each phase: every head's answers on the test images of all classes seen, counted per group of classes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.stream.augment import mirrored
from cimbench.methods.memory.memory import ExemplarMemory
from cimbench.methods.memory.nearest_mean import class_means, nearest_mean_scores
from cimbench.methods.method import Method

AT_ONCE = 1024  # images decoded at a time


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """Per head: right answers and right among five, per group; and the (classes, classes) confusion, rows true."""

    correct: dict[str, list[int]]
    correct_top5: dict[str, list[int]]
    confusion: dict[str, Tensor]


def evaluate(
    method: Method, memory: ExemplarMemory, test: ImageStore, group_sizes: list[int], mirrored_means: bool
) -> Evaluation:
    """Score `test` (labels by arrival; `group_sizes` classes arrived in each phase so far) with every head.

    The head "nme" (nearest mean of exemplars) is added where the memory holds exemplars.
    """
    side = method.setup.network.input_side
    means = exemplar_means(method, memory, sum(group_sizes), mirrored_means) if len(memory) else None

    def scores_of(chunk: Tensor) -> dict[str, Tensor]:
        images = test.subset(chunk).resized(side)
        found = {head: value.cpu() for head, value in method.scores(images).items()}
        if means is not None:
            found["nme"] = nearest_mean_scores(method.embed(images), means).cpu()
        return found

    parts = [scores_of(chunk) for chunk in torch.split(torch.arange(len(test)), AT_ONCE)]
    scores = {head: torch.cat([part[head] for part in parts]) for head in parts[0]}
    groups = torch.repeat_interleave(torch.arange(len(group_sizes)), torch.tensor(group_sizes))[test.labels]
    results = {head: _counted(value, test.labels, groups, len(group_sizes)) for head, value in scores.items()}
    return Evaluation(
        correct={head: result[0] for head, result in results.items()},
        correct_top5={head: result[1] for head, result in results.items()},
        confusion={head: result[2] for head, result in results.items()},
    )


def exemplar_means(method: Method, memory: ExemplarMemory, classes: int, mirror: bool) -> Tensor:
    """`class_means` of the memory's exemplars, decoded a chunk at a time."""
    side = method.setup.network.input_side
    chunks = torch.split(torch.arange(len(memory)), AT_ONCE)

    def features(change: Callable[[Tensor], Tensor]) -> Tensor:
        return torch.cat([method.embed(change(memory.store.batch(chunk, side))) for chunk in chunks])

    shown = [features(lambda images: images), *([features(mirrored)] if mirror else [])]
    return class_means(shown, memory.store.labels, classes)


def _counted(scores: Tensor, labels: Tensor, groups: Tensor, group_count: int) -> tuple[list[int], list[int], Tensor]:
    classes = scores.shape[1]
    best = scores.topk(min(5, classes), dim=1).indices
    right = best[:, 0] == labels
    among = (best == labels[:, None]).any(1)
    confusion = torch.bincount(labels * classes + best[:, 0], minlength=classes**2).view(classes, classes)
    return (
        groups[right].bincount(minlength=group_count).tolist(),
        groups[among].bincount(minlength=group_count).tolist(),
        confusion,
    )
