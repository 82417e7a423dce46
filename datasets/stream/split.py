"""Class order and protocol -> phases: which image is learnt, held out and tested when, written as a manifest."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cimbench.datasets.arrays import read_json, write_json
from cimbench.datasets.errors import InputError, check_at_least, check_choice, check_seed
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.randomness import generator

PROTOCOLS = ("lfs", "lfh")


@dataclass(frozen=True, kw_only=True)
class ProtocolParameters:
    """Protocol of the papers: lfs (from scratch) or lfh (from half), its phases N, and the share held out of training.

    order_seed: the class order's seed (1993 in the reference codes); None takes the run's own seed, so that replicates
    differ in order too.
    """

    name: str
    phases: int
    validation_share: float = 0.0
    order_seed: int | None = 1993

    def __post_init__(self) -> None:
        check_choice("protocol.name", self.name, PROTOCOLS)
        check_at_least("protocol.phases", self.phases, 1)
        if not 0 <= self.validation_share < 1:
            raise InputError(f"protocol.validation_share is {self.validation_share}; give 0 or more, and less than 1")
        if self.order_seed is not None:
            check_seed("protocol.order_seed", self.order_seed)

    def resolved(self, seed: int) -> dict[str, Any]:
        """The parameters as they are for a run's seed."""
        return {**asdict(self), "order_seed": seed if self.order_seed is None else self.order_seed}


def class_order(classes: int, seed: int) -> list[int]:
    """order[new label] = original label, by NumPy's legacy generator as the reference codes (golden class_orders)."""
    return [int(label) for label in np.random.RandomState(seed).permutation(classes)]


def phase_sizes(protocol: ProtocolParameters, classes: int) -> list[int]:
    """New classes per phase. LFS: N phases, the first takes the rest; LFH: half of the classes, then N phases.

    Raises InputError for more phases than classes. In LFH the base phase also takes what does not divide.
    """
    incremental = classes if protocol.name == "lfs" else classes // 2
    later = protocol.phases - 1 if protocol.name == "lfs" else protocol.phases
    if protocol.phases > incremental:
        raise InputError(
            f"protocol.phases is {protocol.phases}, but only {incremental} classes are there to be spread "
            f"({protocol.name}, {classes} in all); give {incremental} or fewer phases"
        )
    step = incremental // protocol.phases
    return [classes - step * later] + [step] * later


@dataclass(frozen=True, kw_only=True)
class PhaseSplit:
    """Image positions in the store of one phase's new classes, and the classes' original labels in arrival order."""

    classes: tuple[int, ...]
    train: tuple[int, ...]
    validation: tuple[int, ...]
    test: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Split:
    """All phases, with the digest of the images they were made from."""

    phases: tuple[PhaseSplit, ...]
    data_digest: str
    protocol: dict[str, Any]

    @property
    def order(self) -> list[int]:
        """Original labels in arrival order."""
        return [label for phase in self.phases for label in phase.classes]

    @property
    def digest(self) -> str:
        """sha256 of the manifest's positions and the data."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


def make_split(store: ImageStore, protocol: ProtocolParameters, seed: int) -> Split:
    """Split the store by the protocol; every class needs a test image, and a train image beside the held-out ones."""
    used = protocol.resolved(seed)
    order = class_order(len(store.class_names), used["order_seed"])
    random = generator(used["order_seed"], "validation")
    phases, start = [], 0
    for size in phase_sizes(protocol, len(order)):
        classes = tuple(order[start : start + size])
        train: list[int] = []
        held_out: list[int] = []
        for label in classes:
            mine = torch.nonzero((store.labels == label) & ~store.is_test).flatten()
            count = int(len(mine) * protocol.validation_share)
            shuffled = mine[torch.randperm(len(mine), generator=random)] if count else mine
            held_out += sorted(shuffled[:count].tolist())
            train += sorted(shuffled[count:].tolist())
        chosen = torch.isin(store.labels, torch.tensor(classes)) & store.is_test
        test = torch.nonzero(chosen).flatten().tolist()
        _check_classes(store, classes, train, test)
        phases.append(PhaseSplit(classes=classes, train=tuple(train), validation=tuple(held_out), test=tuple(test)))
        start += size
    return Split(phases=tuple(phases), data_digest=store.digest, protocol=used)


def _check_classes(store: ImageStore, classes: tuple[int, ...], train: list[int], test: list[int]) -> None:
    for part, positions in (("train", train), ("test", test)):
        present = set(store.labels[positions].tolist())
        absent = [store.class_names[label] for label in classes if label not in present]
        if absent:
            raise InputError(
                f"data set: no {part} images are left for {', '.join(absent)}; "
                "leave these classes out, or lower protocol.validation_share"
            )


def save_split(split: Split, store: ImageStore, path: Path) -> None:
    """Write the manifest: for every phase its classes and the name of each train, validation and test image.

    Damaged pictures, which are in none, are listed with their reasons.
    """

    def part(positions: tuple[int, ...]) -> list[str]:
        return [store.names[position] for position in positions]

    phases = [
        {
            "phase": number,
            "classes": [store.class_names[label] for label in phase.classes],
            "train": part(phase.train),
            "validation": part(phase.validation),
            "test": part(phase.test),
        }
        for number, phase in enumerate(split.phases)
    ]
    content = {"data_digest": split.data_digest, "digest": split.digest, "protocol": split.protocol, "phases": phases}
    write_json(path, content | ({"damaged": list(store.damaged)} if store.damaged else {}))


def load_split(path: Path, store: ImageStore, protocol: ProtocolParameters, seed: int) -> Split:
    """Read a manifest; InputError where it was edited, or is of other data or another protocol."""
    content = read_json(path, made_by="make it with `cimbench split`", remedy="delete it and run `cimbench split`")
    expected = {"data_digest": store.digest, "protocol": protocol.resolved(seed)}
    for key, here in expected.items():
        if content.get(key) != here:
            raise InputError(f"{path}: {key} is {content.get(key)}, here it is {here}; run `cimbench split` again")
    position = {name: i for i, name in enumerate(store.names)}
    label = {name: i for i, name in enumerate(store.class_names)}
    try:
        phases = tuple(
            PhaseSplit(
                classes=tuple(label[name] for name in phase["classes"]),
                **{part: tuple(position[name] for name in phase[part]) for part in ("train", "validation", "test")},
            )
            for phase in content["phases"]
        )
    except (TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run `cimbench split`") from error
    except KeyError as error:
        raise InputError(f"{path}: names {error}, which the prepared data do not have; run `cimbench split`") from None
    split = Split(phases=phases, data_digest=content["data_digest"], protocol=content["protocol"])
    if split.digest != content.get("digest"):
        raise InputError(f"{path}: was changed after it was made (its digest differs); run `cimbench split` again")
    return split
