"""One page about a run on a GPU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cimbench.datasets.arrays import write_atomically

PAGE = Path("results/gpu.md")


def summary(known: Mapping[str, str], origin: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: the machine, and how each step ended."""
    commit = f"commit {(origin['commit'] or 'unknown')[:10]}{' with changes' if origin['sources_changed'] else ''}"
    machine = [f"| {name} | {value} |" for name, value in known.items()]
    rows = [f"| {o['step']} | {o['seconds']:.0f} s | {o['ended']} | {_cell(o['last'])} |" for o in outcomes]
    return "\n".join(
        [
            "# A run on a GPU",
            "",
            f"Made by `make gpu` ({commit}, {origin['started'][:10]}).",
            "",
            "| machine | |",
            "| --- | --- |",
            *machine,
            "",
            "| step | time | | last line |",
            "| --- | ---: | --- | --- |",
            *rows,
            "",
        ]
    )


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("=", "").strip()


def write_summary(known: Mapping[str, str], origin: Mapping[str, Any], outcomes: Sequence[Mapping[str, Any]]) -> None:
    """Write the page."""
    text = summary(known, origin, outcomes)
    write_atomically(PAGE, lambda file: file.write(text.encode()))
