"""What a phase is learnt from: its new images, and exemplars that are decoded batch by batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from cimbench.datasets.stream.feed import Feed, prefetched, sent
from cimbench.methods.compression.exemplars.store import ExemplarStore
from cimbench.methods.networks.network import Network
from cimbench.methods.training.artifacts import Artifacts


@dataclass(frozen=True, kw_only=True)
class Pool:
    """New images first, exemplars after them, under one numbering.

    images: the new ones. labels: (N,) of these, on the device. exemplars: replayed ones, as bytes there. artifacts:
    what new images are shown as while they are learnt, or None. members: (n,) the items that take part, None for all.
    """

    images: Feed
    labels: Tensor
    exemplars: ExemplarStore | None = None
    artifacts: Artifacts | None = None
    members: Tensor | None = None

    def __len__(self) -> int:
        return len(self.members) if self.members is not None else self._size

    @property
    def _size(self) -> int:
        return len(self.images) + (len(self.exemplars) if self.exemplars is not None else 0)

    @cached_property
    def all_labels(self) -> Tensor:
        """(n,) on the CPU: of new images and exemplars, in the pool's numbering, members or not."""
        labels = [self.labels.cpu(), *([self.exemplars.labels] if self.exemplars is not None else [])]
        return torch.cat(labels)

    def balanced(self, random: torch.Generator) -> Pool:
        """As many of every class: the count of the smallest one, chosen by chance."""
        labels = self.all_labels
        order = torch.randperm(len(labels), generator=random)
        counts = labels.bincount()
        least = int(counts[counts > 0].min())
        chosen = [order[labels[order] == label][:least] for label in torch.nonzero(counts).flatten()]
        return replace(self, members=torch.cat(chosen).sort().values)

    @property
    def device(self) -> torch.device:
        """Where batches are."""
        return self.images.device

    def refresh(self, epoch: int, network: Network) -> None:
        """Let what new images are shown as follow the network."""
        if self.artifacts is not None:
            self.artifacts.before_epoch(epoch, network)

    def without_artifacts(self) -> Pool:
        """The same images, new ones shown as they are."""
        return replace(self, artifacts=None)

    def draw_augmented(self, random: torch.Generator) -> None:
        """Draw which new images are shown as it from now on."""
        if self.artifacts is not None:
            self.artifacts.draw_augmented(random)

    def state_dict(self) -> dict[str, Tensor]:
        """What new images are shown as; nothing where there are none."""
        return self.artifacts.state_dict() if self.artifacts is not None else {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        if self.artifacts is not None:
            self.artifacts.load_state_dict(state)

    def batches(self, order: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """`batch` of one part of the order after another; some early, where new images are read from the disk."""
        if not self.images.ahead:
            return map(self.batch, order)
        return prefetched(self.batch, order, self.images.ahead, self.device)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Images (B, 3, S, S) uint8 and labels (B,) on the device, for (B,) indices on the CPU; not yet augmented.

        An exemplar is decoded from its bytes here and nowhere kept, whether it is compressed or plain. Nothing is drawn
        here, so that batches can be made early.
        """
        if self.members is not None:
            indices = self.members[indices]
        is_new = indices < len(self.images)
        new = indices[is_new]
        fresh = self.images.batch(new)
        if self.artifacts is not None:
            fresh = self.artifacts.apply(fresh, new)
        labels = sent(self.all_labels[indices], self.device)
        if self.exemplars is None or bool(is_new.all()):
            return fresh, labels
        replayed = self.exemplars.batch(indices[~is_new] - len(self.images), self.images.side)
        place = torch.cat([is_new.nonzero(), (~is_new).nonzero()]).flatten().argsort()
        images = torch.cat([fresh, replayed]).index_select(0, sent(place, self.device))
        return images.contiguous(memory_format=torch.channels_last), labels  # as the new images are
