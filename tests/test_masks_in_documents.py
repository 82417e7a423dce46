"""The numbers on masks in docs/cim.md and README.md are those in results/."""

from __future__ import annotations

import re

import pytest

from tests.committed import committed, committed_table
from tests.conftest import ROOT, table_rows

PAGE = (ROOT / "docs/cim.md").read_text()
LAST, MORE = "last accuracy (%)", "last accuracy: difference [95 %]"
SHOWN = ("exemplars", "last accuracy")
Row = dict[str, str]


def printed(name: str) -> list[Row]:
    """The rows of a marked table, their columns numbered since two may have one name."""
    block = PAGE.split(f"<!-- masks: {name} -->")[1].split("<!-- end of masks -->")[0]
    lines = [line.strip().strip("|").split("|") for line in block.strip().splitlines()[2:]]
    return [{str(number): cell.strip() for number, cell in enumerate(line)} for line in lines]


def measured(suite: str, name: str, **wanted: str) -> Row:
    """The row of a committed table that has these values."""
    found = [row for row in table_rows(committed_table(suite, name)) if wanted.items() <= row.items()]
    assert len(found) == 1, (suite, name, wanted)
    return found[0]


def more_than_plain_boxes(suite: str, method: str, compressor: str, head: str) -> str:
    """What a compressor is more than class_activation; for none the opposite of what that is more than none."""
    wanted = {"method": method, "head": head}
    if compressor != "none":
        return measured(suite, "differences", compressor=compressor, against="class_activation", **wanted)[MORE]
    opposite = measured(suite, "differences", compressor="class_activation", against="none", **wanted)[MORE]
    mean, low, high = map(float, re.findall(r"[+-]\d+\.\d", opposite))
    return f"{-mean:+.1f} [{-high:+.1f}, {-low:+.1f}]"


def test_masks_on_the_default_images() -> None:
    rows = printed("embedded")
    assert [row["0"] for row in rows] == ["none", "full", "center_box", "class_activation", "cim"]
    for row in rows:
        compressor = row["0"]
        for place, (method, head) in ((1, ("replay", "nme")), (3, ("foster", "teacher"))):
            own = measured("embedded-masks", "comparison", method=method, compressor=compressor, head=head)
            assert row[str(place)] == own[LAST]
            plain = compressor == "class_activation"
            more = "-" if plain else more_than_plain_boxes("embedded-masks", method, compressor, head)
            assert row[str(place + 1)] == more
        boxes = measured("embedded-masks", "boxes", method="replay", compressor=compressor)
        columns = ("box (%)", "overlap (%)", "exemplars a class")
        assert [row["5"], row["6"], row["7"]] == [boxes[name] for name in columns]


@pytest.mark.parametrize("place", range(3))
def test_why_masks_do_not_pay_there(place: int) -> None:
    row, suite = printed("why")[place], "embedded-masks-why"
    compressor = row["0"].split(",")[0]
    assert row["1"] == more_than_plain_boxes(suite, "replay", compressor, "nme")
    boxes = measured(suite, "boxes", compressor=compressor)
    assert [row["2"], row["3"], row["4"]] == [boxes[n] for n in ("box (%)", "overlap (%)", "exemplars a class")]


def test_what_is_said_of_them_is_what_intervals_say() -> None:
    """Significant are full-image downsampling with FOSTER's teacher and ground-truth boxes with nearest means alone."""
    beyond = "last accuracy: significant at 95 %"

    def noise(suite: str, method: str, compressor: str, head: str) -> str:
        wanted = {"method": method, "compressor": compressor, "head": head, "against": "class_activation"}
        return measured(suite, "differences", **wanted)[beyond]

    assert noise("embedded-masks", "foster", "full", "teacher") == "yes"
    assert noise("embedded-masks-why", "replay", "object_box", "nme") == "yes"
    for compressor in ("center_box", "cim"):
        for head in ("nme", "linear"):
            assert noise("embedded-masks", "replay", compressor, head) == "no"
        for head in ("nme", "student", "teacher"):
            assert noise("embedded-masks", "foster", compressor, head) == "no"
    assert {noise("embedded-masks-why", "replay", "random_box", head) for head in ("nme", "linear")} == {"no"}
    more = measured("embedded-masks-why", "boxes", compressor="cim")["phi"]
    usual = measured("embedded-masks", "boxes", method="replay", compressor="cim")["phi"]
    assert f"{float(more.split()[0]) / float(usual.split()[0]):.1f} times as far" in PAGE


def test_units_on_photographs() -> None:
    rows = {
        (f"{row['method']}, {row['head']}", row["compressor"]): row
        for row in table_rows(committed("results/units/tiny-masks.md"))
    }
    columns = [f"{unit}: {what}" for unit in ("paper units", "raw bytes", "coded bytes") for what in SHOWN]
    for row in printed("units"):
        mine = rows[row["0"], row["1"]]
        assert [row[str(number)] for number in range(2, 8)] == [mine[name] for name in columns]
    assert len(printed("units")) == 4
    for host in ("replay, nme", "foster, teacher"):  # fewer than whole pictures
        held = [float(rows[host, compressor]["coded bytes: exemplars"].split()[0]) for compressor in ("cim", "none")]
        assert held[0] < held[1]


def test_no_unit_shows_a_significant_difference() -> None:
    for row in printed("units"):
        if row["1"] == "cim":
            for low, high in re.findall(r"\[([+-][\d.]+), ([+-][\d.]+)\]", " ".join(row.values())):
                assert float(low) <= 0 <= float(high), row


@pytest.mark.parametrize("place", range(3))
def test_boxes_on_photographs(place: int) -> None:
    row = printed("boxes")[place]
    own, fosters = (measured("tiny-masks", "boxes", method=m, compressor=row["0"]) for m in ("replay", "foster"))
    assert [row["1"], row["2"], row["3"]] == [own["box (%)"], own["overlap (%)"], fosters["overlap (%)"]]


def test_speeds_in_the_documents_are_the_measured_ones() -> None:
    rows = {(row["step"], row["input"]): row for row in table_rows(committed("results/throughput/cpu.md"))}

    def shares(step: str) -> list[str]:
        return [row["share"] for (name, _), row in rows.items() if name == step]

    (masks,) = [row for (name, _), row in rows.items() if name == "mask level, at once"]
    assert f"{masks['memory']} of it, at {masks['share']} of its speed" in PAGE
    page = (ROOT / "docs/data.md").read_text()
    originals, reduced = shares("epoch by ImageFolder + DataLoader")
    assert [row["speed"] for row in table_rows(page.split("## How fast")[1])] == [
        shares("epoch")[0],
        reduced,
        originals,
    ]
    for step, words in (("prepare", "prepared with"), ("stream", "streamed\nwith")):
        (given,) = [name for kind, name in rows if kind == f"{step} a large set"]
        (megabytes,) = re.findall(r"at most ([\d,]+) MB", given)
        assert f"{words} {float(megabytes.replace(',', '')) / 1000:.1f} GB" in page
