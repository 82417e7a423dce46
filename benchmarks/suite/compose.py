"""conf/suite/NAME.yaml -> the parameters of a suite, by Hydra, without touching params.yaml."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from cimbench.benchmarks.suite.config import Suite
from cimbench.benchmarks.suite.parameter_file import read_parameters
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError, unknown_name

CONFIGURATIONS = Path("conf")


def suite_names(folder: Path = CONFIGURATIONS) -> list[str]:
    """The suites that can be composed, sorted."""
    return sorted(path.stem for path in (folder / "suite").glob("*.yaml"))


def compose_parameters(name: str, overrides: Sequence[str] = (), folder: Path = CONFIGURATIONS) -> dict[str, Any]:
    """The plain parameters of a suite, as `dvc exp run -S suite=NAME` would write them into params.yaml.

    overrides: Hydra's, for instance "matrix.seeds=[1993]". Raises InputError for an unknown suite or override. Where
    Hydra is not installed, the suites composed in conf/plain/ can be named.
    """
    if name not in suite_names(folder):
        raise unknown_name("suite", name, suite_names(folder))
    if find_spec("hydra") is None:
        return _plain_parameters(name, overrides, folder / "plain")
    from hydra import compose, initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException
    from yaml import YAMLError

    with initialize_config_dir(str(folder.resolve()), version_base=None):
        try:
            composed = compose("config", overrides=[f"suite={name}", *overrides])
            plain = OmegaConf.to_container(composed, resolve=True)
        except (HydraException, OmegaConfBaseException, YAMLError) as error:
            told = str(error).splitlines()[0]
            if told.startswith("Could not override"):
                told += " What conf/ leaves at its default takes a +, as in +methods.wa.distillation_temperature=1"
            raise InputError(f"suite {name} with {', '.join(overrides) or 'no overrides'}: {told}") from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _plain_parameters(name: str, overrides: Sequence[str], folder: Path) -> dict[str, Any]:
    """A suite that was composed elsewhere, with overrides that change a value: KEY.KEY=JSON, or a text."""
    path = folder / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in folder.glob("*.json")))
        raise InputError(f"suite {name}: Hydra is not installed here; install it, or name one of {known}")
    content: dict[str, Any] = read_parameters(path)
    for override in overrides:
        key, separator, text = override.partition("=")
        *sections, last = key.split(".")
        inside = content
        for section in sections:
            inside = inside.get(section, {}) if isinstance(inside, dict) else {}
        if not (separator and isinstance(inside, dict) and last in inside):
            raise InputError(
                f"suite {name} with {override}: give KEY=VALUE of a key in {path}; Hydra, not installed, knows more"
            )
        try:
            inside[last] = json.loads(text)
        except json.JSONDecodeError:
            inside[last] = text
    return content


def load_table(name: str, folder: Path = CONFIGURATIONS) -> dict[str, Any]:
    """The plain content of conf/tables/NAME.yaml; InputError for an unknown table or one that is no YAML."""
    if name not in table_names(folder):
        raise unknown_name("table", name, table_names(folder))
    return load_mapping(folder / "tables" / f"{name}.yaml")


def load_mapping(path: Path) -> dict[str, Any]:
    """The plain content of a YAML file that holds a mapping; InputError where it is absent or holds something else."""
    plain = read_parameters(path)
    if not isinstance(plain, dict):
        raise InputError(f"{path}: holds no mapping; see the other files in {path.parent}")
    return {str(key): value for key, value in plain.items()}


def table_names(folder: Path = CONFIGURATIONS) -> list[str]:
    """The papers' tables that can be made, sorted."""
    return sorted(path.stem for path in (folder / "tables").glob("*.yaml"))


def compose_suite(name: str, overrides: Sequence[str] = (), folder: Path = CONFIGURATIONS) -> Suite:
    """The suite, checked. It is composed once as long as no file of the folder changes: tables name many."""
    changed = max((path.stat().st_mtime_ns for path in folder.rglob("*.yaml")), default=0)
    return _compose_suite(name, tuple(overrides), folder, folder.resolve(), changed)


@cache
def _compose_suite(name: str, overrides: tuple[str, ...], folder: Path, _place: Path, _changed: int) -> Suite:
    return build(Suite, compose_parameters(name, overrides, folder), f"{folder}/suite/{name}.yaml")
