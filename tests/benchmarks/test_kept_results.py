"""No experiment destroys results: another configuration keeps what was there, and the way back finds it again."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.planning.plan import make_plan
from cimbench.benchmarks.records.kept_results import kept_records, place_of
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Cell, find_cell
from cimbench.methods.training import trainer as optimisation
from tests.benchmarks.workplace import furnish
from tests.methods.cells import Silent


@pytest.fixture
def learnt(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Images learnt, batch by batch."""
    seen: list[int] = []
    real = optimisation.augment

    def counted(images, *rest):  # type: ignore[no-untyped-def]
        seen.append(len(images))
        return real(images, *rest)

    monkeypatch.setattr(optimisation, "augment", counted)
    return seen


def cell_of(workspace: Path, epochs: int) -> Cell:
    return find_cell(furnish(workspace, training={"base_epochs": epochs, "epochs": epochs}), "replay", "none", 3)


def again(cell: Cell) -> Record:
    return run_cell(cell, Silent(), reuse=True)


def started(record: Record) -> tuple[str, str]:
    """Of which run a record is."""
    return record.run_id, record.provenance["started"]


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_what_if_and_the_way_back(workspace: Path, learnt: list[int]) -> None:
    usual = cell_of(workspace, 2)
    first = again(usual)
    before = content(usual.folder)
    other = again(cell_of(workspace, 1))
    assert other.run_id != first.run_id
    assert content(place_of(usual.folder, first.run_id)) == before
    learnt.clear()
    back = again(cell_of(workspace, 2))
    assert (learnt, started(back)) == ([], started(first))
    assert content(usual.folder) == before
    assert [record.run_id for record in kept_records(usual.folder).values()] == [other.run_id]
    assert started(again(cell_of(workspace, 1))) == started(other)
    assert learnt == []


def test_the_plan_says_that_it_comes_back(workspace: Path) -> None:
    again(cell_of(workspace, 2))
    again(cell_of(workspace, 1))
    usual = cell_of(workspace, 2)
    (planned,) = make_plan(usual.suite, [usual])
    assert (planned.state, planned.left, planned.seconds) == ("kept: comes back when it is run", 0, 0.0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cimbench.benchmarks.planning.plan.source_digest", lambda *_: "others")
        assert make_plan(usual.suite, [usual])[0].state.startswith("to do: measured with another configuration")


def test_what_is_complete_is_not_learnt_again(workspace: Path, learnt: list[int]) -> None:
    cell = cell_of(workspace, 1)
    first = again(cell)
    learnt.clear()
    assert started(again(cell)) == started(first)
    assert learnt == []


@pytest.mark.parametrize("damage", ["{", "other number"])
def test_a_damaged_record_is_learnt_again_and_not_kept(damage: str, workspace: Path, learnt: list[int]) -> None:
    cell = cell_of(workspace, 1)
    first = again(cell)
    path = cell.folder / "record.json"
    told = json.loads(path.read_text())
    told["phases"][0]["memory"]["exemplars"] = 99
    path.write_text(damage if damage == "{" else json.dumps(told))
    learnt.clear()
    anew = again(cell)
    assert learnt != []
    assert [phase.correct for phase in anew.phases] == [phase.correct for phase in first.phases]
    assert kept_records(cell.folder) == {}
    assert started(load_record(cell.folder)) == started(anew)


def test_a_kept_record_of_another_identity_than_its_place_says_is_not_taken(workspace: Path, learnt: list[int]) -> None:
    usual = cell_of(workspace, 2)
    first = again(usual)
    other = again(cell_of(workspace, 1))
    place_of(usual.folder, first.run_id).rename(place_of(usual.folder, "elsewhere"))
    again(cell_of(workspace, 2))
    place_of(usual.folder, other.run_id).rename(place_of(usual.folder, "aside"))
    place_of(usual.folder, "elsewhere").rename(place_of(usual.folder, other.run_id))
    learnt.clear()
    assert again(cell_of(workspace, 1)).run_id == other.run_id
    assert learnt != []


def test_the_verbs_say_so(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    again(cell_of(workspace, 1))
    cell = cell_of(workspace, 2)
    again(cell)
    parameters = str(workspace / "params.json")
    given = ["--params", parameters, "run", "--method", "replay", "--compressor", "none", "--seed", "3"]
    assert main([*given, "--no-tracking"]) == 0
    assert "replay-none/3: 1 cell measured already" in capsys.readouterr().out
    assert main(["--params", parameters, "cells"]) == 0
    told = capsys.readouterr().out
    assert f"kept: {place_of(cell.folder, '')}" in told
    assert "training.base_epochs is 1 there and 2 here" in told
    assert main([*given, "--keep-model", "--no-tracking"]) == 2
    assert "its model was not kept; to learn it again, move" in capsys.readouterr().err
