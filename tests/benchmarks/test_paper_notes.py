"""What stands beside the numbers of a paper's table: contradictions, what is left out, other codes' logs."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cimbench.benchmarks.imported.imported_run import ImportedRun, save_imported
from cimbench.benchmarks.report.papers.cells import paper_cells
from cimbench.benchmarks.report.papers.tables import reading_frame
from tests.benchmarks.paper_records import cell_of, record_of, table_of
from tests.conftest import ROOT


@pytest.fixture(autouse=True)
def in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    monkeypatch.chdir(tmp_path)
    yield


def notes_at(name: str, row: str, line: str, setting: str) -> tuple[str, list[str]]:
    """The text of a cell ("ours", "published", ...) and the footnotes that it names."""
    table = table_of(name)
    frame, notes = reading_frame(table, paper_cells(table))
    place = frame.index[frame["method"] == row][0]
    while frame[" "][place] != line:
        place += 1
    text = frame[setting][place]
    return text, [notes[int(number) - 1] for number in re.findall(r"\[(\d+)\]", text)]


@pytest.mark.parametrize(
    ("name", "row", "setting", "words"),
    [
        ("paper-table1", "FOSTER (student)", "ImageNet-100 LFS 20", "72.37 for the same baseline in its ablation"),
        ("paper-table1", "DER", "ImageNet-100 LFS 10", "77.18"),
        ("paper-ablation", "1 Baseline", "ImageNet-100 LFS 20", "74.49 for the same baseline"),
        ("paper-ablation", "5 Center Acti.", "Food-101 LFS 10", "as large as class activation's"),
        ("paper-table2", "FOSTER w/ CIM (teacher)", "M 5k N 10 average", "59.48 - 54.72"),
        ("paper-sizes", "FOSTER w/ CIM (teacher)", "middle", "71.10 - 68.40, differ by 2.70"),
    ],
)
def test_a_contradiction_is_named_at_its_cell(name: str, row: str, setting: str, words: str) -> None:
    _, notes = notes_at(name, row, "published", setting)
    assert any(words in note for note in notes)
    others = [other.name for other in table_of(name).settings if other.name != setting]
    if words in ("77.18", "59.48 - 54.72"):
        assert not any(words in note for other in others for note in notes_at(name, row, "published", other)[1])


def imported(curve: tuple[float, ...], **other: Any) -> ImportedRun:
    told = {
        "source": "CIM-CIL",
        "log_name": "foster.log",
        "log_digest": "0" * 64,
        "method": "foster",
        "compressor": "cim",
        "head": "teacher",
        "dataset": "food101",
        "protocol": "lfs",
        "phases": 10,
        "seed": 1993,
        "exemplars_total": 2020,
    }
    return ImportedRun(curve=curve, **{**told, **other})


# a user's log of the released code (CIM-CIL, issue 7); its mean is 74.64
LOGGED = (91.49, 86.99, 82.3, 77.33, 74.91, 71.95, 68.52, 65.94, 64.12, 62.86)


def test_imported_runs_stand_in_a_line_of_their_own() -> None:
    save_imported(imported(LOGGED))
    save_imported(imported(LOGGED[:4], log_name="cut.log", seed=1))
    save_imported(imported(LOGGED, log_name="small.log", exemplars_total=500, seed=2))
    cell = cell_of("paper-table1", "FOSTER w/ CIM (teacher)", "Food-101 LFS 10")
    assert cell.values == () and cell.mean is None and cell.gap is None
    assert cell.imported_values == (pytest.approx(74.641),)
    frame, notes = reading_frame(table_of("paper-table1"), paper_cells(table_of("paper-table1")))
    place = frame.index[frame["method"] == "FOSTER w/ CIM (teacher)"][0] + 3
    text = frame["Food-101 LFS 10"][place]
    assert frame[" "][place] == "imported" and text.startswith("CIM-CIL 74.6 (1) [") and "small.log" not in str(notes)
    said = [notes[int(number) - 1] for number in re.findall(r"\[(\d+)\]", text)]
    assert said[0].endswith("Imported from foster.log (CIM-CIL, seed 1993), not run here.")
    assert said[1].endswith("cut.log stops after 4 of 10 phases and is left out.")
    assert list(frame[" "]).count("imported") == 1


def test_what_is_left_out_of_a_mean_is_named() -> None:
    """A damaged seed and one of other pictures stand in a footnote, not in the mean."""
    for seed, digest in ((1993, "0"), (1994, "f"), (1995, "0")):
        path = record_of("imagenet100", "foster", "none", seed, [[90], [90, 60]], data_digest=digest * 64)
    path.write_bytes(b"\xff\xfe")
    cell = cell_of("paper-table1", "FOSTER (teacher)", "ImageNet-100 LFS 10")
    assert len(cell.values) == 1
    assert "foster-none-1994: measured on other pictures than foster-none-1993" in cell.note
    assert "foster-none/1995/record.json: is damaged" in cell.note
    text, notes = notes_at("paper-table1", "FOSTER (teacher)", "ours", "ImageNet-100 LFS 10")
    assert text.startswith("82.5 (1) [") and notes == [f"[{notes[0].split(']')[0][1:]}] Left out: {cell.note}."]
