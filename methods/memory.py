"""The exemplar memory: holds the compressed exemplars, replays from nothing else, never exceeds its budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cimbench.datasets.image_store import ImageStore
from cimbench.datasets.stream import Phase
from cimbench.methods.budget import Budget
from cimbench.methods.compression.compressor import Compressor, costs_in_paper_units, reconstructed
from cimbench.methods.compression.exemplar import decode_exemplar, encode_exemplar, encoded_length, read_header
from cimbench.methods.herding import longest_prefix, running_sum, select
from cimbench.methods.networks.network import Network

Embed = Callable[[ImageStore], Tensor]


class BudgetExceededError(RuntimeError):
    """The memory holds more than its budget: a defect of this program, never of its input."""


@dataclass(frozen=True, kw_only=True)
class MemoryAccount:
    """What the memory holds after a phase. Bytes are real; cost and share are in the budget's unit.

    constant_maps: images of this phase's classes whose map said nothing. exhausted_classes: classes of this phase that
    had no image left for what remained of their share.
    """

    unit: str
    budget: float
    limit: float
    spent: float
    exemplars: tuple[int, ...]
    class_share: float
    bytes_held: int
    mean_box_area: float
    constant_maps: int
    exhausted_classes: int

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """One class's images with what storing each would cost, and what replay would see of it."""

    images: ImageStore
    boxes: Tensor
    costs: Tensor
    replayed: ImageStore


