"""LUCIR: Learning a Unified Classifier Incrementally via Rebalancing (Hou et al., CVPR 2019)."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from cimbench.datasets.errors import check_at_least
from cimbench.methods.losses import less_forget_loss, less_forget_weight, margin_ranking_loss
from cimbench.methods.method import Method, Setup
from cimbench.methods.networks.heads import CosineHead
from cimbench.methods.networks.network import frozen_output, in_eval
from cimbench.methods.training.task import Task


@dataclass(frozen=True, kw_only=True)
class LUCIRParameters:
    """less_forget: base weight of the less-forget constraint, times sqrt(old / new classes) (paper: 10, or 5 on small
    images). hardest, margin, margin_weight: of the margin ranking (paper: K = 2, 0.5, 1)."""

    less_forget: float = 10.0
    hardest: int = 2
    margin: float = 0.5
    margin_weight: float = 1.0

    def __post_init__(self) -> None:
        check_at_least("methods.lucir.less_forget", self.less_forget, 0)
        check_at_least("methods.lucir.hardest", self.hardest, 1)
        check_at_least("methods.lucir.margin", self.margin, 0)
        check_at_least("methods.lucir.margin_weight", self.margin_weight, 0)


class LUCIR(Method):
    """A cosine classifier whose old rows are fixed; features that keep their direction; classes kept apart."""

    head: ClassVar[str] = "cosine"
    other_names: ClassVar[tuple[str, ...]] = ("ucir",)

    def __init__(self, setup: Setup, parameters: LUCIRParameters) -> None:
        super().__init__(setup)
        self.parameters = parameters

    def learn(self, task: Task) -> None:
        """Section 3.2 to 3.4: L = L_ce + lambda L_dis + L_mr (eq. 9)."""
        old = copy.deepcopy(self.network).eval().requires_grad_(False) if task.old_classes else None
        self.grow_head(task)
        if old is not None:
            self._imprint(task)
        given, classes = self.parameters, task.total_classes - task.old_classes
        forgetting = less_forget_weight(given.less_forget, task.old_classes, classes)

        def loss(images: Tensor, labels: Tensor) -> Tensor:
            output = self.network(images)
            value = functional.cross_entropy(output.logits, labels)
            if old is None:
                return value
            value = value + forgetting * less_forget_loss(output.features, frozen_output(old, images).features)
            cosines = self._head.cosines(output.features)
            ranking = margin_ranking_loss(cosines, labels, task.old_classes, given.hardest, given.margin)
            return value + given.margin_weight * ranking

        self.fit(task, loss)

    @property
    def _head(self) -> CosineHead:
        head = self.network.head
        assert isinstance(head, CosineHead)
        return head

    def _imprint(self, task: Task) -> None:
        """Each new row starts as the mean direction of its class's features (Qi et al., CVPR 2018).

        A class without an image keeps the row that it was given.
        """
        images, labels = task.pool.images, task.pool.labels.cpu()
        directions = self._head.rows.detach().clone()
        for row, label in enumerate(range(task.old_classes, task.total_classes)):
            mine = torch.nonzero(labels == label).flatten()
            if len(mine):
                shown = images.resized_batch(mine, self.network.input_side)
                directions[row] = functional.normalize(in_eval(self.network, shown, "features"), dim=1).mean(0)
        self._head.imprint(directions)
