"""The data as a learner meets them: one phase of new classes after another, labels numbered by arrival."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.stream.split import Split


@dataclass(frozen=True, kw_only=True)
class Phase:
    """One phase: `train` holds its new classes only, labelled old_classes .. total_classes - 1.

    positions: (N,) of these images among all training images of the data set, which are numbered from 0.
    """

    index: int
    old_classes: int
    total_classes: int
    train: ImageStore
    positions: Tensor

    @property
    def new_labels(self) -> range:
        """The labels that arrive in this phase."""
        return range(self.old_classes, self.total_classes)


class ClassStream:
    """The phases of a split over a store. Labels are positions in the class order (0 = first class to arrive)."""

    def __init__(self, store: ImageStore, split: Split) -> None:
        order = split.order
        arrival = torch.empty(len(store.class_names), dtype=torch.int64)
        arrival[torch.tensor(order)] = torch.arange(len(order))
        names = tuple(store.class_names[label] for label in order)
        self.store = replace(store, labels=arrival[store.labels], class_names=names)
        self.split = split

    def __len__(self) -> int:
        return len(self.split.phases)

    def __iter__(self) -> Iterator[Phase]:
        return (self.phase(index) for index in range(len(self)))

    @property
    def group_sizes(self) -> list[int]:
        """Classes that arrive in each phase."""
        return [len(phase.classes) for phase in self.split.phases]

    def phase(self, index: int) -> Phase:
        """Phase `index` (0-based)."""
        old = sum(self.group_sizes[:index])
        part = self.split.phases[index]
        numbers = (~self.store.is_test).cumsum(0) - 1
        return Phase(
            index=index,
            old_classes=old,
            total_classes=old + len(part.classes),
            train=self.store.subset(torch.tensor(part.train)),
            positions=numbers[torch.tensor(part.train)],
        )

    def validation(self, index: int) -> ImageStore:
        """The images of phase `index`'s new classes that are held out of training."""
        return self.store.subset(torch.tensor(self.split.phases[index].validation, dtype=torch.int64))

    def train_so_far(self, index: int) -> ImageStore:
        """Training images of all classes seen up to and with phase `index`: for the upper bound only."""
        return self.store.subset(torch.tensor([i for phase in self.split.phases[: index + 1] for i in phase.train]))

    def test_so_far(self, index: int) -> ImageStore:
        """Test images of all classes seen up to and with phase `index`."""
        return self.store.subset(torch.tensor([i for phase in self.split.phases[: index + 1] for i in phase.test]))
