"""A suite's parameters in a file of one's own, for machines and folders where no params.yaml of it is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cimbench.datasets.arrays import write_atomically, write_json
from cimbench.datasets.errors import InputError


def check_ending(path: Path) -> None:
    """Raise InputError unless the file's ending says YAML or JSON."""
    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise InputError(f"{path}: its ending says neither YAML nor JSON; name a .yaml or a .json file")


def write_parameters(parameters: Mapping[str, Any], path: Path) -> None:
    """Write plain parameters as YAML or JSON by the file's ending, atomically."""
    check_ending(path)
    if path.suffix == ".json":
        write_json(path, dict(parameters))
        return
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dict(parameters)))
    write_atomically(path, lambda file: file.write(text.encode()))
