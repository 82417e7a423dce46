"""What the switches of the references' defects do: each against the corrected default, paired by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from cimbench.benchmarks.records.differences import flatten
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record, load_records
from cimbench.benchmarks.report.differences import paired
from cimbench.benchmarks.suite.compose import CONFIGURATIONS, compose_suite, load_mapping
from cimbench.benchmarks.suite.parameters import build

FILE = CONFIGURATIONS / "errata.yaml"
HEADS = ("teacher", "student")
NOTE = (
    "With the switch less without, percentage points with Student's 95 % interval, paired by seed: FOSTER with CIM on "
    "the embedded images in a short training (suites errata and errata-cN)."
)


@dataclass(frozen=True, kw_only=True)
class Switch:
    """A row of docs/errata.md, the suite that takes the published behaviour, and what that is."""

    number: str
    suite: str
    what: str


@dataclass(frozen=True, kw_only=True)
class Errata:
    """All switches, and the suite that is corrected throughout."""

    base: str
    switches: tuple[Switch, ...]


def changed_options(base: Record, other: Record) -> str:
    """The parameters in which two records differ beside the seed, for instance foster.selector: student."""
    ours, theirs = (_named(record) for record in (base, other))
    return ", ".join(f"{key}: {theirs.get(key)}" for key in {**ours, **theirs} if ours.get(key) != theirs.get(key))


def _named(record: Record) -> dict[str, object]:
    """Flat parameters of method and compressor, by the names they have in params.yaml."""
    named: dict[str, object] = {}
    for kind in ("method", "compressor"):
        section = dict(record.config[kind])
        named |= flatten(section, f"{kind}s.{section.pop('name')}.")
    return named


def _records(suite: str) -> tuple[dict[int, Record], str]:
    """seed -> complete record, and why others are absent."""
    found, absent = load_records({cell.folder: cell.resolved() for cell in compose_suite(suite).cells()})
    reasons = dict.fromkeys(reason for reason in absent.values())
    return {record.config["seed"]: record for record in found}, "; ".join(reasons)


def _accuracies(records: Sequence[Record], head: str, metric: str) -> list[float]:
    return [100 * headline(record.counts(head))[metric] for record in records]


def errata_table() -> pd.DataFrame:
    """One row a switch: paired differences of published less corrected, in percentage points, for both networks.

    The reason instead where two seeds or more of the same pictures are not shared.
    """
    errata = build(Errata, load_mapping(FILE), str(FILE))
    base, lacking = _records(errata.base)
    rows = []
    for switch in errata.switches:
        variant, why = _records(switch.suite)
        seeds = sorted(s for s in base.keys() & variant.keys() if base[s].data_digest == variant[s].data_digest)
        option = changed_options(base[seeds[0]], variant[seeds[0]]) if seeds else switch.suite
        row = {
            "#": switch.number,
            "with the switch": switch.what,
            "option": f"`{option}`",
            "seeds": str(len(seeds)),
        }
        for head in HEADS:
            for metric in ("average_accuracy", "last_accuracy"):
                told = why or lacking or "fewer than two seeds of the same pictures"
                if len(seeds) > 1:
                    ours, theirs = (
                        _accuracies([side[seed] for seed in seeds], head, metric) for side in (variant, base)
                    )
                    told = paired(ours, theirs).text()
                row[f"{head}, {metric.partition('_')[0]}"] = told
        rows.append(row)
    return pd.DataFrame(rows)
