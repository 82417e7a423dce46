"""How much a cell has to learn before it is run: images times epochs, phase by phase, from class counts alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any

import torch

from cimbench.benchmarks import registry
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.suite.config import Cell, Suite
from cimbench.benchmarks.suite.parameters import build
from cimbench.benchmarks.suite.sections import DatasetParameters
from cimbench.datasets.arrays import load_arrays, read_json
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.packed_store import INDEX
from cimbench.datasets.official_counts import OFFICIAL
from cimbench.datasets.stream.split import class_order, phase_sizes
from cimbench.methods.memory.budget import Budget, BudgetParameters
from cimbench.methods.training.recipe import TrainingParameters


@dataclass(frozen=True, kw_only=True)
class TrainingCounts:
    """Training images of every class, phase by phase. exact: False where they are a mean over classes."""

    phases: tuple[tuple[int, ...], ...]
    exact: bool = True


@dataclass(frozen=True, kw_only=True)
class Learner:
    """A cell as far as it decides how much is learnt."""

    method: str
    parameters: Any
    training: TrainingParameters
    budget: BudgetParameters


def learner_of(cell: Cell) -> Learner:
    """The learner of a cell of a suite."""
    _, parameters = cell.build_method_parameters()
    return Learner(method=cell.method, parameters=parameters, training=cell.training, budget=cell.suite.budget)


def learner_of_record(record: Record) -> Learner:
    """The learner of a measured cell; InputError where its configuration is of another version."""
    given = dict(record.config["method"])
    method = given.pop("name")
    _, cls = registry.load("method", registry.METHODS, method)
    return Learner(
        method=method,
        parameters=build(cls, given, f"{record.cell}: method"),
        training=build(TrainingParameters, record.config["training"], f"{record.cell}: training"),
        budget=build(BudgetParameters, record.config["budget"], f"{record.cell}: budget"),
    )


def image_epochs(learner: Learner, counts: TrainingCounts) -> list[int]:
    """Images learnt times epochs of each phase: new ones and exemplars, in every training of the phase.

    Exemplars are counted as if they were not compressed; a compressed memory replays more. The mask level and the
    compressor's own passes are not counted.
    """
    classes = [len(phase) for phase in counts.phases]
    budget = Budget(parameters=learner.budget, plain_cost=1.0, classes=sum(classes))
    method_class, _ = registry.load("method", registry.METHODS, learner.method)
    work = []
    for index, old_classes in enumerate(accumulate([0, *classes[:-1]])):
        new = list(counts.phases[index])
        old = [count for phase in counts.phases[:index] for count in phase]
        if method_class.sees_all_data:
            epochs = getattr(learner.parameters, "epochs", None) or learner.training.base_epochs
            work.append(epochs * sum(old + new))
            continue
        kept = [min(count, budget.nominal(old_classes)) for count in old] if method_class.uses_memory else []
        epochs = learner.training.epochs_in(index)
        work.append(epochs * (sum(new) + sum(kept)) + _second_training(learner, index, epochs, new + kept))
    return work


def _second_training(learner: Learner, phase: int, epochs: int, images: Sequence[int]) -> int:
    second = registry.load("method", registry.METHODS, learner.method)[0].second_training
    if phase == 0 or second is None:
        return 0
    own = getattr(learner.parameters, second.epochs)
    return (epochs if own is None else own) * (min(images) * len(images) if second.balanced else sum(images))


def training_counts(suite: Suite, seed: int) -> TrainingCounts | None:
    """What a seed's phases bring: by the prepared data, else by the split, else by what is known of the data set.

    None where nobody can tell before the data are here.
    """
    if (suite.store / INDEX).is_file():
        return _by_store(suite, seed)
    if suite.split_path(seed).is_file():
        return counts_of_split(suite.split_path(seed))
    known = known_counts(suite.dataset)
    return None if known is None else _in_phases(suite, seed, known.phases[0], known.exact)


def _by_store(suite: Suite, seed: int) -> TrainingCounts:
    """From the labels in the store's index; no picture is read."""
    arrays, description = load_arrays(suite.store / INDEX)
    try:
        labels, is_test = torch.from_numpy(arrays["labels"]), torch.from_numpy(arrays["is_test"])
        per_class = labels[~is_test].bincount(minlength=len(description["class_names"]))
    except KeyError as error:
        raise InputError(f"{suite.store / INDEX}: has no {error}; delete {suite.store} and prepare again") from error
    return _in_phases(suite, seed, tuple(per_class.tolist()), True)


def _in_phases(suite: Suite, seed: int, per_class: Sequence[int], exact: bool) -> TrainingCounts:
    """Counts by original label in the order of arrival, without what is held out."""
    protocol = suite.protocol
    left = [count - int(count * protocol.validation_share) for count in per_class]
    order = iter(class_order(len(left), protocol.resolved(seed)["order_seed"]))
    sizes = phase_sizes(protocol, len(left))
    return TrainingCounts(phases=tuple(tuple(left[next(order)] for _ in range(size)) for size in sizes), exact=exact)


def counts_of_split(path: Path) -> TrainingCounts:
    """What a split's manifest says; a phase's images are spread evenly over its classes, which it does not tell."""
    content = read_json(path, made_by="run `cimbench split`", remedy="delete it and run `cimbench split`")
    try:
        phases = content["phases"]
        spread = tuple(_evenly(len(phase["train"]), len(phase["classes"])) for phase in phases)
    except (KeyError, TypeError, ZeroDivisionError) as error:
        raise InputError(f"{path}: is damaged ({error}); delete it and run `cimbench split`") from error
    return TrainingCounts(phases=spread)


def known_counts(dataset: DatasetParameters) -> TrainingCounts | None:
    """Training images of each class, as one phase, where a source can tell without its data; else None."""
    if dataset.source == "cluttered_digits":
        each = dataset.parameters.get("train_per_class")
        return TrainingCounts(phases=((each,) * 10,)) if isinstance(each, int) else None
    if dataset.source not in OFFICIAL:
        return None
    classes, images, exact = OFFICIAL[dataset.source]
    return TrainingCounts(phases=(_evenly(images, classes),), exact=exact)


def counts_of_record(record: Record, folder: Path) -> TrainingCounts | None:
    """What a measured cell's phases brought, by its split in `folder` or by what is known of the data set."""
    path = folder / f"{record.config['seed']}.json"
    if path.is_file():
        return counts_of_split(path)
    known = known_counts(build(DatasetParameters, record.config["dataset"], f"{record.cell}: dataset"))
    return None if known is None else _by_groups(known, record.group_sizes, record.config["protocol"])


def _by_groups(known: TrainingCounts, groups: Sequence[int], protocol: Mapping[str, Any]) -> TrainingCounts:
    each = known.phases[0][0]
    left = each - int(each * protocol["validation_share"])
    return TrainingCounts(phases=tuple((left,) * size for size in groups), exact=known.exact)


def _evenly(images: int, classes: int) -> tuple[int, ...]:
    """`images` spread over `classes`, the first ones with one more."""
    each, rest = divmod(images, classes)
    return (each + 1,) * rest + (each,) * (classes - rest)
