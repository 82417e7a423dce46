"""Headline metrics, recomputed from the stored counts (docs/results.md). Accuracies are fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cimbench.benchmarks.registry import imported
from cimbench.datasets.errors import InputError, nearest_name

Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Counts:
    """One head's raw results. correct[t][g]: right answers after phase t on the test images of the classes that
    arrived in phase g (g <= t); correct_top5 likewise; tested[g]: how many test images these classes have."""

    correct: Sequence[Sequence[int]]
    correct_top5: Sequence[Sequence[int]]
    tested: Sequence[int]

    @property
    def phases(self) -> int:
        """Phases evaluated so far."""
        return len(self.correct)

    def accuracy_matrix(self) -> Floats:
        """R[t, g]; NaN where g > t."""
        return _matrix(self.correct, self.tested)


def _matrix(correct: Sequence[Sequence[int]], tested: Sequence[int]) -> Floats:
    matrix = np.full((len(correct), len(correct)), np.nan)
    for t, row in enumerate(correct):
        matrix[t, : t + 1] = np.asarray(row[: t + 1], dtype=float) / np.asarray(tested[: t + 1], dtype=float)
    return matrix


def accuracy_per_phase(correct: Sequence[Sequence[int]], tested: Sequence[int]) -> list[float]:
    """Accuracy over all classes seen, after each phase."""
    return [sum(row[: t + 1]) / sum(tested[: t + 1]) for t, row in enumerate(correct)]


def average_incremental_accuracy(counts: Counts) -> float:
    """Mean over phases of the accuracy over all classes seen, the first phase included."""
    return float(np.mean(accuracy_per_phase(counts.correct, counts.tested)))


def last_accuracy(counts: Counts) -> float:
    """Accuracy over all classes after the last phase."""
    return accuracy_per_phase(counts.correct, counts.tested)[-1]


def forgetting(counts: Counts) -> float:
    """Mean over old groups of (best accuracy in an earlier phase - last accuracy); 0 after a single phase."""
    matrix = counts.accuracy_matrix()
    last = counts.phases - 1
    drops = [np.nanmax(matrix[:last, group]) - matrix[last, group] for group in range(last)]
    return float(np.mean(drops)) if drops else 0.0


def old_and_new_accuracy(counts: Counts) -> tuple[float | None, float]:
    """After the last phase: accuracy on the classes of earlier phases (None without any), and on the last phase's."""
    row, last = counts.correct[-1], counts.phases - 1
    old = sum(row[:last]) / sum(counts.tested[:last]) if last else None
    return old, row[last] / counts.tested[last]


def average_top5_accuracy(counts: Counts) -> float:
    """As `average_incremental_accuracy`, an image counted as right where its class is among the five best."""
    return float(np.mean(accuracy_per_phase(counts.correct_top5, counts.tested)))


def last_top5_accuracy(counts: Counts) -> float:
    """As `last_accuracy`, likewise."""
    return accuracy_per_phase(counts.correct_top5, counts.tested)[-1]


Metric = Callable[[Counts], float | None]
# name -> what it is computed by; None where a cell has nothing to compute it from. A new metric is one line.
METRICS: dict[str, Metric] = {
    "average_accuracy": average_incremental_accuracy,
    "last_accuracy": last_accuracy,
    "forgetting": forgetting,
    "new_classes_accuracy": lambda counts: old_and_new_accuracy(counts)[1],
    "average_top5_accuracy": average_top5_accuracy,
    "last_top5_accuracy": last_top5_accuracy,
    "old_classes_accuracy": lambda counts: old_and_new_accuracy(counts)[0],
}


def metric(name: str) -> Metric:
    """The metric that a suite names: one of METRICS, or "module:function" of an installed package.

    InputError where it is not known, does not import, or is no function.
    """
    if name in METRICS:
        return METRICS[name]
    called = f"metrics: '{name}'"
    if ":" not in name:
        raise InputError(
            f"{called} is not known; {nearest_name(name, METRICS)}; one of your own is named module:function"
        )
    found = imported(called, name)
    if isinstance(found, type) or not callable(found):
        raise InputError(f"{called} is no metric; expected a function of Counts that gives a number, or None")
    own: Metric = found
    return own


def column(name: str) -> str:
    """What a metric is called in tables: the function's own name for one of a package."""
    return name.rpartition(":")[2]


def headline(counts: Counts, more: Sequence[str] = ()) -> dict[str, float]:
    """Every metric by its column: those of METRICS, and those that a suite names beside them.

    ValueError before the first phase; InputError where one of a package gives something else than a number.
    """
    if not counts.phases:
        raise ValueError("no phase is evaluated yet, so there is no metric")
    values: dict[str, float] = {}
    for name in dict.fromkeys([*METRICS, *more]):
        value = metric(name)(counts)
        if value is None:
            continue
        try:
            values[column(name)] = float(value)
        except (TypeError, ValueError):
            raise InputError(f"metrics: '{name}' gives {value!r}; expected a number, or None") from None
    return values


def check_metrics(names: Sequence[str]) -> None:
    """Raise InputError unless each is known and has a column of its own."""
    columns: dict[str, str] = {name: name for name in METRICS}
    for name in names:
        metric(name)
        other = columns.setdefault(column(name), name)
        if other != name:
            raise InputError(f"metrics: '{name}' would have the column of '{other}'; give its function another name")
