"""Classifiers that grow with the classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from cimbench.datasets.errors import check_choice


class LinearHead(nn.Module):
    """A linear classifier; row c belongs to the c-th class to arrive."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(0, features))
        self.bias = nn.Parameter(torch.empty(0))

    @property
    def classes(self) -> int:
        """How many classes there are rows for."""
        return len(self.weight)

    def grow(self, classes: int, random: torch.Generator) -> None:
        """Add rows up to `classes`, uniform within 1 / sqrt(features); old rows keep their values."""
        features, new = self.weight.shape[1], classes - self.classes
        bound = features**-0.5
        rows = torch.empty(new, features).uniform_(-bound, bound, generator=random)
        bias = torch.empty(new).uniform_(-bound, bound, generator=random)
        self.weight = nn.Parameter(torch.cat([self.weight.detach(), rows.to(self.weight.device)]))
        self.bias = nn.Parameter(torch.cat([self.bias.detach(), bias.to(self.bias.device)]))

    def widen(self, features: int, random: torch.Generator) -> None:
        """Take `features` more features, their weights uniform within 1 / sqrt(all features); old ones keep theirs."""
        bound = (self.weight.shape[1] + features) ** -0.5
        columns = torch.empty(self.classes, features).uniform_(-bound, bound, generator=random)
        self.weight = nn.Parameter(torch.cat([self.weight.detach(), columns.to(self.weight.device)], 1))

    def match(self, state: dict[str, Tensor]) -> None:
        """Take the shapes of a saved state."""
        self.weight = nn.Parameter(self.weight.new_empty(state["weight"].shape))
        self.bias = nn.Parameter(self.bias.new_empty(state["bias"].shape))

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, classes)."""
        return functional.linear(features, self.weight, self.bias)


class CosineHead(nn.Module):
    """sigma x cosine of features and class rows, sigma learnable (Hou et al., CVPR 2019, eq. 4).

    Rows of earlier phases are fixed; those of the last are learnt. Norms are at least 1e-12.
    """

    fixed: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.register_buffer("fixed", torch.empty(0, features))
        self.rows = nn.Parameter(torch.empty(0, features))
        self.sigma = nn.Parameter(torch.ones(1))

    @property
    def classes(self) -> int:
        """How many classes there are rows for."""
        return len(self.fixed) + len(self.rows)

    @property
    def weight(self) -> Tensor:
        """(classes, features): fixed rows, then learnt ones."""
        return torch.cat([self.fixed, self.rows])

    def grow(self, classes: int, random: torch.Generator) -> None:
        """Fix all rows; add rows up to `classes`, uniform within 1 / sqrt(features)."""
        bound = self.fixed.shape[1] ** -0.5
        rows = torch.empty(classes - self.classes, self.fixed.shape[1]).uniform_(-bound, bound, generator=random)
        self.fixed = self.weight.detach()
        self.rows = nn.Parameter(rows.to(self.fixed.device))

    def imprint(self, directions: Tensor) -> None:
        """Point the learnt rows in the `directions` (rows, features), as long as the fixed ones are on average.

        Of length 1 where no row is fixed.
        """
        lengths = torch.linalg.vector_norm(self.fixed, dim=1)
        length = lengths.mean() if len(lengths) else lengths.new_ones(())
        self.rows = nn.Parameter(length * functional.normalize(directions.to(self.fixed), dim=1))

    def match(self, state: dict[str, Tensor]) -> None:
        """Take the shapes of a saved state."""
        self.fixed = self.fixed.new_empty(state["fixed"].shape)
        self.rows = nn.Parameter(self.rows.new_empty(state["rows"].shape))

    def cosines(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, classes), each in [-1, 1]."""
        return functional.linear(functional.normalize(features, dim=1), functional.normalize(self.weight, dim=1))

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, classes) logits."""
        return self.sigma * self.cosines(features)


HEADS = ("linear", "cosine")


def new_head(kind: str, features: int) -> LinearHead | CosineHead:
    """An empty head of one of HEADS."""
    check_choice("head", kind, HEADS)
    return LinearHead(features) if kind == "linear" else CosineHead(features)
