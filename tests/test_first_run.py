"""The screen in docs/first-run.md is what the committed cells give: seeds 1993 and 1994 beside all of them."""

from __future__ import annotations

import re

from cimbench.benchmarks.records.places import record_folders
from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.report.compared import comparison_rows, comparisons
from cimbench.benchmarks.report.tables import reading_table
from tests.conftest import ROOT, composed

SCREEN = (ROOT / "docs/first-run.md").read_text().split("```")[1]
COMMITTED = [load_record(folder) for folder in record_folders(ROOT / "results/reference", "digits")]
OWN = [record for record in COMMITTED if record.config["seed"] in composed()["matrix"]["seeds"]]


def rows(last_column: str) -> list[list[str]]:
    """The rows of the screen's table that ends with this column, by two spaces or more."""
    part = SCREEN[SCREEN.index("\nmethod") :].split("\n\n")
    (table,) = [text.strip().splitlines() for text in part if text.strip().splitlines()[:1] and last_column in text]
    return [re.split(r"\s{2,}", line.strip()) for line in table[2:]]


def test_the_comparisons_are_the_committed_ones() -> None:
    frame = comparison_rows(list(comparisons(OWN, COMMITTED)))
    measured = [list(row) for row in frame.itertuples(index=False)]
    printed = rows("last within")
    assert len(printed) == 11
    assert all(row in measured for row in printed)


def test_the_accuracies_are_those_of_the_two_seeds() -> None:
    names = ["method", "compressor", "head", "average accuracy (%)", "last accuracy (%)", "budget", "bytes held (kB)"]
    measured = [list(row) for row in reading_table(OWN)[[*names, "exemplars"]].itertuples(index=False)]
    printed = [row[:-1] for row in rows("time (s)")]
    assert len(printed) == 11
    assert all(row in measured for row in printed)
