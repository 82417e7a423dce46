"""What several tests need: golden vectors, the shared archives, and a suite small enough for seconds."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

# Without a GPU the kernels run through Triton's interpreter; read when torchvision first imports Triton, below.
os.environ["TRITON_INTERPRET"] = str(int(not torch.cuda.is_available()))

from cimbench.benchmarks.cell.process import prepare_process
from cimbench.benchmarks.contract.small_stream import coloured_store as coloured_store
from cimbench.benchmarks.suite.config import Suite
from cimbench.benchmarks.suite.parameters import build
from tests.distribution import pytest_configure, pytest_xdist_make_scheduler  # noqa: F401 - hooks

if find_spec("hypothesis") is not None:  # the tests of a GPU do without
    from hypothesis import settings

    # the same cases each time, and no folder of earlier ones
    settings.register_profile("cimbench", derandomize=True, database=None)
    settings.load_profile("cimbench")

if torch.cuda.is_available():  # as cells run
    prepare_process()

# small networks: one thread is fastest, and two test processes do not get in each other's way
torch.set_num_threads(1)

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = Path(__file__).resolve().parent / "golden"


@pytest.fixture
def golden() -> Callable[[str], dict[str, np.ndarray]]:
    """Reads a golden file by its name; the large ones are with the shared archives, their tests skipped without."""

    def read(name: str) -> dict[str, np.ndarray]:
        paths = [folder / f"{name}.npz" for folder in (GOLDEN, shared_folder() / "golden")]
        found = [path for path in paths if path.is_file()]
        if not found:
            pytest.skip(f"{paths[-1]} is absent; set CIMBENCH_SHARED to the folder that holds golden/")
        return dict(np.load(found[0], allow_pickle=False))

    return read


def shared_folder() -> Path:
    """Where archives and large golden files are."""
    return Path(os.environ.get("CIMBENCH_SHARED", str(ROOT / "../shared"))).resolve()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real archives; the test is skipped where it is absent."""
    folder = shared_folder() / "data"
    if not folder.is_dir():
        pytest.skip(f"{folder} is absent; set CIMBENCH_SHARED to the folder that holds data/")
    return folder


def textured_images(count: int, height: int, width: int, seed: int) -> torch.Tensor:
    """(count, 3, height, width) uint8, every pixel its own value."""
    random = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, height, width), generator=random, dtype=torch.uint8)


DEFAULT_SUITE = "digits"  # of conf/config.yaml


@functools.cache
def _composed(overrides: tuple[str, ...]) -> str:
    if find_spec("hydra") is None:
        assert not overrides, "only the default suite is there without Hydra"
        return (ROOT / f"conf/plain/{DEFAULT_SUITE}.json").read_text()
    from hydra import compose, initialize_config_dir
    from omegaconf import OmegaConf

    with initialize_config_dir(str(ROOT / "conf"), version_base=None):
        content = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    return json.dumps(content)


def composed(*overrides: str) -> Any:
    """What DVC writes to params.yaml."""
    return json.loads(_composed(overrides))


def tiny_parameters(**sections: dict[str, Any]) -> dict[str, Any]:
    """params.yaml's content for a suite of seconds; keyword sections are merged in."""
    content: dict[str, Any] = composed()
    content |= {"suite": "test", "matrix": {"methods": ["replay"], "compressors": ["none"], "seeds": [3]}}
    content["dataset"] = {"name": "coloured", "source": "cluttered_digits", "parameters": {}}
    content["protocol"] |= {"phases": 2}
    content["budget"] |= {"exemplars_per_class": 3.0}
    content["network"] = {"architecture": "resnet8", "stem": "strided", "width": 8, "input_side": 16}
    content["training"] |= {"base_epochs": 4, "epochs": 4, "batch_size": 8, "learning_rate": 0.05}
    content["augment"] |= {"crop_padding": 1}
    content["methods"]["joint"] = {"epochs": None}
    content["compressors"]["artifacts_only"]["artifacts"] = {"step": 0.5, "refresh_epochs": 1}
    for name, values in content["compressors"].items():
        if name.startswith("cim"):  # phases of an epoch or two have no time for them
            values["artifacts"] = None
    for name, values in sections.items():
        content[name] = {**content[name], **values} if isinstance(values, dict) else values
    return content


DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=[pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")],
    ),
]


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the working directory, as a clone's root is for the commands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tiny_suite(**sections: Any) -> Suite:
    """The checked suite of `tiny_parameters`."""
    return build(Suite, tiny_parameters(**sections), "params.yaml")


def replaced(suite: Suite, **changes: Any) -> Suite:
    """The suite with some fields changed."""
    return dataclasses.replace(suite, **changes)


def table_rows(text: str) -> list[dict[str, str]]:
    """Rows of the first Markdown table, by column."""
    after = itertools.dropwhile(lambda line: not line.startswith("|"), text.splitlines())
    table = itertools.takewhile(lambda line: line.startswith("|"), after)
    lines = [line.strip().strip("|").split("|") for line in table]
    names = [name.strip() for name in lines[0]]
    return [dict(zip(names, (cell.strip() for cell in line), strict=True)) for line in lines[2:]]
