"""A DVC stage depends on exactly the files that can change its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cimbench.benchmarks.registry import COMPRESSORS, METHODS, SOURCES
from cimbench.benchmarks.report.measurements import METRICS, PHASES, phases_table
from cimbench.benchmarks.report.page import NAME
from cimbench.benchmarks.report.page_tables import THROUGHPUT
from tests.benchmarks.imports import file_of, import_closure
from tests.benchmarks.test_report import record
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# They carry values to and fro, and do not compute a number: parameters in (their values are the stage's params),
# records, pictures and the memory in use out.
CARRIERS = {
    f"benchmarks/{name}.py"
    for name in (
        "checkpoint",
        "config",
        "gallery",
        "metrics",
        "parameters",
        "peak_memory",
        "provenance",
        "record",
        "registry",
        "sections",
    )
} | {"datasets/preparation.py"}


def own_file(table: dict[str, str], name: str) -> Path:
    path = file_of(table[name].split(":")[0])
    assert path is not None
    return path


def listed(stage: str, **items: str) -> set[Path]:
    """The stage's source files, with the matrix filled in and folders spelled out."""
    found: set[Path] = set()
    for dep in STAGES[stage]["deps"]:
        for name, value in items.items():
            dep = dep.replace("${" + name + "}", value)
        path = ROOT / dep
        if path.is_dir() and not dep.startswith("results"):
            found |= set(path.rglob("*.py"))
        elif path.suffix == ".py":
            assert path.is_file(), f"{dep} of stage {stage} does not exist"
            found.add(path)
    return found


@pytest.mark.parametrize("compressor", COMPRESSORS)
@pytest.mark.parametrize("method", METHODS)
def test_a_cells_deps_are_its_imports(method: str, compressor: str) -> None:
    deps = listed("run", **{"item.method": method, "item.compressor": compressor})
    needed = import_closure(
        ROOT / "benchmarks/run.py", own_file(METHODS, method), own_file(COMPRESSORS, compressor)
    ) - {ROOT / name for name in CARRIERS}
    assert needed <= deps, f"missing: {sorted(map(str, needed - deps))}"
    everyone = [own_file(METHODS, name) for name in METHODS] + [own_file(COMPRESSORS, name) for name in COMPRESSORS]
    others = set(everyone) - {own_file(METHODS, method), own_file(COMPRESSORS, compressor)}
    assert not deps & others
    assert deps <= import_closure(ROOT / "benchmarks/run.py", *everyone), "a dep that no cell imports"


@pytest.mark.parametrize("source", SOURCES)
def test_the_prepare_stage_depends_on_its_source(source: str) -> None:
    """How bytes came here changes no pixel, they are verified; nor do the words of errors."""
    deps = listed("prepare", **{"dataset.source": source})
    needed = import_closure(own_file(SOURCES, source), ROOT / "datasets/prepare.py")
    assert needed - {ROOT / "datasets/errors.py"} - fetching() <= deps


def fetching() -> set[Path]:
    return import_closure(ROOT / "datasets/fetch.py") - {ROOT / "datasets/arrays.py"}


def test_the_fetch_stage_depends_on_what_reads_archives_addresses() -> None:
    assert listed("fetch") >= import_closure(ROOT / "benchmarks/receipt.py") - {ROOT / "datasets/errors.py"}


def test_the_split_stage_depends_on_what_draws() -> None:
    needed = import_closure(ROOT / "datasets/split.py")
    values = {ROOT / f"datasets/{name}.py" for name in ("arrays", "errors", "image_store")}
    assert needed - values <= listed("split")


def test_the_report_depends_on_what_it_prints() -> None:
    deps = listed("report")
    parts = ("boxes", "curves", "differences", "inline", "measurements", "memory_curves", "pareto", "plots", "tables")
    needed = import_closure(*(ROOT / f"benchmarks/report/{name}.py" for name in parts))
    plain = {ROOT / name for name in ("benchmarks/parameters.py", "datasets/arrays.py", "datasets/errors.py")}
    assert needed - plain <= deps
    assert set(parts) <= {path.stem for path in import_closure(ROOT / "benchmarks/report/suite_report.py")}
    assert str(THROUGHPUT) in STAGES["report"]["deps"]


def test_the_report_writes_its_outs() -> None:
    """What the stage declares is what the command writes, and the top-level plots read it."""
    stage = STAGES["report"]
    outs = {Path(name).name for out in [*stage["outs"], *stage["metrics"]] for name in out}
    assert outs == {"tables", "plots", METRICS, PHASES, NAME}
    plots = yaml.safe_load((ROOT / "dvc.yaml").read_text())["plots"]
    shown = [one for entry in plots for one in entry.values()]
    assert {path for one in shown for path in one["y"]} == {"results/${suite}/" + PHASES}
    columns = set(phases_table([record(1, [[8], [4, 6]])]).columns)
    for one in shown:
        assert {one["x"], *one["y"].values()} <= columns
        assert (ROOT / f".dvc/plots/{one['template']}.json").is_file()


def test_every_section_of_params_reaches_the_cells() -> None:
    """A parameter that is no stage's would change nothing when edited."""
    sections = yaml.safe_load((ROOT / "params.yaml").read_text()).keys()
    used = {name.split(".")[0] for stage in STAGES.values() for name in stage.get("params", [])}
    assert sections - used == {
        "suite",  # names the stages
        *("checkpoint_epochs", "checkpoint_batches"),  # change no number
    }
