"""What a data set has, before any of its pictures is decoded: names, labels, parts, boxes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError

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
            twice = sorted({name for name in self.class_names if self.class_names.count(name) > 1})
            raise InputError(f"{self.origin}: two classes are called {', '.join(twice)}; give each a name of its own")
        lengths = {len(self.names), len(self.labels), len(self.is_test), len(self.boxes) or len(self.names)}
        if len(lengths) > 1:
            raise ValueError(f"names, labels, is_test and boxes are of lengths {sorted(lengths)}; give one each")
        for part, chosen in (("training", ~self.is_test), ("test", self.is_test)):
            present = set(self.labels[chosen].tolist())
            absent = [name for label, name in enumerate(self.class_names) if label not in present]
            if absent:
                raise InputError(
                    f"{self.origin}: no {part} pictures for {len(absent)} classes: {', '.join(absent[:10])}"
                    f"{', ...' if len(absent) > 10 else ''}; add some, or leave these classes out"
                )

    def __len__(self) -> int:
        return len(self.names)
