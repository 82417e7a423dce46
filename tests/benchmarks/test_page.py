"""The report page without a browser: its numbers, its words, its bytes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from torchvision.io import write_png

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report import page_tables
from cimbench.benchmarks.report.page import PICTURE_BYTES, contents, page, pictures, write_page
from cimbench.benchmarks.report.suite_report import first_cells, write_report
from cimbench.benchmarks.suite.config import Suite
from tests.benchmarks.records import record
from tests.conftest import ROOT, textured_images, tiny_suite

THREE_SEEDS = [record(seed, [[8], [4, last - 4]]) for seed, last in ((1, 10), (2, 12), (3, 14))]


class Reading(HTMLParser):
    """Rows of every table by its caption, ids, addresses, and tags left open."""

    VOID = ("meta", "link", "img")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.alts: list[str | None] = []
        self._caption = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.ids += [given["id"] or ""] if "id" in given else []
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "srcset")]
        self.alts += [given.get("alt")] if tag == "img" else []
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "tr" and self._caption:
            self.tables[self._caption].append([])
        if tag in ("th", "td"):
            self.tables[self._caption][-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self._caption = "" if tag == "table" else self._caption

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "caption":
            self._caption = data
            self.tables[data] = []
        elif self.open and self.open[-1] in ("th", "td"):
            self.tables[self._caption][-1][-1] += data


def made(records: list[Record], absent: dict[str, str] | None = None, suite: Suite | None = None) -> str:
    return page(contents(suite or tiny_suite(), records, absent or {}, []))


def test_the_tables_numbers_are_the_records(workspace: Path) -> None:  # noqa: ARG001 - nothing of results/ is shown
    tables = Reading(made(THREE_SEEDS)).tables
    columns, row = tables["Comparison"]
    told = dict(zip(columns, row, strict=True))
    # averages 65, 70 and 75; last 50, 60 and 70: t(2) = 4.302653
    assert told["average accuracy (%)"] == "70.0 ± 5.0"
    assert told["average, 95 % interval"] == f"{70 - 4.302653 * 5 / 3**0.5:.1f} to {70 + 4.302653 * 5 / 3**0.5:.1f}"
    assert told["last accuracy (%)"] == "60.0 ± 10.0"
    assert told["last, 95 % interval"] == "35.2 to 84.8"
    assert told["exemplars"] == "7.0 ± 0.0"
    origin = dict(tables["Provenance"])
    assert origin["commit"] == "0123456789abcdef"
    assert (origin["seeds"], origin["data digest"], origin["cells"]) == ("1, 2, 3", "d", "3 complete")
    assert (origin["versions"], origin["hardware"]) == ("torch 2.8.0", "A processor, 2 threads")


def test_absent_cells_have_their_reason(workspace: Path) -> None:  # noqa: ARG001
    text = made(THREE_SEEDS, {"icarl-none-1": "not run"})
    assert Reading(text).tables["Absent cells"][1:] == [["icarl-none-1", "not run"]]
    assert "Nothing: every cell of the suite's matrix was measured." in made(THREE_SEEDS)


def test_words_of_a_data_set_are_escaped(workspace: Path) -> None:  # noqa: ARG001
    odd = record(1, [[8], [4, 6]])
    odd.config["compressor"] = {"name": '<b>"bold" & sons</b>'}
    odd.config["dataset"] = {**odd.config["dataset"], "name": "<script>alert(1)</script>"}
    text = made([odd], {"<i>cell</i>": "<u>reason</u>"})
    reading = Reading(text)
    assert reading.tables["Comparison"][1][1] == '<b>"bold" & sons</b>'
    assert not re.search(r"<(b|i|u|script)>", text)


def test_the_page_is_whole_and_leaves_for_nowhere(workspace: Path) -> None:  # noqa: ARG001
    text = made(THREE_SEEDS)
    reading = Reading(text)
    assert reading.open == []
    assert len(reading.ids) == len(set(reading.ids))
    assert all(address.startswith(("#", "data:")) for address in reading.addresses)
    assert {address[1:] for address in reading.addresses if address.startswith("#")} <= set(reading.ids)
    assert set(re.findall(r"https?://[^\"' ]+", text)) == {"http://www.w3.org/2000/svg"}
    assert "@import" not in text
    assert re.findall(r"url\((?!#)", text) == []
    assert {"comparison", "absent", "curves", "pareto", "memory", "provenance", "again"} <= set(reading.ids)


def test_the_same_records_give_the_same_bytes(workspace: Path) -> None:
    suite = tiny_suite()
    first = write_page(suite, THREE_SEEDS, {}, []).read_bytes()
    assert write_page(suite, THREE_SEEDS, {}, []).read_bytes() == first
    other = [record(seed, [[8], [4, 5]]) for seed in (1, 2, 3)]
    assert write_page(suite, other, {}, []).read_bytes() != first
    assert (workspace / "results/test/report.html").is_file()


def test_pictures_are_inside_up_to_a_size(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [workspace / f"{number}.png" for number in range(3)]
    for path, image in zip(paths, textured_images(3, 20, 20, 0), strict=True):
        write_png(image, str(path))
    cells = [(path.name, [path, workspace / "absent.png"]) for path in paths]
    whole = pictures("t", "w", cells)
    assert whole is not None
    assert (len(whole.rows), whole.left_out, whole.single) == (3, 0, True)
    assert 2 * PICTURE_BYTES * 4 / 3 < 2.5e6  # galleries and boxes, as written into a page of 3 MB at most
    monkeypatch.setattr("cimbench.benchmarks.report.page.PICTURE_BYTES", 2 * paths[0].stat().st_size + 50)
    part = pictures("t", "w", cells)
    assert part is not None
    assert (len(part.rows), part.left_out) == (2, 1)
    assert pictures("t", "w", [("x", [workspace / "absent.png"])]) is None


def test_galleries_of_the_first_seed_have_words_for_who_does_not_see_them(workspace: Path) -> None:
    suite = tiny_suite(matrix={"seeds": [1, 2, 3]})
    for seed in (1, 2):
        folder = workspace / f"results/test/cells/replay-none/{seed}"
        folder.mkdir(parents=True)
        np.savez(folder / "confusion.npz", linear=np.eye(4))
        for name in ("gallery-phase-1", "boxes-phase-1", "boxes-phase-2"):
            write_png(textured_images(1, 20, 60, seed)[0], str(folder / f"{name}.png"))
    firsts = first_cells(suite, THREE_SEEDS)
    assert [cell.name for cell in firsts] == ["replay-none-1"]
    reading = Reading(page(contents(suite, THREE_SEEDS, {}, firsts)))
    title = "replay + none, seed 1"
    assert reading.alts == [
        f"What the memory keeps: {title}, phase 1",
        f"Boxes and maps: {title}, phase 1",
        f"Boxes and maps: {title}, phase 2",
    ]
    written = write_report(suite, THREE_SEEDS, {})
    assert written[-1] == Path("results/test/report.html")
    assert all(path.is_file() for path in written)
    assert Path("results/test/plots/accuracy-against-bytes.png") in written


def test_throughput_is_shown_where_there_is_one(tmp_path: Path) -> None:
    assert page_tables.throughput(tmp_path) == []
    (tmp_path / "words.md").write_text("No table.\n")
    (tmp_path / "empty.md").write_text("")
    assert page_tables.throughput(tmp_path) == []
    (tmp_path / "cpu.md").write_text(
        "A machine.\n\n| step | images/s |\n|:---|---:|\n| herd | 1,200 |\n\nMade by `x`.\n"
    )
    (found,) = page_tables.throughput(tmp_path)
    assert (found.title, found.columns, found.rows) == ("Throughput, cpu", ("step", "images/s"), (("herd", "1,200"),))
    assert (found.numbers, found.notes) == ((False, True), ("A machine.", "Made by x."))
    real = {table.title: table for table in page_tables.throughput(ROOT / "results/throughput")}["Throughput, cpu"]
    assert real.columns[:3] == ("step", "input", "images/s")
    assert all(len(row) == len(real.columns) for row in real.rows)
