"""A DVC stage depends on exactly the files that can change its numbers."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from cimbench.benchmarks.records import provenance
from cimbench.benchmarks.registry import COMPRESSORS, METHODS, SOURCES
from cimbench.benchmarks.report.measurements import METRICS, PHASES, phases_table
from cimbench.benchmarks.report.page import NAME
from cimbench.benchmarks.report.page_tables import THROUGHPUT
from tests.benchmarks.imports import file_of, import_closure
from tests.benchmarks.records import record
from tests.conftest import ROOT

STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]

# They carry values to and fro, and do not compute a number: parameters in (their values are the stage's params),
# records, pictures and the memory in use out.
CARRIERS = {
    *("benchmarks/cell/checkpoint.py", "benchmarks/cell/gallery.py", "benchmarks/cell/listeners.py"),
    *("benchmarks/cell/peak_memory.py", "benchmarks/registry.py"),
    *("benchmarks/records/differences.py", "benchmarks/records/kept_results.py", "benchmarks/records/metrics.py"),
    *("benchmarks/records/places.py", "benchmarks/records/provenance.py", "benchmarks/records/record.py"),
    *("benchmarks/suite/config.py", "benchmarks/suite/parameter_file.py"),
    *("benchmarks/suite/parameters.py", "benchmarks/suite/sections.py"),
    *("datasets/preparing/parameters.py", "datasets/preparing/decode.py"),
    *("datasets/progress.py",),
}


WORDS = {ROOT / "datasets/errors.py", ROOT / "datasets/progress.py"}  # what people read meanwhile


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
        ROOT / "benchmarks/cell/run.py", own_file(METHODS, method), own_file(COMPRESSORS, compressor)
    ) - {ROOT / name for name in CARRIERS}
    assert needed <= deps, f"missing: {sorted(map(str, needed - deps))}"
    everyone = [own_file(METHODS, name) for name in METHODS] + [own_file(COMPRESSORS, name) for name in COMPRESSORS]
    others = set(everyone) - {own_file(METHODS, method), own_file(COMPRESSORS, compressor)}
    assert not deps & others
    assert deps <= import_closure(ROOT / "benchmarks/cell/run.py", *everyone), "a dep that no cell imports"


def test_a_records_source_digest_covers_the_cells_deps() -> None:
    """A cell that DVC calls fresh can go on from its checkpoint, and one that it calls stale cannot."""
    assert {dep for dep in STAGES["run"]["deps"] if dep.endswith(".py") or (ROOT / dep).is_dir()} - {
        "methods/${item.method}.py",
        "methods/compression/${item.compressor}.py",
    } == set(provenance.SOURCES)
    deps = listed("run", **{"item.method": "der", "item.compressor": "cim"})
    assert set(provenance.source_files("der", "cim")) == deps


@pytest.mark.parametrize("source", SOURCES)
def test_the_prepare_stage_depends_on_its_source(source: str) -> None:
    """How bytes came here changes no pixel, they are verified; nor do the words of errors."""
    deps = listed("prepare", **{"dataset.source": source})
    needed = import_closure(own_file(SOURCES, source), ROOT / "datasets/preparing/prepare.py")
    assert needed - WORDS - fetching() <= deps


def fetching() -> set[Path]:
    return import_closure(ROOT / "datasets/fetching/fetch.py") - {ROOT / "datasets/arrays.py"}


def test_the_fetch_stage_depends_on_what_reads_archives_addresses() -> None:
    assert listed("fetch") >= import_closure(ROOT / "datasets/fetching/receipt.py") - WORDS


def test_the_split_stage_depends_on_what_draws() -> None:
    needed = import_closure(ROOT / "datasets/stream/split.py")
    values = {
        ROOT / f"datasets/{name}.py"
        for name in ("arrays", "errors", "images/image_store", "images/pixels", "images/threads")
    }
    assert needed - values <= listed("split")


def test_the_report_depends_on_what_it_prints() -> None:
    deps = listed("report")
    parts = ("boxes", "curves", "differences", "inline", "measurements", "memory_curves", "pareto", "plots", "tables")
    folders = (ROOT / "benchmarks/report", ROOT / "benchmarks/report/figures")
    files = [path for package in folders for path in package.glob("*.py") if path.stem in parts]
    needed = import_closure(*files)
    plain = {ROOT / name for name in ("benchmarks/suite/parameters.py", "datasets/arrays.py", "datasets/errors.py")}
    plain.add(ROOT / "benchmarks/registry.py")  # a method's note changes with the method's file, a dep of its cells
    assert needed - plain <= deps
    assert len(files) == len(parts)
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
