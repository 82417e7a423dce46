"""DVC fetches, prepares and splits every source from real archives; again it does nothing, a lost file only its own.

The stages are DVC's own processes, on a temporary copy of the project; DVC itself is called as a library, which saves
its start.
"""

from __future__ import annotations

import os
import sys
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.repo import Repo

from cimbench.benchmarks.cli import main
from cimbench.datasets.images.packed_store import verify_store
from cimbench.datasets.reading.archives import TarFiles
from tests.benchmarks.project import copy_of_the_project
from tests.benchmarks.workplace import FEW_DIGITS
from tests.datasets.ilsvrc import Mini, write_archives

pytestmark = [
    pytest.mark.xdist_group("pipeline of data"),  # one copy of the project for all
    pytest.mark.slow,
    pytest.mark.shared_data,
    pytest.mark.timeout(540),
]


@dataclass
class Case:
    """One data set: its source, parameters from (shared data, the copy), and what comes out."""

    source: str
    parameters: Callable[[Path, Path], dict[str, Any]]
    classes: int
    images: int
    prepare: dict[str, Any] | None = None


def archive(path: Path) -> dict[str, Any]:
    return {"mirrors": [str(path)], "checksum": ""}


def class_folders(data: Path, project: Path) -> dict[str, Any]:
    """Some of Caltech-101, unpacked: anyone's folder."""
    with tarfile.open(data / "caltech-101-small.tar") as packed:
        for member in packed.getmembers():
            if member.name.endswith(("_0001.jpg", "_0002.jpg", "_0003.jpg")) and "/c" in member.name:
                packed.extract(member, project / "data/mine", filter="data")
    return {"folder": "data/mine/101_ObjectCategories", "train": None, "test": None}


def mini_ilsvrc(data: Path, project: Path) -> dict[str, Any]:
    """A thousand classes, 64 of them with real pictures."""
    samples = TarFiles.open(data / "imagenet-samples-64.tar")
    real = {name.split("/")[1].partition("_")[0]: samples.read(name) for name in samples.names}
    mini = Mini.make(real, per_class=1)
    mini.train |= {synset: {f"{synset}_1.JPEG": content} for synset, content in real.items()}
    write_archives(mini, project / "data/archives")
    names = {"train": "img_train.tar", "val": "img_val.tar", "devkit": "devkit_t12.tar.gz"}
    return {part: archive(Path("data/archives") / f"ILSVRC2012_{name}") for part, name in names.items()}


CASES = {
    "digits": Case("cluttered_digits", lambda _data, _project: FEW_DIGITS, 10, 90),
    "food": Case("food101", lambda data, _: {"archive": archive(data / "food101-mini.tar.gz")}, 12, 240),
    "tiny": Case(
        "tiny_imagenet", lambda data, _: {"archive": archive(data / "tiny-imagenet-100.zip"), "classes": 4}, 4, 1000
    ),
    "caltech": Case(
        "caltech101",
        lambda data, _: {"archive": archive(data / "caltech-101-small.tar"), "train_per_class": 2, "test_per_class": 1},
        101,
        303,
        {"encoding": "original"},
    ),
    "mine": Case("image_folder", class_folders, 14, 42, {"short_side": 40, "encoding": "jpeg"}),
    "ilsvrc": Case("imagenet1000", mini_ilsvrc, 1000, 2000, {"short_side": 40, "encoding": "jpeg"}),
}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The copy, which is the working directory; its stages find this environment's programs."""
    folder = copy_of_the_project(tmp_path_factory.mktemp("data-project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
        patch.setenv("DVC_NO_ANALYTICS", "true")
        patch.setenv("OMP_NUM_THREADS", "1")
        yield folder


def write_parameters(name: str, case: Case, parameters: dict[str, Any], prepare: dict[str, Any] | None) -> None:
    content = yaml.safe_load(Path("params.yaml").read_text())
    content["suite"], content["matrix"]["seeds"] = name, [5]
    content["dataset"] = {"name": f"{name}-set", "source": case.source, "parameters": parameters, "prepare": prepare}
    Path("params.yaml").write_text(yaml.safe_dump(content))


def targets(name: str) -> list[str]:
    """The three stages that make a data set."""
    return [f"fetch@{name}-set", f"prepare@{name}-set", f"split@{name}"]


def repro(name: str) -> list[str]:
    """The kinds of the stages that ran."""
    with Repo(".") as repo:
        return [stage.addressing.partition("@")[0] for stage in repo.reproduce(targets(name))]


def stale(name: str) -> list[str]:
    """The kinds of the stages that would run, but for those that only follow."""
    with Repo(".") as repo:
        return [stage.partition("@")[0] for stage in repo.status(targets(name))]


BY_DVC = ("food",)  # a stage's start is two seconds; to DVC the others are as these


@pytest.mark.parametrize("name", [name for name in CASES if name not in BY_DVC])
@pytest.mark.usefixtures("project")
def test_a_data_set_is_made_by_the_commands_and_mended(name: str, shared_data: Path) -> None:
    case = CASES[name]
    write_parameters(name, case, case.parameters(shared_data, Path().resolve()), case.prepare)
    assert [main([verb]) for verb in ("fetch", "prepare", "split")] == [0, 0, 0]
    folder = Path(f"data/stores/{name}-set")
    store = verify_store(folder)
    assert (len(store.class_names), len(store)) == (case.classes, case.images)
    (folder / "images.bin").unlink()
    assert main(["prepare"]) == 0
    assert verify_store(folder).digest == store.digest
    assert main(["split"]) == 0


@pytest.mark.parametrize("name", BY_DVC)
def test_a_data_set_is_made_once_and_mended_where_it_broke(name: str, project: Path, shared_data: Path) -> None:
    case = CASES[name]
    parameters = case.parameters(shared_data, project)
    write_parameters(name, case, parameters, case.prepare)
    assert repro(name) == ["fetch", "prepare", "split"]
    folder = Path(f"data/stores/{name}-set")
    store = verify_store(folder)
    assert (len(store.class_names), len(store)) == (case.classes, case.images)
    assert repro(name) == []
    (folder / "images.bin").unlink()
    assert repro(name) == ["prepare"]
    assert verify_store(folder).digest == store.digest
    write_parameters(name, case, parameters, {"short_side": 24})
    assert stale(name) == ["prepare"]
    assert repro(name) == ["prepare", "split"]
    assert int(verify_store(folder).sizes.amin(1).max()) == 24
