"""Published numbers: what counts as published, and which one stands for a row."""

from __future__ import annotations

import csv
import dataclasses
import os
import re
from pathlib import Path

import pytest

from cimbench.benchmarks.report.papers.published_numbers import NUMBERS, PublishedName, find_published, load_published
from cimbench.benchmarks.report.papers.tables import latex_text
from cimbench.datasets.errors import InputError

HEADER = "method,dataset,protocol,phases,budget,metric,value,network,source,seen_at,confidence\n"
SHARED = Path(os.environ.get("CIMBENCH_SHARED", "../shared")) / "published.csv"
DER = PublishedName(method="DER", source="CIM: ")


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.shared_data
@pytest.mark.skipif(not SHARED.is_file(), reason="published.csv of CIMBENCH_SHARED is not there")
def test_the_numbers_are_those_that_were_collected() -> None:
    """All but where a stored copy was read, which says nothing to a reader."""
    ours, theirs = rows(NUMBERS), rows(SHARED)
    for mine, other in zip(ours, theirs, strict=True):
        assert {k: v for k, v in mine.items() if k != "seen_at"} == {k: v for k, v in other.items() if k != "seen_at"}
        words, told = (re.findall(r"\w+", row["seen_at"]) for row in (mine, other))
        left_out = set(told) - set(words)
        assert set(words) <= set(told) and (not left_out or "stored" in left_out), mine


def test_only_what_was_seen_counts() -> None:
    every = rows(NUMBERS)
    seen = [row for row in every if row["confidence"].startswith("seen")]
    assert len(load_published()) == len(seen) < len(every)


def test_a_number_without_a_source_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(f"{HEADER}DER,Food-101,LFS,5,2020 total,avg_top1,73.88,ResNet-18,,poster,seen in the source\n")
    with pytest.raises(InputError, match="line 2: DER has no source"):
        load_published(path)
    path.write_text(f"{HEADER}DER,Food-101,LFS,5,2020 total,avg_top1,73.88,ResNet-18,CIM,,seen in the source\n")
    load_published.cache_clear()
    with pytest.raises(InputError, match="line 2: DER has no seen_at"):
        load_published(path)


@pytest.mark.parametrize(("value", "words"), [("7x", "could not convert"), ("nan", "finite"), ("inf", "finite")])
def test_a_value_that_is_no_number_is_refused(tmp_path: Path, value: str, words: str) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text(f"{HEADER}DER,Food-101,LFS,5,2020 total,avg_top1,{value},ResNet-18,CIM,poster,seen\n")
    with pytest.raises(InputError, match=words):
        load_published(path)


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "numbers.csv"
    path.write_text("method,value\nDER,73.88\n")
    with pytest.raises(InputError, match="has no column dataset"):
        load_published(path)


def test_a_data_set_whose_name_begins_alike_is_another() -> None:
    """ImageNet-1000 is not ImageNet-100."""
    found = find_published(
        load_published(),
        [PublishedName(method="iCaRL-NME", source="LUCIR")],
        dataset="ImageNet-100",
        protocol="LFH",
        phases=5,
        metric="avg_top1",
    )
    assert found is not None and found.value == 65.04


def test_the_first_name_that_has_a_number_wins_and_none_gives_none() -> None:
    names = [PublishedName(method="iCaRL-NME", source="LUCIR"), PublishedName(method="iCaRL", source="Mnemonics")]
    asked = {"dataset": "ImageNet-100", "protocol": "LFH", "metric": "avg_top1"}
    values = {n: find_published(load_published(), names, phases=n, **asked) for n in (10, 25, 20)}
    assert {n: found and found.value for n, found in values.items()} == {10: 59.53, 25: 52.97, 20: None}


def test_two_values_for_one_cell_are_refused() -> None:
    numbers = [n for n in load_published() if n.method == "DER" and n.source.startswith("CIM: ")]
    changed = dataclasses.replace(numbers[0], value=1.0)
    with pytest.raises(InputError, match=r"has several values: 73.88 .*, 1 "):
        find_published([*numbers, changed], [DER], dataset="Food-101", protocol="LFS", phases=5, metric="avg_top1")


def test_the_budget_is_part_of_the_setting() -> None:
    names = [PublishedName(method="FOSTER", source="CIM: ")]
    asked = {"dataset": "ImageNet-1000", "protocol": "LFS", "phases": 10, "metric": "avg_top1"}
    found = [
        find_published(load_published(), names, budget=budget, **asked) for budget in ("20000 total", "5000 total")
    ]
    assert [number and number.value for number in found] == [68.34, 54.72]


def test_latex_prints_what_it_would_read_as_its_own() -> None:
    assert latex_text("50 % of a_b & c#d ± 1") == r"50 \% of a\_b \& c\#d $\pm$ 1"
