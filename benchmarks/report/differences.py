"""Paired differences between compressors of one method: what the same seeds say, with 95 % intervals.

The interval is Student's for the mean of the differences (n - 1 degrees of freedom). With three to five seeds it is the
one that can say something: a rank or sign test of five pairs cannot go below p = 0.06. It takes the differences to be
normal, which so few cannot show; an interval that only just leaves out 0 is weak evidence.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record, shared_heads

AGAINST = ("none", "class_activation")
METRICS = {"average_accuracy": "average accuracy", "last_accuracy": "last accuracy"}


@dataclass(frozen=True, kw_only=True)
class Difference:
    """mean and 95 % interval of n paired differences."""

    mean: float
    low: float
    high: float
    pairs: int

    @property
    def significant(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0

    def text(self) -> str:
        """For instance +3.1 [-0.4, 6.6]."""
        return f"{self.mean:+.1f} [{self.low:+.1f}, {self.high:+.1f}]"


def paired(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """ours - theirs, pair by pair; ValueError for fewer than two pairs."""
    differences = np.subtract(ours, theirs)
    if len(differences) < 2:
        raise ValueError("one pair has no spread; give two or more")
    mean, error = float(differences.mean()), float(differences.std(ddof=1) / len(differences) ** 0.5)
    from scipy import stats  # a second of imports, for an interval alone

    half = float(stats.t.ppf(0.975, len(differences) - 1)) * error
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=len(differences))


def _cells(records: Sequence[Record]) -> dict[tuple[str, str], dict[int, Record]]:
    """(method, compressor) -> seed -> record."""
    cells: dict[tuple[str, str], dict[int, Record]] = {}
    for record in records:
        key = (record.config["method"]["name"], record.config["compressor"]["name"])
        cells.setdefault(key, {})[record.config["seed"]] = record
    return cells


def _pairs(records: Sequence[Record]) -> Iterator[tuple[str, str, str, str, list[tuple[Record, Record]]]]:
    """method, compressor, what it is compared with, head, and the records of the seeds that both have."""
    cells = _cells(records)
    for (method, compressor), mine in cells.items():
        for against in AGAINST:
            theirs = cells.get((method, against), {})
            shared = sorted(mine.keys() & theirs.keys())
            if compressor in ("none", against) or len(shared) < 2:
                continue
            pairs = [(mine[seed], theirs[seed]) for seed in shared]
            for head in shared_heads([record for pair in pairs for record in pair]):
                yield method, compressor, against, head, pairs


def differences_table(records: Sequence[Record]) -> pd.DataFrame:
    """One row a method, compressor, comparison and head: differences in percentage points, interval in brackets.

    Empty where no two seeds are shared.
    """
    rows = []
    for method, compressor, against, head, pairs in _pairs(records):
        row = {"method": method, "compressor": compressor, "against": against, "head": head, "seeds": str(len(pairs))}
        for metric, words in METRICS.items():
            scores = [
                [100 * headline(record.counts(head))[metric] for record in side] for side in zip(*pairs, strict=True)
            ]
            found = paired(*scores)
            row[f"{words}: difference [95 %]"] = found.text()
            row[f"{words}: significant at 95 %"] = "yes" if found.significant else "no"
        rows.append(row)
    return pd.DataFrame(rows)
