"""The documents are true: their steps work, their numbers are in results/, their files exist."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from cimbench.benchmarks import registry
from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from cimbench.datasets.stream.augment import normalise
from cimbench.methods.compression.cim import CIM, CIMParameters
from cimbench.methods.compression.compressor import EpochDone, compressed
from cimbench.methods.compression.exemplars.codecs import RAW
from cimbench.methods.networks.network import Network, NetworkParameters
from cimbench.methods.networks.rational import start_values
from tests.benchmarks.workplace import furnish
from tests.committed import committed, committed_table
from tests.conftest import ROOT, coloured_store, composed, table_rows, tiny_suite
from tests.methods.cells import Silent

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
README = (ROOT / "README.md").read_text()
DECISIONS = (ROOT / "docs/decisions.md").read_text()
FINDINGS = (ROOT / "results/README.md").read_text()


@pytest.fixture
def examples(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """CONTRIBUTING's code blocks as importable modules; kind -> module name."""
    found: dict[str, str] = {}
    pattern = r"<!-- test: (\w+) (\w+)\.py -->\n\s*```python\n(.*?)\n\s*```"
    for kind, name, block in re.findall(pattern, CONTRIBUTING, re.S):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(block))
        found[kind] = name
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield found
    for name in found.values():
        sys.modules.pop(name, None)


