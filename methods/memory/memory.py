"""The exemplar memory: holds the compressed exemplars, replays from nothing else, never exceeds its budget."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.stream.phases import Phase
from cimbench.methods.compression.boxes.boxes import area_shares, overlap
from cimbench.methods.compression.compressor import Compressor, compressed
from cimbench.methods.compression.exemplars.exemplar import Format, costs_in_paper_units
from cimbench.methods.compression.exemplars.store import ExemplarStore
from cimbench.methods.memory.budget import Budget
from cimbench.methods.memory.herding import longest_prefix, running_sum, select
from cimbench.methods.networks.network import Network, in_eval

_EMBEDDED_AT_ONCE = 1024


class BudgetExceededError(RuntimeError):
    """The memory holds more than its budget: a defect of this program, never of its input."""


@dataclass(frozen=True, kw_only=True)
class MemoryAccount:
    """What the memory holds after a phase. Bytes are real; cost and share are in the budget's unit.

    stored_whole: images of this phase's classes without a usable box (constant activation map, or no bounding box).
    exhausted_classes: classes of this phase that had no image left for what remained of their share. chosen: what the
    compressor chose for this phase, by name. measured: numbers of its learning in this phase. box_overlap: mean
    intersection over union of this phase's exemplars' boxes with ground-truth boxes; None where the data set has none.
    """

    unit: str
    budget: float
    limit: float
    spent: float
    exemplars: tuple[int, ...]
    class_share: float
    bytes_held: int
    mean_box_area: float
    stored_whole: int
    exhausted_classes: int
    chosen: dict[str, float]
    measured: dict[str, float]
    box_overlap: float | None

    def as_json(self) -> dict[str, Any]:
        """Plain numbers; `kept_whole` is the name that records have for `stored_whole`."""
        plain = asdict(self)
        plain["kept_whole"] = plain.pop("stored_whole")
        return plain


class ExemplarMemory:
    """Exemplars in one byte buffer: class after class in order of arrival, in each class most important first."""

    def __init__(
        self,
        budget: Budget,
        compressor: Compressor,
        selection: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.budget = budget
        self.compressor = compressor
        self.selection = selection
        self.form = compressor.format(budget.parameters.stored_by)
        self.store = ExemplarStore.empty(self.form, device)
        self.names: list[str] = []  # for galleries and tests; replay never reads it
        self.stored_whole = 0
        self.exhausted_classes = 0
        self.overlaps = torch.empty(0)

    def __len__(self) -> int:
        return len(self.store)

    @property
    def augmentation_form(self) -> Format:
        """How the compressed versions of new images are stored while they are learnt."""
        return self.compressor.augmentation_compressor.format(self.budget.parameters.stored_by)

    def features(self, exemplars: ExemplarStore, network: Network) -> Tensor:
        """Features (n, F) of the exemplars as replay will show them, for herding."""
        chunks = torch.split(torch.arange(len(exemplars)), _EMBEDDED_AT_ONCE)
        return torch.cat([in_eval(network, exemplars.batch(part, network.input_side), "features") for part in chunks])

    def costs(self, store: ExemplarStore) -> Tensor:
        """(n,) float64 in the budget's unit, computed from the stored bytes alone."""
        if self.budget.parameters.unit == "paper_units":
            return costs_in_paper_units(store.headers.boxes, store.headers.sizes, store.format)
        return store.lengths.double()

    def remember(
        self, phase: Phase, network: Network, random: torch.Generator, held_out: ImageStore | None = None
    ) -> None:
        """Shrink the old classes to their new share, then add each new class up to it; both keep prefixes.

        held_out: images of the phase's classes that were not learnt from, for compressors that choose something.
        """
        share = self.budget.share(phase.total_classes)
        self.shrink(share)
        self.stored_whole = self.exhausted_classes = 0
        if held_out is not None:
            self.compressor.tune(held_out, network, self.form)
        kept, overlaps = [self.store], []
        for label in phase.new_labels:
            mine = phase.train.subset(torch.nonzero(phase.train.labels == label).flatten())
            candidates = self.candidates(mine, network, random)
            costs = self.costs(candidates)
            chosen = select(self.selection, self.features(candidates, network), costs, share, random)
            room = share - running_sum(costs[chosen])
            self.exhausted_classes += len(chosen) == len(mine) and room >= float(costs.min())
            kept.append(candidates.subset(torch.tensor(chosen, dtype=torch.int64)))
            self.names += [mine.names[i] for i in chosen]
            if len(mine.boxes):
                people = mine.boxes[torch.tensor(chosen, dtype=torch.int64)]
                overlaps.append(overlap(kept[-1].headers.boxes, people)[people[:, 0] >= 0])
        self.store = ExemplarStore.joined(kept)
        self.overlaps = torch.cat([torch.empty(0), *overlaps])

    def candidates(self, images: ImageStore, network: Network, random: torch.Generator) -> ExemplarStore:
        """Every image as the exemplar it would be, in order."""
        found = compressed(images, self.compressor, network, self.form, random)
        self.stored_whole += int(found.stored_whole.sum())
        return found.exemplars

    def shrink(self, share: float) -> None:
        """Keep of every class the longest prefix of its own order whose cost fits `share` (all of it where it fits)."""
        labels, costs = self.store.labels, self.costs(self.store)
        keep: list[int] = []
        for label in torch.unique(labels).tolist():
            mine = torch.nonzero(labels == label).flatten()
            keep += mine[: longest_prefix(costs[mine], share)].tolist()
        self.store = self.store.subset(torch.tensor(keep, dtype=torch.int64))
        self.names = [self.names[i] for i in keep]

    def audit(self, seen_classes: int) -> MemoryAccount:
        """Recount the memory from its bytes; raises BudgetExceededError over budget, in total or in any class.

        Bytes that are no exemplars raise InputError.
        """
        headers, labels, costs = self.store.headers, self.store.labels, self.costs(self.store)
        share, limit = self.budget.share(seen_classes), self.budget.limit(seen_classes)
        for label in range(seen_classes):
            spent = running_sum(costs[labels == label])
            if spent > share:
                raise BudgetExceededError(
                    f"memory: class {label} holds {spent} {self.budget.parameters.unit}, its share is {share}"
                )
        return MemoryAccount(
            unit=self.budget.parameters.unit,
            budget=self.budget.total,
            limit=limit,
            spent=running_sum(costs),
            exemplars=tuple(labels.bincount(minlength=seen_classes).tolist()),
            class_share=share,
            bytes_held=len(self.store.buffer),
            mean_box_area=float(area_shares(headers.boxes, headers.sizes).mean()) if len(self) else 0.0,
            stored_whole=self.stored_whole,
            exhausted_classes=self.exhausted_classes,
            chosen=self.compressor.report(),
            measured=self.compressor.measured(),
            box_overlap=float(self.overlaps.mean()) if len(self.overlaps) else None,
        )

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the memory holds, with its digest, and what the compressor chose."""
        names = torch.frombuffer(bytearray("\n".join(self.names).encode() or b"\n"), dtype=torch.uint8)
        digest = torch.frombuffer(bytearray.fromhex(self.store.digest), dtype=torch.uint8)
        chosen = {f"compressor.{name}": value for name, value in self.compressor.state_dict().items()}
        return {
            "buffer": self.store.buffer,
            "lengths": self.store.lengths,
            "digest": digest,
            "names": names,
            **chosen,
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state; InputError where its bytes do not have the digest they were saved with."""
        buffer = state["buffer"].to(self.store.buffer.device)
        self.store = ExemplarStore(buffer, state["lengths"], self.store.format)
        if self.store.digest != state["digest"].numpy().tobytes().hex():
            raise InputError("the saved memory does not match its digest; it was altered: delete the checkpoint")
        self.names = state["names"].numpy().tobytes().decode().split("\n")[: len(self)]
        prefix = "compressor."
        self.compressor.load_state_dict(
            {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        )
