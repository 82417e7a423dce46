"""Headline metrics, recomputed from the stored counts (docs/results.md). Accuracies are fractions in [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def headline(counts: Counts) -> dict[str, float]:
    """Every headline metric by name; ValueError before the first phase."""
    if not counts.phases:
        raise ValueError("no phase is evaluated yet, so there is no metric")
    old, new = old_and_new_accuracy(counts)
    top5 = accuracy_per_phase(counts.correct_top5, counts.tested)
    values = {
        "average_accuracy": average_incremental_accuracy(counts),
        "last_accuracy": last_accuracy(counts),
        "forgetting": forgetting(counts),
        "new_classes_accuracy": new,
        "average_top5_accuracy": float(np.mean(top5)),
        "last_top5_accuracy": top5[-1],
    }
    return values if old is None else {**values, "old_classes_accuracy": old}
