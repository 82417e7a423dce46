"""The comparison table: one row per method, compressor and head, recomputed from the records."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cimbench.benchmarks import registry
from cimbench.benchmarks.imported.imported_run import ImportedRun, comparable
from cimbench.benchmarks.records.metrics import column, headline
from cimbench.benchmarks.records.record import Record, shared_heads
from cimbench.benchmarks.report.differences import differences_table
from cimbench.benchmarks.report.imported_rows import imported_notes, with_imported
from cimbench.datasets.arrays import write_atomically

UNIT_WORDS = {
    "paper_units": "images (area fractions, as published)",
    "raw_bytes": "bytes (uint8 pixels really held)",
    "coded_bytes": "bytes (as {codec} of quality {quality}, really held)",
}


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and sample standard deviation over seeds (None for one seed)."""

    mean: float
    deviation: float | None

    def text(self, digits: int = 1, scale: float = 1.0) -> str:
        """For instance 51.3 +- 1.2."""
        tail = "" if self.deviation is None else f" ± {scale * self.deviation:.{digits}f}"
        return f"{scale * self.mean:.{digits}f}{tail}"


def spread(values: Sequence[float]) -> Spread:
    """Mean and sample standard deviation."""
    return Spread(mean=float(np.mean(values)), deviation=float(np.std(values, ddof=1)) if len(values) > 1 else None)


def groups_of_cells(records: Sequence[Record]) -> dict[tuple[str, str], list[Record]]:
    """(method, compressor) -> its records, one a seed."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        key = (record.config["method"]["name"], record.config["compressor"]["name"])
        groups.setdefault(key, []).append(record)
    return groups


def numbers_table(records: Sequence[Record], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """Plain numbers, one row per method, compressor and head: means and deviations in percent, n seeds.

    metrics: names of more columns.
    """
    rows = []
    for (method, compressor), members in groups_of_cells(records).items():
        for head in shared_heads(members):
            values = [headline(record.counts(head), metrics) for record in members]
            row: dict[str, object] = {"method": method, "compressor": compressor, "head": head, "seeds": len(members)}
            for name in (name for name in values[0] if all(name in each for each in values)):
                value = spread([100 * each[name] for each in values])
                row |= {name: value.mean, f"{name}_sd": value.deviation}
            last = [record.phases[-1].memory for record in members]
            row |= {
                "unit": last[0]["unit"],
                "budget": last[0]["budget"],
                "spent": float(np.mean([account["spent"] for account in last])),
                "fill_rate": fill_rate(last),
                "bytes_held": float(np.mean([account["bytes_held"] for account in last])),
                "exemplars": float(np.mean([sum(account["exemplars"]) for account in last])),
                "model_bytes": float(np.mean([record.phases[-1].model_bytes for record in members])),
                "peak_memory_bytes": float(np.mean([_peak_memory(record) for record in members])),
                "seconds": float(np.mean([_seconds(record) for record in members])),
            }
            rows.append(row)
    return pd.DataFrame(rows)


def fill_rate(accounts: Sequence[Mapping[str, float]]) -> float:
    """Mean share of what the memory may hold that it holds; the rest is too little for a next exemplar."""
    return float(np.mean([account["spent"] / max(account["limit"], 1e-9) for account in accounts]))


def _seconds(record: Record) -> float:
    return sum(sum(phase.seconds.values()) for phase in record.phases)


def _peak_memory(record: Record) -> float:
    """The largest of the phases; NaN where the system did not tell."""
    return float(np.max([phase.peak_memory_bytes or np.nan for phase in record.phases]))


def reading_table(records: Sequence[Record], metrics: Sequence[str] = ()) -> pd.DataFrame:
    """The same for people: accuracies as mean ± deviation, sizes in kB; the columns of `metrics` last."""
    rows: list[dict[str, str]] = []
    for (method, compressor), members in groups_of_cells(records).items():
        last = [record.phases[-1].memory for record in members]
        classes = len(members[0].class_names)
        without_memory = not any(sum(account["exemplars"]) for account in last)
        for head in shared_heads(members):
            values = [headline(record.counts(head), metrics) for record in members]
            rows.append(
                {
                    "method": method,
                    "compressor": compressor,
                    "head": head,
                    "average accuracy (%)": spread([each["average_accuracy"] for each in values]).text(1, 100),
                    "last accuracy (%)": spread([each["last_accuracy"] for each in values]).text(1, 100),
                    "forgetting (%)": spread([each["forgetting"] for each in values]).text(1, 100),
                    "budget": "none" if without_memory else _amount(last[0]["budget"], last[0]["unit"]),
                    "spent": "none" if without_memory else _amount(_mean(last, "spent"), last[0]["unit"]),
                    "filled (%)": "-" if without_memory else f"{100 * fill_rate(last):.1f}",
                    "bytes held (kB)": f"{_mean(last, 'bytes_held') / 1e3:.1f}",
                    "exemplars": spread([float(sum(a["exemplars"])) for a in last]).text(1),
                    "per class": f"{np.mean([sum(a['exemplars']) for a in last]) / classes:.1f}",
                    "model (kB)": f"{np.mean([r.phases[-1].model_bytes for r in members]) / 1e3:.0f}",
                    "time (s)": f"{np.mean([_seconds(r) for r in members]):.0f}",
                    **{f"{name.replace('_', ' ')} (%)": _percent(values, name) for name in map(column, metrics)},
                }
            )
    return pd.DataFrame(rows)


def _percent(values: Sequence[Mapping[str, float]], name: str) -> str:
    """A metric over seeds; a dash where a cell has none."""
    return spread([each[name] for each in values]).text(1, 100) if all(name in each for each in values) else "-"


def formatted(table: pd.DataFrame, style: str, words: int = 3) -> str:
    """The table as text in one of tabulate's styles: columns of words to the left, numbers as written to the right."""
    alignment = ["left"] * words + ["right"] * (len(table.columns) - words)
    return str(table.to_markdown(index=False, tablefmt=style, disable_numparse=True, colalign=alignment))


