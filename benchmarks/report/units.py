"""Suites that differ in the budget's unit alone, side by side: does a gain survive real bytes?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from cimbench.benchmarks.records.differences import differences
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.places import record_folders
from cimbench.benchmarks.records.record import Record, load_record, shared_heads
from cimbench.benchmarks.report.differences import paired
from cimbench.benchmarks.report.tables import caption, formatted, groups_of_cells, spread
from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError

WORDS = {"paper_units": "paper units", "raw_bytes": "raw bytes", "coded_bytes": "coded bytes"}
NOTE = (
    "Exemplars after the last phase; last accuracy in percent, mean ± deviation over seeds. In brackets: "
    "the mean difference to none, paired by seed, with Student's 95 % interval where there are two seeds or more."
)


def suite_records(folder: Path) -> list[Record]:
    """All complete records below a suite's folder."""
    records = [record for record in map(load_record, record_folders(folder.parent, folder.name)) if record.complete]
    if not records:
        raise InputError(
            f"{folder}/cells: no cell is complete; run the suite first (dvc exp run -S suite={folder.name})"
        )
    return records


def _beside_the_budget(record: Record) -> dict[str, Any]:
    kept = {name: value for name, value in record.config.items() if name not in ("budget", "seed")}
    kept |= {"data digest": record.data_digest, "classes a phase": record.group_sizes}
    return kept | {"exemplars_per_class": record.config["budget"]["exemplars_per_class"]}


def check_alike(suites: Sequence[Sequence[Record]]) -> None:
    """Raise InputError where suites differ in more than the unit, or two have the same."""
    first: dict[tuple[str, str], Record] = {}
    for record in (record for records in suites for record in records):
        kind = (record.config["method"]["name"], record.config["compressor"]["name"])
        other = first.setdefault(kind, record)
        if told := differences(_beside_the_budget(other), _beside_the_budget(record)):
            raise InputError(f"suites {other.suite} and {record.suite} differ in more than the unit: {told}")
    units = [records[0].config["budget"]["unit"] for records in suites]
    if len(set(units)) < len(units):
        names = ", ".join(records[0].suite for records in suites)
        raise InputError(f"suites {names} count in {', '.join(units)}; name suites with units of their own")


def _last(record: Record, head: str) -> float:
    return 100 * headline(record.counts(head))["last_accuracy"]


def _told(members: Sequence[Record], plain: Sequence[Record], head: str) -> str:
    """Accuracy, and in brackets what it is more than without compression."""
    text = spread([_last(record, head) for record in members]).text()
    base = {record.config["seed"]: record for record in plain}
    pairs = [(record, base[record.config["seed"]]) for record in members if record.config["seed"] in base]
    if not pairs or members[0].config["compressor"]["name"] == "none":
        return text
    ours, theirs = ([_last(record, head) for record in side] for side in zip(*pairs, strict=True))
    more = paired(ours, theirs).text() if len(pairs) > 1 else f"{ours[0] - theirs[0]:+.1f}"
    return f"{text} ({more})"


def units_table(suites: Sequence[Sequence[Record]]) -> pd.DataFrame:
    """One row a method, compressor and head; two columns a unit."""
    check_alike(suites)
    grouped = [groups_of_cells(records) for records in suites]
    rows: list[dict[str, str]] = []
    for method, compressor in dict.fromkeys(key for groups in grouped for key in groups):
        cells = [record for groups in grouped for record in groups.get((method, compressor), [])]
        heads = shared_heads(cells)
        for head in heads:
            row = {"method": method, "compressor": compressor, "head": head}
            for records, groups in zip(suites, grouped, strict=True):
                unit = WORDS[records[0].config["budget"]["unit"]]
                members = groups.get((method, compressor), [])
                held = [float(sum(record.phases[-1].memory["exemplars"])) for record in members]
                row[f"{unit}: exemplars"] = spread(held).text(0) if members else "not run"
                plain = groups.get((method, "none"), [])
                row[f"{unit}: last accuracy"] = _told(members, plain, head) if members else "not run"
            rows.append(row)
    return pd.DataFrame(rows)


def write_units(results: Path, names: Sequence[str]) -> Path:
    """The table, in a file called after the first suite; DVC's outs are left alone."""
    suites = [suite_records(results / name) for name in names]
    table = formatted(units_table(suites), "github")
    captions = "\n".join(f"- {caption(records)}" for records in suites)
    path = results / "units" / f"{names[0]}.md"
    write_atomically(path, lambda file: file.write(f"{table}\n\n{NOTE}\n\n{captions}\n".encode()))
    return path