def test_the_steps_for_a_compressor_and_a_method(
    examples: dict[str, str], workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(registry.COMPRESSORS, "left_half", f"{examples['compressor']}:LeftHalf")
    monkeypatch.setitem(registry.METHODS, "half", f"{examples['method']}:HalfSmoothed")
    sections = {"compressors": {"left_half": {"ratio": 4.0}}, "methods": {"half": {"smoothing": 0.2}}}
    suite = furnish(workspace, budget={"exemplars_per_class": 6.0}, **sections)
    record = run_cell(find_cell(suite, "half", "left_half", 3), Silent())
    assert record.complete
    account = record.phases[-1].memory
    assert account["mean_box_area"] == 0.5
    plain = run_cell(find_cell(suite, "half", "none", 3), Silent()).phases[-1].memory
    assert sum(account["exemplars"]) > sum(plain["exemplars"])
    assert account["budget"] == plain["budget"]


def test_the_steps_for_a_data_set(examples: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(registry.SOURCES, "two_colours", f"{examples['source']}:catalogue")
    suite = tiny_suite(dataset={"source": "two_colours", "parameters": {"images": 6}})
    catalogue, parameters = suite.dataset.build_source()
    store = prepare(catalogue(parameters, tmp_path, no_progress), PrepareParameters(), tmp_path / "store", tmp_path)
    assert store.labels.bincount().tolist() == [6, 6]
    assert int(store.is_test.sum()) == 4
    assert torch.equal(store.image(3)[1], torch.full((16, 16), 103, dtype=torch.uint8))


def test_the_readme_shows_every_cell_of_the_default_suite() -> None:
    """That its rows are the measured ones, tests/test_findings.py compares."""
    block = README.split("<!-- from: results/reference/digits/")[1].split("-->", 1)[1].split("<!-- end -->")[0]
    suite = composed()["matrix"]
    named = {(method, compressor) for method in suite["methods"] for compressor in suite["compressors"]}
    named |= {(bound, "none") for bound in suite["bounds"]}
    assert {(row["method"], row["compressor"]) for row in table_rows(block)} == named


@pytest.mark.parametrize(
    "suite", ["digits", "embedded", *(f"embedded-{kind}" for kind in ("full", "rivals", "coded")), "tiny"]
)
def test_committed_tables_come_from_a_commit(suite: str) -> None:
    """Numbers of a changed tree could not be measured again."""
    assert "with changes" not in committed_table(suite)


def test_the_bounds_in_the_decisions_are_the_measured_ones() -> None:
    for suite, method in itertools.product(("digits", "embedded"), ("joint", "finetune")):
        rows = {row["method"]: row for row in table_rows(committed_table(suite))}
        assert f"{method.capitalize()} {rows[method]['last accuracy (%)']} %" in DECISIONS


@pytest.mark.parametrize(
    "document",
    [
        "README.md",
        "CONTRIBUTING.md",
        "results/README.md",
        *(f"docs/{path.name}" for path in sorted((ROOT / "docs").glob("*.md"))),
    ],
)
def test_named_files_exist(document: str) -> None:
    text = (ROOT / document).read_text()
    for path in re.findall(r"`((?:benchmarks|methods|datasets|conf|tests)/[\w/.-]+)`", text):
        assert (ROOT / path).exists(), path
    for path in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert ((ROOT / document).parent / path).exists(), path


COMPRESSION = (ROOT / "docs/compression.md").read_text()


def test_every_compressor_has_its_picture_and_section() -> None:
    for name in registry.COMPRESSORS:
        assert f"### {name}\n" in COMPRESSION
        assert f"![{name}](../results/compression/{name}.jpg)" in COMPRESSION
        assert (ROOT / f"results/compression/{name}.jpg").read_bytes()[:3] == b"\xff\xd8\xff"
        assert f"| {name} " in committed("results/compression/costs.md")


def test_the_two_units_side_by_side_are_the_measured_ones() -> None:
    tables = {suite: table_rows(committed_table(suite)) for suite in ("embedded", "embedded-rivals", "embedded-coded")}

    def measured(suite: str, compressor: str) -> list[str]:
        wanted = {"method": "replay", "compressor": compressor, "head": "nme"}
        (row,) = [row for row in tables[suite] if wanted.items() <= row.items()]
        return [row["exemplars"], row["last accuracy (%)"]]

    block = FINDINGS.split("<!-- units: replay, nme -->")[1].split("<!-- end of units -->")[0]
    printed = [[cell.strip() for cell in line.strip("|").split("|")] for line in block.strip().splitlines()[2:]]
    assert len(printed) == 5
    for compressor, *numbers in printed:
        raw = "embedded" if compressor in ("none", "class_activation") else "embedded-rivals"
        assert numbers == [*measured(raw, compressor), *measured("embedded-coded", compressor)]


def test_the_documents_say_what_the_format_saves() -> None:
    rows = {
        row["bytes"]: row
        for row in table_rows(committed("results/compression/part-bytes.md"))
        if "tiny" in row["pictures"]
    }
    raw, jpeg = (
        [f"{float(rows[name][column]):.2f}" for column in ("with waste", "as stored")]
        for name in ("raw", "jpeg, quality 90")
    )
    findings = " ".join(FINDINGS.split())
    assert f"took {raw[0]} of the raw bytes of the whole and {jpeg[0]} of its JPEG bytes" in findings
    assert f"now they take {raw[1]} and {jpeg[1]}" in findings
    assert f"{jpeg[0]} of the whole picture's JPEG bytes, now {jpeg[1]}" in " ".join(committed("README.md").split())


def test_the_documents_say_what_bytes_were_measured() -> None:
    rows = {
        (row["box"], row["way"], float(row["eta"])): row
        for row in table_rows(committed("results/compression/bytes-against-eta.md"))
    }
    jpeg, paper = rows["box", "JPEG, quality 90, nearest", 4.0], rows["box", "paper units", 4.0]
    raw = rows["box", "raw pixels", 4.0]
    lowest, highest, mean = (f"{float(jpeg[name]):.2f}" for name in ("lowest", "highest", "mean"))
    assert f"from {lowest} to {highest} of the whole" in COMPRESSION
    assert f"{mean} on average" in COMPRESSION
    assert f"{float(paper['mean']):.2f} in paper units" in COMPRESSION
    assert f"{float(raw['mean']):.1f} of the raw bytes and {float(jpeg['mean']):.1f} of the JPEG bytes" in COMPRESSION
    assert (
        float(rows["box", "JPEG, quality 90, nearest", 1.5]["highest"]) > 1
    )  # a box and the small image beyond the image
    for (box, way, eta), row in rows.items():
        in_area = float(rows[box, "paper units", eta]["mean"])
        if way == "raw pixels":
            assert abs(float(row["mean"]) - in_area) < 0.003
        elif box == "box" and way.startswith("JPEG"):
            assert float(row["mean"]) > in_area


def test_the_own_host_of_the_page_on_cim_learns_masks() -> None:
    """Its code as it stands, on images and a network of seconds."""
    (block,) = re.findall(r"<!-- test: own host -->\n```python\n(.*?)```", (ROOT / "docs/cim.md").read_text(), re.S)
    assert 15 <= len([line for line in block.splitlines() if line.strip()]) <= 25
    parameters = NetworkParameters(architecture="resnet8", stem="strided", width=4, input_side=16)
    store = coloured_store(classes=2)
    names: dict[str, Any] = {"parameters": parameters, "store": store, "classes": 2, "epochs": 3}
    names |= {"random": torch.Generator().manual_seed(0), "torch": torch, "functional": torch.nn.functional}
    things = (CIM, CIMParameters, EpochDone, Network, RAW, compressed, normalise)
    names |= {getattr(thing, "__name__", "RAW"): thing for thing in things}
    exec(compile(block, "docs/cim.md", "exec"), names)
    assert len(names["exemplars"]) == len(store)
    network = names["network"]
    assert not torch.equal(network.rational(0), start_values(7))
    assert float(names["loss"](*names["draw"](24)).detach()) < 0.4


def test_every_erratum_names_its_option_and_a_test_that_exists() -> None:
    rows = table_rows((ROOT / "docs/errata.md").read_text())
    sources = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    params = composed()
    assert len(rows) >= 17
    for row in rows:
        assert f"def {row['test'].strip('`')}(" in sources, row["test"]
        if row["option"] != "-":
            *parents, last = row["option"].strip("`").split(".")
            section: Any = params
            for parent in parents:
                section = section[parent]
            known = set(section) | option_names(row["option"].strip("`"))
            assert last in known, row["option"]


def option_names(option: str) -> set[str]:
    """Parameters of a method's or compressor's dataclass, which params.yaml need not name."""
    kind, name = [*option.split("."), ""][:2]
    table = {"methods": registry.METHODS, "compressors": registry.COMPRESSORS}.get(kind)
    if table is None:
        return set()
    return {field.name for field in dataclasses.fields(registry.load(kind, table, name)[1])}


def test_every_ablation_row_is_a_compressor() -> None:
    rows = table_rows((ROOT / "docs/cim.md").read_text())
    assert [row["row"] for row in rows] == [str(number) for number in range(1, 12)]
    assert all(row["compressor"].strip("`") in registry.COMPRESSORS for row in rows)


def test_every_dependency_has_its_reason() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    table = CONTRIBUTING.split("## Dependencies")[1]
    for requirement in project["dependencies"]:
        assert re.split(r"[\[>=<]", requirement)[0] in table, requirement


def test_the_lock_is_pinned_by_hash_and_names_no_address() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    requirements = re.findall(r"^[\w.-]+==.*?(?=^[\w.-]+==|\Z)", text, re.S | re.M)
    assert len(requirements) > 50
    assert all("--hash=sha256:" in requirement for requirement in requirements)
