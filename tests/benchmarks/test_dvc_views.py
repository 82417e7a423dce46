"""`dvc metrics` and `dvc plots` over a suite's files, with the templates in .dvc/plots/, without a network."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import yaml

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.report.measurements import metrics_tree, phases_table
from tests.benchmarks.invented import invent
from tests.benchmarks.project import run
from tests.benchmarks.records import TWO_SEEDS, record
from tests.benchmarks.workplace import furnish
from tests.conftest import ROOT

BEFORE, AFTER = ([9, 4], [9, 2]), ([9, 6], [9, 4])  # right answers of the two seeds
TITLES = ["accuracy against bytes", "accuracy over phases", "exemplars over phases"]


def test_metrics_by_hand() -> None:
    """Averages 65 and 85, last 50 and 70; 11001 and 11002 bytes of seven exemplars."""
    found = metrics_tree(TWO_SEEDS)["replay"]["none"]["linear"]
    assert (found["average_accuracy"], found["last_accuracy"], found["forgetting"]) == (75.0, 60.0, 40.0)
    assert (found["exemplars"], found["bytes_held"], found["model_bytes"], found["seeds"]) == (7.0, 11001.5, 5000.0, 2)


def test_phases_by_hand() -> None:
    table = phases_table([*TWO_SEEDS, record(1, [[8], [4, 6]], "joint")])
    assert table["accuracy"].tolist() == [80, 50, 100, 70, 80, 50]
    assert table["average_so_far"].tolist() == [80, 65, 100, 85, 80, 65]
    assert table["kept_bytes"].tolist() == [16001, 16001, 16002, 16002, "", ""]  # joint keeps every image instead
    assert table["seed"].tolist() == [1, 1, 2, 2, 1, 1]


def report(folder: Path, answers: tuple[list[int], ...]) -> None:
    suite = furnish(folder, matrix={"seeds": [3, 4], "bounds": []})
    for cell, right in zip(suite.cells(), answers, strict=True):
        invent(cell, right)
    assert main(["--params", "params.json", "report"]) == 0


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A repository with BEFORE committed and AFTER in the working tree."""
    folder, back = tmp_path_factory.mktemp("views"), Path.cwd()
    os.chdir(folder)
    try:
        (folder / ".dvc").mkdir()
        shutil.copy(ROOT / ".dvc/config", folder / ".dvc")
        shutil.copytree(ROOT / ".dvc/plots", folder / ".dvc/plots")
        shutil.copy(ROOT / "dvc.yaml", folder)
        report(folder, BEFORE)
        (folder / "params.yaml").write_text(yaml.safe_dump(json.loads((folder / "params.json").read_text())))
        (folder / ".gitignore").write_text("/data/\n/.dvc/tmp/\n/.dvc/cache/\n")
        run(folder, "git", "init", "-q")
        run(folder, "git", "add", "-A")
        run(folder, "git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "before")
        report(folder, AFTER)
        yield folder
    finally:
        os.chdir(back)


def answered(project: Path, *words: str) -> Any:
    """The JSON that a dvc command prints, its warnings left out."""
    text = run(project, "dvc", *words, "--json")
    return json.JSONDecoder().raw_decode(text[text.index("{") :])[0]


@pytest.mark.slow
def test_metrics_diff_says_what_has_changed(project: Path) -> None:
    """Of twenty images 8 and 4 were right, then 12 and 8: last accuracies 30 and 50."""
    changed = answered(project, "metrics", "diff")["results/test/metrics.json"]
    last = changed["replay.none.linear.last_accuracy"]
    assert (last["old"], last["new"], last["diff"]) == (30.0, 50.0, 20.0)
    assert "replay.none.linear.exemplars" not in changed


@pytest.mark.slow
def test_plots_show_every_cell_in_both_revisions(project: Path) -> None:
    found = answered(project, "plots", "diff", "HEAD")
    assert not found.get("errors")
    assert sorted(found["data"]) == TITLES
    table = pd.read_csv(project / "results/test/phases.csv")
    for title, (picture, *others) in found["data"].items():
        assert not others
        assert sorted(picture["revisions"]) == ["HEAD", "workspace"]
        values = picture["content"]["data"]["values"]
        assert "<DVC_METRIC" not in json.dumps(picture["content"]), title
        mine = [row for row in values if row["rev"] == "workspace"]
        assert len(mine) == len(values) / 2 == len(table)
        for column in ("accuracy", "exemplars", "average_so_far", "kept_bytes"):
            assert [float(row[column]) for row in mine] == table[column].tolist()
    over = found["data"]["accuracy over phases"][0]["content"]["spec"]
    assert over["encoding"]["x"]["field"] == "phase"
    assert over["encoding"]["detail"] == [{"field": "rev"}]  # else the bands of two revisions are one
    assert [layer["encoding"]["y"]["field"] for layer in over["layer"]] == ["accuracy", "accuracy"]


@pytest.mark.slow
def test_plots_are_written_as_a_page(project: Path) -> None:
    run(project, "dvc", "plots", "show", "-o", "shown")
    text = (project / "shown/index.html").read_text()
    assert all(title in text for title in TITLES)
    assert "against-bytes" not in text  # the template's content, not its name
