"""The findings' tables are rows of committed tables, and those are what the committed cells give."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cimbench.benchmarks.report.boxes import write_boxes_table
from cimbench.benchmarks.report.tables import write_tables
from cimbench.benchmarks.report.units import suite_records, write_units
from tests.committed import committed
from tests.conftest import ROOT, table_rows

MARK = re.compile(r"<!-- from: ([^>]+?) -->\n(.*?)<!-- end -->", re.S)
PAGES = ("results/README.md", "README.md", "docs/performance.md")
BLOCKS = [(page, *found) for page in PAGES for found in MARK.findall((ROOT / page).read_text())]
KEYS = {"method", "compressor", "head", "against"}
SUITES = ("tiny", "tiny-masks", "tiny-masks-paper", "tiny-masks-coded")


@pytest.mark.parametrize(("page", "source", "block"), BLOCKS, ids=lambda value: value[:40])
def test_every_row_is_in_the_table_it_is_from(page: str, source: str, block: str) -> None:
    """Of one table, or of several that are read side by side: each cell is in a row with the same first columns."""
    tables, mine = [table_rows(committed(name)) for name in source.split(", ")], table_rows(block)
    assert mine, page
    for row in mine:
        left = {name: value for name, value in row.items() if value}  # an empty cell says nothing
        for theirs in tables:
            own = {name: value for name, value in left.items() if name in theirs[0]}
            if any(own.items() <= other.items() for other in theirs):
                left = {name: value for name, value in left.items() if name in KEYS or name not in theirs[0]}
        assert left.keys() <= KEYS, (page, source, row)


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The committed cells alone."""
    folder = tmp_path_factory.mktemp("results")
    names = [f"results/{suite}/cells" for suite in SUITES]
    listed = subprocess.run(["git", "ls-files", *names], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.split():
        place = folder / Path(name).relative_to("results")
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place)
    return folder


