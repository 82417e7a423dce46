"""Classifiers that grow with the classes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


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

    def forward(self, features: Tensor) -> Tensor:
        """(B, features) -> (B, classes)."""
        return functional.linear(features, self.weight, self.bias)
