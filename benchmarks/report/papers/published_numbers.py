"""Accuracies that others have published, each with where it was seen (published/numbers.csv)."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from cimbench.datasets.errors import InputError

NUMBERS = Path(__file__).with_name("published") / "numbers.csv"
_FIELDS = ("method", "dataset", "protocol", "phases", "budget", "metric", "value", "network", "source", "seen_at")


@dataclass(frozen=True, kw_only=True)
class PublishedNumber:
    """One number as printed: value in percent for accuracies; phases is None where the source names none.

    confidence: how it was seen; a number counts as published only where this begins with "seen".
    """

    method: str
    dataset: str
    protocol: str
    phases: int | None
    budget: str
    metric: str
    value: float
    network: str
    source: str
    seen_at: str
    confidence: str


@dataclass(frozen=True, kw_only=True)
class PublishedName:
    """Which published rows stand for a row of ours: their method's name, and how their source begins."""

    method: str
    source: str


@cache
def load_published(path: Path = NUMBERS) -> tuple[PublishedNumber, ...]:
    """The numbers that were seen; InputError for a row without a source, or with a value that is no number."""
    with path.open(newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        lacking = [name for name in (*_FIELDS, "confidence") if name not in (reader.fieldnames or [])]
        if lacking:
            raise InputError(f"{path}: has no column {', '.join(lacking)}; give it {', '.join(_FIELDS)}, confidence")
        found = [_number(row, f"{path}, line {reader.line_num}") for row in reader]
    return tuple(number for number in found if number.confidence.startswith("seen"))


def _number(row: dict[str, str], where: str) -> PublishedNumber:
    for name in ("source", "seen_at", "confidence"):
        if not (row[name] or "").strip():
            raise InputError(f"{where}: {row['method']} has no {name}; say where the number is from, or remove it")
    try:
        value = float(row["value"])
        phases = int(float(row["phases"])) if row["phases"] else None
    except ValueError as error:
        raise InputError(f"{where}: {error}; give value and phases as numbers") from error
    if not math.isfinite(value):
        raise InputError(f"{where}: value is {row['value']}; give a finite number")
    rest = {name: row[name] for name in (*_FIELDS, "confidence") if name not in ("value", "phases")}
    return PublishedNumber(value=value, phases=phases, **rest)


def find_published(
    numbers: Sequence[PublishedNumber],
    names: Sequence[PublishedName],
    *,
    dataset: str,
    protocol: str | None,
    phases: int | None,
    metric: str,
    budget: str = "",
) -> PublishedNumber | None:
    """The number of the first of `names` that has one for this setting; None where none has.

    budget: how the published budget begins ("" takes any); protocol None takes any. Raises InputError where a name
    has two different values.
    """
    for name in names:
        found = [
            number
            for number in numbers
            if number.method == name.method
            and number.source.startswith(name.source)
            and number.dataset.partition(" (")[0] == dataset
            and (protocol is None or number.protocol == protocol)
            and (phases is None or number.phases == phases)
            and number.metric == metric
            and number.budget.startswith(budget)
        ]
        if len({number.value for number in found}) > 1:
            values = ", ".join(f"{number.value:g} ({number.source})" for number in found)
            raise InputError(f"published {name.method}, {dataset} {protocol} {phases}: has several values: {values}")
        if found:
            return found[0]
    return None
