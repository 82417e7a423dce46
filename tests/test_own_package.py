"""A method, a compressor, a source and a metric in a package outside the repository, as CONTRIBUTING has them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.conftest import ROOT, table_rows, tiny_parameters

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("own package")]  # a process a command

METHOD = "mypackage.half_smoothed:HalfSmoothed"
COMPRESSOR = "mypackage.left_half:LeftHalf"
SOURCE = "mypackage.two_colours:catalogue"
METRIC = "mypackage.worst_phase:worst_phase_accuracy"


@pytest.fixture(scope="module")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, and beside it a folder with a suite's parameters and nothing else."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "site/mypackage").mkdir(parents=True)
    pattern = r"<!-- test: \w+ (\w+)\.py -->\n\s*```python\n(.*?)\n\s*```"
    for name, block in re.findall(pattern, (ROOT / "CONTRIBUTING.md").read_text(), re.S):
        (folder / "site/mypackage" / f"{name}.py").write_text(textwrap.dedent(block))
    content = tiny_parameters()
    content |= {
        "suite": "own",
        "matrix": {"methods": ["replay", METHOD], "compressors": ["none", COMPRESSOR], "seeds": [3], "bounds": []},
        "dataset": {"name": "two-colours", "source": SOURCE, "parameters": {"images": 12}},
        "metrics": [METRIC],
    }
    content["compressors"][COMPRESSOR] = {"ratio": 9.0}
    content["training"] |= {"base_epochs": 2, "epochs": 2}
    (folder / "params.json").write_text(json.dumps(content))
    return folder


def cimbench(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The installed command, with the package on the path as an installation would put it."""
    environment = {**os.environ, "PYTHONPATH": str(folder / "site"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "cimbench.benchmarks.cli", "--params", "params.json", *words]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def reported(workplace: Path) -> Path:
    """The suite run and reported; its folder in results/."""
    for words in (["plan"], ["run-suite", "--no-tracking"], ["report"]):
        done = cimbench(workplace, *words)
        assert done.returncode == 0, done.stdout + done.stderr
    return workplace / "results/own"


def test_a_tiny_suite_runs_with_one_of_each(reported: Path) -> None:
    names = [(method, compressor) for method in ("replay", METHOD) for compressor in ("none", COMPRESSOR)]
    rows = table_rows((reported / "tables/comparison.md").read_text())
    assert {(row["method"], row["compressor"]) for row in rows} == set(names)
    cells = sorted(path.parent.name for path in (reported / "cells").glob("*/3"))
    assert cells == sorted(f"{method}-{compressor}".replace(":", ".") for method, compressor in names)
    record = json.loads((reported / f"cells/{cells[0]}/3/record.json").read_text())
    assert record["config"]["dataset"]["source"] == SOURCE
    assert sorted(record["class_names"]) == ["green", "red"]


def test_its_compressor_keeps_the_left_half(reported: Path) -> None:
    record = json.loads((reported / "cells/replay-mypackage.left_half.LeftHalf/3/record.json").read_text())
    assert record["config"]["compressor"] == {"name": COMPRESSOR, "ratio": 9.0}
    assert record["phases"][-1]["memory"]["mean_box_area"] == 0.5


def test_its_metric_is_a_column(reported: Path) -> None:
    """Recomputed from the record's counts."""
    rows = table_rows((reported / "tables/comparison.md").read_text())
    for row in rows:
        name = f"{row['method']}-{row['compressor']}".replace(":", ".")
        record = json.loads((reported / "cells" / name / "3" / "record.json").read_text())
        correct = [phase["correct"][row["head"]] for phase in record["phases"]]
        worst = min(100 * sum(right) / sum(record["tested"][: len(right)]) for right in correct)
        assert row["worst phase accuracy (%)"] == f"{worst:.1f}"
    assert "worst_phase_accuracy" in (reported / "tables/comparison.csv").read_text().splitlines()[0]


def test_the_report_of_the_page_names_them(reported: Path) -> None:
    assert METHOD in (reported / "report.html").read_text()


@pytest.mark.parametrize("words", [[METHOD], [COMPRESSOR], [SOURCE, "images=6"]])
def test_each_passes_the_check(workplace: Path, words: list[str]) -> None:
    done = cimbench(workplace, "check", *words)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "requirements are met" in done.stdout


WRONG = [
    ("mypackage.worst_phase:best", "metrics: 'mypackage.worst_phase:best': mypackage.worst_phase has no best"),
    ("forgeting", "metrics: 'forgeting' is not known; did you mean 'forgetting'?"),
    ("mypackage.left_half:LeftHalf", "is no metric; expected a function of Counts that gives a number, or None"),
]


@pytest.mark.parametrize(("name", "words"), WRONG)
def test_a_metric_that_does_not_serve_is_refused(workplace: Path, name: str, words: str) -> None:
    content = json.loads((workplace / "params.json").read_text())
    (workplace / "wrong.json").write_text(json.dumps({**content, "metrics": [name]}))
    done = cimbench(workplace, "--params", "wrong.json", "cells")
    assert done.returncode == 2
    assert words in done.stderr
