"""What a data set has, before any of its pictures is decoded: names, labels, parts, boxes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, printable

Content = Callable[[int], bytes | Tensor]


@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """N pictures in the order in which they are kept, which depends on their names alone.

    origin: where they come from, for messages. version: what tells these pictures from others of the same names, a
    checksum or sizes. names: unique per picture. labels: (N,) int64 into class_names. is_test:
    (N,) bool. boxes: (N, 4) int64 XYXY pixels of the original with exclusive ends, -1 where a picture has none; (0, 4)
    where the data set has none. content: the file of picture i, or its pixels (3, H, W) uint8; called from several
    threads.
    """

    origin: str
    class_names: tuple[str, ...]
    names: tuple[str, ...]
    labels: Tensor
    is_test: Tensor
    content: Content
    version: str = ""
    boxes: Tensor = field(default_factory=lambda: torch.empty(0, 4, dtype=torch.int64))

    def __post_init__(self) -> None:
        if len(set(self.class_names)) < len(self.class_names):
            told = f"two classes are called {_twice(self.class_names)}; give each a name of its own"
            raise InputError(f"{self.origin}: {told}")
        lengths = {len(self.names), len(self.labels), len(self.is_test), len(self.boxes) or len(self.names)}
        if len(lengths) > 1:
            raise ValueError(f"names, labels, is_test and boxes are of lengths {sorted(lengths)}; give one each")
        if len(set(self.names)) < len(self.names):
            told = f"pictures are there or listed twice: {_twice(self.names)}; leave one of each out"
            raise InputError(f"{self.origin}: {told}")
        if len(self.labels) and not 0 <= int(self.labels.min()) <= int(self.labels.max()) < len(self.class_names):
            raise ValueError(
                f"labels reach from {self.labels.min()} to {self.labels.max()}; give places in class_names"
            )
        check_classes(self.origin, self.class_names, self.labels, self.is_test)

    def __len__(self) -> int:
        return len(self.names)


def check_classes(origin: str, class_names: tuple[str, ...], labels: Tensor, is_test: Tensor) -> None:
    """Raise InputError unless every class has a training and a test picture."""
    for part, chosen in (("training", ~is_test), ("test", is_test)):
        counts = torch.bincount(labels[chosen], minlength=len(class_names)).tolist()
        absent = [printable(name) for name, count in zip(class_names, counts, strict=True) if not count]
        if absent:
            raise InputError(
                f"{origin}: no {part} pictures for {len(absent)} classes: {', '.join(absent[:10])}"
                f"{', ...' if len(absent) > 10 else ''}; add some, or leave these classes out"
            )


def _twice(names: tuple[str, ...]) -> str:
    """The first of those that are in it more than once."""
    found = [printable(name) for name, count in Counter(names).items() if count > 1]
    return ", ".join(found[:10]) + (", ..." if len(found) > 10 else "")
