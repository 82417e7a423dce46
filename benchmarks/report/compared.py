"""Did I reproduce it? One's own cells of a suite beside the committed ones, number by number.

A mean over n own seeds belongs into the 95 % prediction interval of m committed ones, mean +- t(m - 1) s sqrt(1/m +
1/n), so that one number of twenty is outside by chance. Cells of the same seed are compared exactly besides: on the
same kind of processor, with the same versions and threads, they are the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from cimbench.benchmarks.records.differences import differences
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record, shared_heads
from cimbench.benchmarks.report.tables import groups_of_cells

NUMBERS = {"average_accuracy": "average accuracy", "last_accuracy": "last accuracy"}
_ROUNDING = 1e-9  # committed seeds that are all equal have an interval of no width
MAY_DIFFER = ("processor", "threads", "device", "python", "torch", "torchvision", "numpy")


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One number: own mean, what it belongs into, and whether it does (None: the committed seeds are too few)."""

    method: str
    compressor: str
    head: str
    number: str
    own: float
    committed: float
    half_width: float | None

    @property
    def within(self) -> bool | None:
        """Whether the own mean is in the interval."""
        return None if self.half_width is None else abs(self.own - self.committed) <= self.half_width + _ROUNDING


def half_width(committed: Sequence[float], own: int) -> float | None:
    """Of the 95 % prediction interval of a mean over `own` seeds; None for fewer than three committed ones."""
    if len(committed) < 3:
        return None
    from scipy import stats  # a second of imports

    spread = float(np.std(committed, ddof=1)) * (1 / len(committed) + 1 / own) ** 0.5
    half: float = float(stats.t.ppf(0.975, len(committed) - 1)) * spread
    return half


def comparisons(own: Sequence[Record], committed: Sequence[Record]) -> Iterator[Compared]:
    """All numbers that both have."""
    theirs = groups_of_cells(committed)
    for (method, compressor), mine in groups_of_cells(own).items():
        others = theirs.get((method, compressor), [])
        for head in shared_heads([*mine, *others]) if others else []:
            for metric, words in NUMBERS.items():
                ours, known = (
                    [100 * headline(record.counts(head))[metric] for record in group] for group in (mine, others)
                )
                yield Compared(
                    method=method,
                    compressor=compressor,
                    head=head,
                    number=words,
                    own=float(np.mean(ours)),
                    committed=float(np.mean(known)),
                    half_width=half_width(known, len(ours)),
                )


def comparison_rows(found: Sequence[Compared]) -> pd.DataFrame:
    """One row a method, compressor and head; for each number yours, the committed one and whether yours is within."""
    words = {True: "yes", False: "NO", None: "?"}
    rows: dict[tuple[str, str, str], dict[str, str]] = {}
    for one in found:
        key = (one.method, one.compressor, one.head)
        row = rows.setdefault(key, dict(zip(("method", "compressor", "head"), key, strict=True)))
        row[f"{one.number} (%)"] = f"{one.own:.1f}"
        row[f"committed {one.number.split()[0]}"] = f"{one.committed:.1f}" + (
            f" ± {one.half_width:.1f}" if one.half_width is not None else ""
        )
        row[f"{one.number.split()[0]} within"] = words[one.within]
    return pd.DataFrame(rows.values())


def same_bits(own: Sequence[Record], committed: Sequence[Record]) -> tuple[int, int]:
    """Of the cells that both have, how many have equal counts and losses in every phase; and how many there are."""
    pairs = _pairs(own, committed)
    equal = [
        all(
            (a.correct, a.correct_top5, a.losses) == (b.correct, b.correct_top5, b.losses)
            for a, b in zip(mine.phases, other.phases, strict=True)
        )
        for mine, other in pairs
    ]
    return sum(equal), len(pairs)


def what_must_not_differ(own: Sequence[Record], committed: Sequence[Record]) -> list[str]:
    """Configuration, pictures and class orders that differ between cells of one name: those are other experiments."""
    found = []
    for record, other in _pairs(own, committed):
        if changes := differences(other.config, record.config):
            found.append(f"{record.cell}: the configuration: {changes}")
        elif other.data_digest != record.data_digest:
            found.append(f"{record.cell}: the pictures (their digests differ)")
        elif other.class_names != record.class_names:
            found.append(f"{record.cell}: the order of the classes")
    return found


def what_differs(own: Sequence[Record], committed: Sequence[Record]) -> list[str]:
    """Of the machine and the versions, which may differ and then change numbers by rounding; and of the sources.

    Between cells of one name.
    """
    found: list[str] = []
    for record, other in _pairs(own, committed):
        mine, theirs = (_surroundings(each.provenance) for each in (record, other))
        found += [
            f"{name} {mine[name]} (committed: {theirs[name]})" for name in MAY_DIFFER if mine[name] != theirs[name]
        ]
        if record.provenance.get("source_digest") != other.provenance.get("source_digest"):
            found.append("the sources that decide a cell's numbers")
    return list(dict.fromkeys(found))


def _pairs(own: Sequence[Record], committed: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Cells of one name."""
    theirs = {record.cell: record for record in committed}
    return [(record, theirs[record.cell]) for record in own if record.cell in theirs]


def _surroundings(provenance: Mapping[str, Any]) -> dict[str, Any]:
    known = {**provenance["hardware"], **provenance["versions"]}
    return {name: known.get(name) for name in MAY_DIFFER}