@pytest.mark.parametrize("suite", SUITES)
def test_the_committed_tables_are_what_the_committed_cells_give(suite: str, results: Path, tmp_path: Path) -> None:
    """In the order of the matrix, which the table's own rows tell."""
    table = table_rows(committed(f"results/{suite}/tables/comparison.md"))
    order = list(dict.fromkeys((row["method"], row["compressor"]) for row in table))
    records = sorted(suite_records(results / suite), key=lambda record: record.config["seed"])
    records.sort(key=lambda r: order.index((r.config["method"]["name"], r.config["compressor"]["name"])))
    write_tables(tmp_path, records, {})
    write_boxes_table(tmp_path, records)
    there = subprocess.run(
        ["git", "ls-files", f"results/{suite}/tables"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    compared = [path for path in sorted(tmp_path.iterdir()) if f"results/{suite}/tables/{path.name}" in there]
    assert {"comparison.md", "comparison.csv", "comparison.tex"} <= {path.name for path in compared}
    for path in compared:
        made, there = path.read_text(), committed(f"results/{suite}/tables/{path.name}")
        there = "\n".join(line for line in there.splitlines() if ": not run" not in line)
        assert made.split() == there.split(), path.name


def test_the_units_side_by_side_are_what_the_committed_cells_give(results: Path) -> None:
    path = write_units(results, ["tiny-masks", "tiny-masks-paper", "tiny-masks-coded"])
    assert path.read_text() == committed("results/units/tiny-masks.md")


README, FINDINGS = ((ROOT / name).read_text() for name in ("README.md", "results/README.md"))
SHOWN = {"replay": "nme", "icarl": "nme", "foster": "teacher"}
BOXES = ("center_box", "class_activation", "cim")


def rows_of(name: str, **wanted: str) -> list[dict[str, str]]:
    return [row for row in table_rows(committed(f"results/{name}")) if wanted.items() <= row.items()]


def span(values: list[str]) -> str:
    """From the smallest to the largest mean, for instance 112 to 134."""
    means = [float(value.split()[0]) for value in values]
    return f"{min(means):.0f} to {max(means):.0f}"


def said(page: str, *words: str) -> bool:
    """Whether one sentence of a page, tables left out, has all of these words and numbers, however it is put."""
    prose = " ".join(line for line in page.splitlines() if not line.startswith(("|", "<!--", "#")))
    prose = re.sub(r"\]\([^)]*\)", "]", " ".join(prose.split()))
    sentences = re.split(r"(?<=[.;:?]) ", prose)
    return any(all(re.search(rf"(?<![\w.]){re.escape(word)}(?![\w])", one) for word in words) for one in sentences)


def test_a_sentence_is_held_to_its_numbers() -> None:
    assert said("Boxes store 112 to 134 exemplars\nin all.", "112 to 134", "exemplars")
    assert not said("Boxes store 112 to 134 exemplars.", "112 to 135")
    assert not said("Boxes store 112 to 134. Others 3.", "112 to 134", "3")
    assert not said("Boxes store 1112 to 134.", "112 to 134")


def test_the_prose_says_what_the_tables_say_of_exemplars() -> None:
    shown = [row for row in rows_of("tiny-masks/tables/comparison.md") if SHOWN[row["method"]] == row["head"]]
    held = span([row["exemplars"] for row in shown if row["compressor"] in BOXES])
    for page in (README, FINDINGS):
        assert said(page, held, "exemplars", "100")
    assert {row["exemplars"] for row in shown if row["compressor"] == "none"} == {"100.0 ± 0.0"}
    assert {row["exemplars"] for row in shown if row["compressor"] == "full"} == {"380.0 ± 0.0"}
    assert said(FINDINGS, "380", "exemplars")


def test_the_prose_says_what_the_tables_say_of_units() -> None:
    units = [row for row in rows_of("units/tiny-masks.md") if SHOWN[row["method"]] == row["head"]]
    mine = {
        unit: [row[f"{unit}: exemplars"] for row in units if row["compressor"] == "cim" and row["method"] != "icarl"]
        for unit in ("paper units", "raw bytes", "coded bytes")
    }
    whole = [row["coded bytes: exemplars"] for row in units if row["compressor"] == "none" and row["method"] != "icarl"]
    area, raw, coded = (span(values) for values in mine.values())
    assert said(FINDINGS, "100", area, "area") and said(FINDINGS, raw, "raw bytes")
    assert said(FINDINGS, coded, span(whole), "JPEG bytes")


def test_the_prose_says_what_the_intervals_say() -> None:
    more = "average accuracy: difference [95 %]"
    name = "tiny-masks/tables/differences.md"
    (full,) = rows_of(name, method="icarl", compressor="full", head="nme", against="none")
    assert said(FINDINGS, "iCaRL's", full[more].split()[0].lstrip("-"), "points", "significant")
    assert full["average accuracy: significant at 95 %"] == "yes"
    (replay,) = rows_of(name, method="replay", compressor="class_activation", head="nme", against="none")
    assert (replay["average accuracy: significant at 95 %"], replay["last accuracy: significant at 95 %"]) == (
        "yes",
        "no",
    )
    against = [row for row in rows_of(name, against="class_activation") if SHOWN[row["method"]] == row["head"]]
    beyond = [
        (row["method"], row["compressor"], metric)
        for row in against
        for metric in ("average accuracy", "last accuracy")
        if row["compressor"] in BOXES and row[f"{metric}: significant at 95 %"] == "yes"
    ]
    assert beyond == [("foster", "cim", "last accuracy")]
    shares = [row["mask level, time (%)"] for row in rows_of("tiny-masks/tables/boxes.md", compressor="cim")]
    assert said(FINDINGS, span(shares), "training time")


def test_the_prose_says_what_the_default_suite_says() -> None:
    """By the head that each host is read by."""
    heads = {"icarl": "nme", "lucir": "cosine", "foster": "teacher"}
    rows = [
        row
        for method, head in heads.items()
        for row in rows_of("reference/digits/tables/differences.md", method=method, head=head)
    ]
    gains = [float(row["last accuracy: difference [95 %]"].split()[0]) for row in rows if row["against"] == "none"]
    for page in (README, FINDINGS):
        assert said(page, f"{min(gains):.0f} to {max(gains):.0f}", "points", "last accuracy")
    significant = [row for row in rows if row["last accuracy: significant at 95 %"] == "yes"]
    assert {row["against"] for row in significant} == {"none"}  # none of CIM against class activation
    assert len(significant) == 5  # all but iCaRL's with class activation


def test_the_prose_says_what_larger_digits_say() -> None:
    last = {
        row["compressor"]: float(row["last accuracy (%)"].split()[0])
        for row in rows_of("reference/embedded/tables/comparison.md", method="replay", head="nme")
    }
    for page in (FINDINGS,):
        assert said(page, f"{last['none']:.0f} to {last['class_activation']:.0f} %", "last accuracy")