def _mean(accounts: Sequence[dict[str, float]], name: str) -> float:
    return float(np.mean([account[name] for account in accounts]))


def _amount(value: float, unit: str) -> str:
    return f"{value:.1f} images" if unit == "paper_units" else f"{value / 1e3:.1f} kB"


def caption(records: Sequence[Record]) -> str:
    """What the table is about: data, protocol, budget, network, recipe, seeds, hardware."""
    first = records[0]
    config, origin = first.config, first.provenance
    protocol, budget, network = config["protocol"], config["budget"], config["network"]
    seeds = sorted({record.config["seed"] for record in records})
    spread_words = f"Mean ± sample standard deviation over {len(seeds)} seeds" if len(seeds) > 1 else "One seed"
    devices = sorted({_hardware(record) for record in records})
    commits = sorted({_commit(record) for record in records})
    return (
        f"Suite {first.suite}: {config['dataset']['name']}, {len(first.class_names)} classes, "
        f"{protocol['name'].upper()}, {len(first.group_sizes)} phases. Budget: {budget['exemplars_per_class']:g} "
        f"uncompressed exemplars a class ({budget['sharing'].replace('_', ' ')}), counted in "
        f"{UNIT_WORDS[budget['unit']].format(**budget)}. Network: {network['architecture']}, width {network['width']}, "
        f"{network['input_side']} px. Recipe: {config['recipe']}. {spread_words} "
        f"({', '.join(map(str, seeds))}). {'; '.join(devices)}; torch {origin['versions']['torch']}; "
        f"commit {', '.join(commits)}."
    )


def _hardware(record: Record) -> str:
    hardware = record.provenance["hardware"]
    return (
        f"{hardware['processor']}, {hardware['threads']} threads" if hardware["device"] == "cpu" else hardware["device"]
    )


def _commit(record: Record) -> str:
    origin = record.provenance
    return f"{(origin['commit'] or 'unknown')[:10]}{' with changes' if origin['sources_changed'] else ''}"