class ExemplarMemory:
    """Exemplars in one byte buffer: class after class in order of arrival, in each class most important first."""

    def __init__(self, budget: Budget, compressor: Compressor, selection: str, embed: Embed) -> None:
        self.budget = budget
        self.compressor = compressor
        self.selection = selection
        self.embed = embed
        self.codec = budget.parameters.codec
        self.buffer = torch.empty(0, dtype=torch.uint8)
        self.starts = torch.zeros(1, dtype=torch.int64)
        self.names: list[str] = []  # for galleries and tests; replay never reads it
        self.constant_maps = 0
        self.exhausted_classes = 0

    def __len__(self) -> int:
        return len(self.starts) - 1

    def content(self, index: int) -> Tensor:
        """The bytes of exemplar `index`."""
        return self.buffer[int(self.starts[index]) : int(self.starts[index + 1])]

    @property
    def labels(self) -> Tensor:
        """(n,) int64, read from the exemplars' own headers."""
        return torch.tensor([read_header(self.content(i)).label for i in range(len(self))], dtype=torch.int64)

    def replay(self) -> ImageStore:
        """All exemplars as they are replayed, decoded from the buffer."""
        images = [decode_exemplar(self.content(i), self.codec) for i in range(len(self))]
        return ImageStore.from_images(images, self.labels)

    def costs(self) -> Tensor:
        """(n,) float64 in the budget's unit, computed from the stored bytes alone."""
        if self.budget.parameters.unit != "paper_units":
            return self.starts.diff().double()
        headers = [read_header(self.content(i)) for i in range(len(self))]
        costs = [
            costs_in_paper_units(torch.tensor([[h.x0, h.y0, h.x1, h.y1]]), h.height, h.width, self.compressor.ratio)
            for h in headers
        ]
        return torch.cat(costs) if costs else torch.empty(0, dtype=torch.float64)

    def remember(self, phase: Phase, network: Network, random: torch.Generator) -> None:
        """Shrink the old classes to their new share, then add each new class up to it; both keep prefixes."""
        share = self.budget.share(phase.total_classes)
        self.shrink(share)
        self.constant_maps = self.exhausted_classes = 0
        for label in phase.new_labels:
            mine = torch.nonzero(phase.train.labels == label).flatten()
            candidates = self.candidates(phase.train.subset(mine), network)
            chosen = select(self.selection, self.embed(candidates.replayed), candidates.costs, share, random)
            room = share - running_sum(candidates.costs[chosen])
            self.exhausted_classes += len(chosen) == len(mine) and room >= float(candidates.costs.min())
            self._append([self._encode(candidates, i) for i in chosen], [candidates.images.names[i] for i in chosen])

    def candidates(self, images: ImageStore, network: Network) -> Candidates:
        """Boxes, costs and reconstructions of one class's images, batched by image size."""
        boxes = torch.empty(len(images), 4, dtype=torch.int64)
        costs = torch.empty(len(images), dtype=torch.float64)
        replayed: list[Tensor] = [torch.empty(0)] * len(images)
        for group in images.same_size_groups():
            pixels = images.stacked(group)
            found = self.compressor.boxes(pixels, images.labels[group], network)
            self.constant_maps += int(found.constant.sum())
            boxes[group] = found.xyxy
            costs[group], shown = self._costs_and_replay(pixels, found.xyxy)
            for index, image in zip(group.tolist(), shown, strict=True):
                replayed[index] = image
        return Candidates(
            images=images, boxes=boxes, costs=costs, replayed=ImageStore.from_images(replayed, images.labels)
        )

    def _costs_and_replay(self, pixels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        """Costs (B,) and reconstructions (B, 3, H, W) of images of one size, equal to what storing them gives."""
        height, width = pixels.shape[-2:]
        ratio, unit = self.compressor.ratio, self.budget.parameters.unit
        if unit == "coded_bytes":  # lossy: only encoding tells the size and the look
            contents = [encode_exemplar(x, b, 0, ratio, self.codec) for x, b in zip(pixels, boxes, strict=True)]
            shown = torch.stack([decode_exemplar(content, self.codec) for content in contents])
            return torch.tensor([len(content) for content in contents]).double(), shown
        if unit == "raw_bytes":
            lengths = [encoded_length(height, width, box, ratio) for box in boxes]
            return torch.tensor(lengths).double(), reconstructed(pixels, boxes, ratio)
        return costs_in_paper_units(boxes, height, width, ratio), reconstructed(pixels, boxes, ratio)

    def _encode(self, candidates: Candidates, index: int) -> Tensor:
        label = int(candidates.images.labels[index])
        image, box = candidates.images.image(index), candidates.boxes[index]
        return encode_exemplar(image, box, label, self.compressor.ratio, self.codec)

    def _append(self, contents: list[Tensor], names: list[str]) -> None:
        lengths = torch.tensor([len(content) for content in contents], dtype=torch.int64)
        self.starts = torch.cat([self.starts, self.starts[-1] + lengths.cumsum(0)])
        self.buffer = torch.cat([self.buffer, *contents])
        self.names += names

    def shrink(self, share: float) -> None:
        """Keep of every class the longest prefix of its own order whose cost fits `share` (all of it where it fits)."""
        labels, costs = self.labels, self.costs()
        keep: list[int] = []
        for label in torch.unique(labels).tolist():
            mine = torch.nonzero(labels == label).flatten()
            keep += mine[: longest_prefix(costs[mine], share)].tolist()
        contents, names = [self.content(i) for i in keep], [self.names[i] for i in keep]
        self.buffer, self.starts, self.names = self.buffer[:0], self.starts[:1], []
        self._append(contents, names)

    def audit(self, seen_classes: int) -> MemoryAccount:
        """Recount the memory from its bytes; raises BudgetExceededError over budget, in total or in any class."""
        labels, costs = self.labels, self.costs()
        headers = [read_header(self.content(i)) for i in range(len(self))]
        if sum(header.length for header in headers) != len(self.buffer):
            raise BudgetExceededError(f"memory: {len(self.buffer)} bytes held, headers account for fewer or more")
        share, limit = self.budget.share(seen_classes), self.budget.limit(seen_classes)
        for label in range(seen_classes):
            spent = running_sum(costs[labels == label])
            if spent > share:
                raise BudgetExceededError(
                    f"memory: class {label} holds {spent} {self.budget.parameters.unit}, its share is {share}"
                )
        areas = [(h.x1 - h.x0) * (h.y1 - h.y0) / (h.height * h.width) for h in headers]
        return MemoryAccount(
            unit=self.budget.parameters.unit,
            budget=self.budget.total,
            limit=limit,
            spent=running_sum(costs),
            exemplars=tuple(int((labels == label).sum()) for label in range(seen_classes)),
            class_share=share,
            bytes_held=len(self.buffer),
            mean_box_area=sum(areas) / len(areas) if areas else 0.0,
            constant_maps=self.constant_maps,
            exhausted_classes=self.exhausted_classes,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the memory holds."""
        names = torch.frombuffer(bytearray("\n".join(self.names).encode() or b"\n"), dtype=torch.uint8)
        return {"buffer": self.buffer, "starts": self.starts, "names": names}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        self.buffer, self.starts = state["buffer"], state["starts"]
        self.names = state["names"].numpy().tobytes().decode().split("\n")[: len(self)]
