"""The exemplar memory: holds the compressed exemplars, replays from nothing else, never exceeds its budget."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

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
from cimbench.methods.memory.herding import longest_prefix, ranked, running_sum, with_extras
from cimbench.methods.networks.network import Network, in_eval

_EMBEDDED_AT_ONCE = 1024


class BudgetExceededError(RuntimeError):
    """The memory holds more than its budget: a defect of this program, never of its input."""


@dataclass(frozen=True, kw_only=True)
class MemoryAccount:
    """What the memory holds after a phase. Bytes are real; cost and share are in the budget's unit.

    spent: where bytes are counted, with `shared_bytes`, which are held once for all exemplars; `bytes_held` always.
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
    shared_bytes: int
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


class Ranked(NamedTuple):
    """One class's exemplars, most important first, more than are kept. images: of a new class, in the same order."""

    exemplars: ExemplarStore
    names: list[str]
    costs: Tensor
    images: ImageStore | None = None


class ExemplarMemory:
    """Exemplars in one byte buffer: class after class in order of arrival, in each class most important first."""

    def __init__(
        self,
        budget: Budget,
        compressor: Compressor,
        selection: str,
        device: torch.device | str = "cpu",
    ) -> None:
        self.compressor = compressor
        self.selection = selection
        self.form = compressor.format(budget.parameters.stored_by)
        self.store = ExemplarStore.empty(self.form, device)
        counted = budget.parameters.unit != "paper_units"
        self.budget = replace(budget, shared=self.store.shared_bytes if counted else 0)
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

        With budget.fill "global", what the shares leave unused goes to the next exemplars of any class.
        held_out: images of the phase's classes that were not learnt from, for compressors that choose something.
        """
        share = self.budget.share(phase.total_classes)
        self.stored_whole = self.exhausted_classes = 0
        if held_out is not None:
            self.compressor.tune(held_out, network, self.form)
        classes = self._held()
        for label in phase.new_labels:
            mine = phase.train.subset(torch.nonzero(phase.train.labels == label).flatten())
            classes.append(self._ranked(mine, share, network, random))
        counts = [longest_prefix(one.costs, share) for one in classes]
        for one, count in zip(classes, counts, strict=True):
            if one.images is not None:
                room = share - running_sum(one.costs[:count])
                self.exhausted_classes += count == len(one.images) and room >= float(one.costs.min())
        if self.budget.parameters.fill == "global":
            spent = sum(running_sum(one.costs[:count]) for one, count in zip(classes, counts, strict=True))
            left = self.budget.limit(phase.total_classes) - self.budget.shared - spent
            counts = with_extras(counts, [one.costs for one in classes], left)
        self._keep(classes, counts)

    def _held(self) -> list[Ranked]:
        """The classes that are remembered, in order of arrival."""
        labels, costs = self.store.labels, self.costs(self.store)
        places = [torch.nonzero(labels == label).flatten() for label in torch.unique(labels).tolist()]
        return [Ranked(self.store.subset(at), [self.names[i] for i in at.tolist()], costs[at]) for at in places]

    def _ranked(self, images: ImageStore, share: float, network: Network, random: torch.Generator) -> Ranked:
        """A new class's exemplars: what fits its share, and what may fill what others leave."""
        candidates = self.candidates(images, network, random)
        costs = self.costs(candidates)
        budget = 2 * share if self.budget.parameters.fill == "global" else share
        order = torch.tensor(
            ranked(self.selection, self.features(candidates, network), costs, budget, random), dtype=torch.int64
        )
        chosen = images.subset(order)
        return Ranked(candidates.subset(order), list(chosen.names), costs[order], chosen)

    def _keep(self, classes: list[Ranked], counts: list[int]) -> None:
        """Hold the first `counts` exemplars of each class, and nothing else."""
        kept, overlaps = [self.store.subset(torch.empty(0, dtype=torch.int64))], [torch.empty(0)]
        for one, count in zip(classes, counts, strict=True):
            kept.append(one.exemplars.subset(torch.arange(count)))
            if one.images is not None and len(one.images.boxes):
                people = one.images.boxes[:count]
                overlaps.append(overlap(kept[-1].headers.boxes, people)[people[:, 0] >= 0])
        self.store = ExemplarStore.joined(kept)
        self.names = [name for one, count in zip(classes, counts, strict=True) for name in one.names[:count]]
        self.overlaps = torch.cat(overlaps)

    def candidates(self, images: ImageStore, network: Network, random: torch.Generator) -> ExemplarStore:
        """Every image as the exemplar it would be, in order."""
        found = compressed(images, self.compressor, network, self.form, random)
        self.stored_whole += int(found.stored_whole.sum())
        return found.exemplars

    def audit(self, seen_classes: int) -> MemoryAccount:
        """Recount the memory from its bytes; raises BudgetExceededError over budget, in total or in any class.

        Bytes that are no exemplars raise InputError.
        """
        headers, labels, costs = self.store.headers, self.store.labels, self.costs(self.store)
        share, limit = self.budget.share(seen_classes), self.budget.limit(seen_classes)
        unit, parts = self.budget.parameters.unit, [running_sum(costs[labels == k]) for k in range(seen_classes)]
        for label, part in enumerate(parts):
            if part > share and self.budget.parameters.fill is None:
                raise BudgetExceededError(f"memory: class {label} holds {part} {unit}, its share is {share}")
        if math.fsum(parts) + self.budget.shared > max(limit, self.budget.shared):
            raise BudgetExceededError(f"memory: {math.fsum(parts)} {unit} are held, {limit} are allowed")
        return MemoryAccount(
            unit=unit,
            budget=self.budget.total,
            limit=limit,
            spent=running_sum(costs) + self.budget.shared,
            exemplars=tuple(labels.bincount(minlength=seen_classes).tolist()),
            class_share=share,
            bytes_held=len(self.store.buffer) + self.store.shared_bytes,
            shared_bytes=self.store.shared_bytes,
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