def footnotes(records: Sequence[Record], absent: Mapping[str, str]) -> list[str]:
    """What a reader has to know beside the numbers: cells that are missing and why, and the memory's odd cases."""
    notes = [f"{cell}: {reason}." for cell, reason in absent.items()]
    methods = {record.config["method"]["name"] for record in records}
    notes += [f"{name}: {words}" for name in sorted(methods) if (words := registry.note(name))]
    notes += _no_bound(records)
    for record in records:
        accounts = [phase.memory for phase in record.phases]
        whole = sum(account["kept_whole"] for account in accounts)
        exhausted = sum(account["exhausted_classes"] for account in accounts)
        empty = sum(count == 0 for count in accounts[-1]["exemplars"]) if sum(accounts[-1]["exemplars"]) else 0
        for head in record.lost_heads:
            notes.append(f"{record.cell}: head {head} is absent, since the memory was empty after a later phase.")
        if whole:
            notes.append(
                f"{record.cell}: {whole} images were kept whole (a constant activation map, or no object box)."
            )
        if accounts[-1]["chosen"]:
            chosen = [", ".join(f"{name} {value:g}" for name, value in a["chosen"].items()) for a in accounts]
            notes.append(f"{record.cell}: chosen phase by phase: {'; '.join(chosen)}.")
        if exhausted:
            notes.append(f"{record.cell}: {exhausted} classes had fewer images than their share of the budget holds.")
        if empty:
            notes.append(f"{record.cell}: {empty} classes hold no exemplar, their share is below the first one's cost.")
    return notes


def _no_bound(records: Sequence[Record]) -> list[str]:
    """Where joint is meant as the upper bound and a method is above it, that it is none."""
    last = {
        (method, compressor, head): float(
            np.mean([100 * headline(each.counts(head))["last_accuracy"] for each in group])
        )
        for (method, compressor), group in groups_of_cells(records).items()
        for head in shared_heads(group)
    }
    bound = max((value for (method, *_), value in last.items() if method == "joint"), default=None)
    above = {key: value for key, value in last.items() if bound is not None and value > bound}
    if not above:
        return []
    method, compressor, head = max(above, key=lambda key: above[key])
    return [
        f"joint is no upper bound here: its last accuracy is {bound:.1f} %, that of {method} + {compressor} ({head}) "
        f"{last[method, compressor, head]:.1f} %. It starts again in every phase, and has too few epochs for it."
    ]


def write_tables(
    folder: Path,
    records: Sequence[Record],
    absent: Mapping[str, str],
    imported: Sequence[ImportedRun] = (),
    metrics: Sequence[str] = (),
) -> list[Path]:
    """comparison.md (for people), .csv (numbers measured here) and .tex; footnotes name missing cells with the reason.

    differences.md beside them where two seeds or more can be paired. imported: runs of other code bases, shown by
    comparison.md and .tex where they are of the same task and budget. metrics: names of more columns.
    """
    others = comparable(imported, records[0].config, len(records[0].class_names))
    reading, text = with_imported(reading_table(records, metrics), others), caption(records)
    note = "".join(f"\n- {line}" for line in [*footnotes(records, absent), *imported_notes(others)]) + "\n"
    markdown = f"{text}\n\n{formatted(reading, 'github')}\n{note}"
    latex = f"% {text}\n{formatted(reading, 'latex_booktabs')}\n"
    contents = {
        "comparison.md": markdown,
        "comparison.csv": numbers_table(records, metrics).to_csv(index=False, float_format="%.6g"),
        "comparison.tex": latex.replace("±", "$\\pm$"),
    }
    differences = differences_table(records)
    if len(differences):
        text = formatted(differences, "github", 5)
        contents["differences.md"] = f"Paired by seed; Student's 95 % interval of the mean difference.\n\n{text}\n"
    paths = []
    for name, content in contents.items():
        path = folder / name
        write_atomically(path, lambda file, content=content: file.write(content.encode()))  # type: ignore[misc]
        paths.append(path)
    return paths
