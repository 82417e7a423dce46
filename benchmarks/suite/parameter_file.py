"""A suite's parameters as a file: read as DVC reads them (YAML 1.2, no key twice), written as YAML or JSON."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cimbench.datasets.arrays import write_atomically, write_json
from cimbench.datasets.errors import InputError

_DEEPEST = 50  # nested mappings and lists; a suite has 6
_PLAIN = (str, int, float, bool, type(None))


def check_ending(path: Path) -> None:
    """Raise InputError unless the file's ending says YAML or JSON."""
    if path.suffix not in {".yaml", ".yml", ".json"}:
        raise InputError(f"{path}: its ending says neither YAML nor JSON; name a .yaml or a .json file")


def read_parameters(path: Path) -> Any:
    """The plain content of a parameter file: mappings, lists, texts, numbers, true, false and null.

    JSON needs no library. InputError for a file that is absent, is no UTF-8, is not valid, gives a key twice, or holds
    other values (dates, bytes, references to itself); it names the line or the key.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(
            f"{path}: is not there; run this in the project's root, or name a file with --params"
        ) from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: is no UTF-8 text ({error.reason}, byte {error.start}); save it as UTF-8") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); name a file with --params") from error
    try:
        content = _read_json(text, path) if path.suffix == ".json" else _read_yaml(text, path)
    except RecursionError:
        raise InputError(f"{path}: is nested too deeply; give at most {_DEEPEST} levels") from None
    _check_plain(content, str(path), "", 0)
    return content


def _read_json(text: str, path: Path) -> Any:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            names = [name for name, _ in pairs]
            twice = next(name for name in names if names.count(name) > 1)
            lines = [n for n, line in enumerate(text.splitlines(), 1) if f"{json.dumps(twice)}:" in line]
            raise InputError(f"{path}: gives the key {twice!r} twice (lines {_listed(lines)}); keep one")
        return found

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: is not valid JSON: line {error.lineno}: {error.msg}") from error
    except InputError:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{path}: is not valid JSON: {error}") from error


def _read_yaml(text: str, path: Path) -> Any:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        for key, first, second in _repeated(YAML(typ="safe", pure=True).compose(text), 0):
            raise InputError(f"{path}: gives the key {key!r} twice (lines {first} and {second}); keep one")
        return YAML(typ="safe", pure=True).load(text)
    except InputError:
        raise
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = "" if mark is None else f"line {mark.line + 1}: "
        what = " ".join(str(error.problem or error.context).split())
        raise InputError(f"{path}: is not valid YAML: {where}{what}") from error
    except (YAMLError, ValueError, OverflowError) as error:  # a date that no calendar has, for instance
        raise InputError(f"{path}: is not valid YAML: {' '.join(str(error).split())}") from error


def _repeated(node: Any, depth: int) -> Iterator[tuple[str, int, int]]:
    """Keys that a mapping below a composed node has twice, with both lines (from 1)."""
    if node is None or depth > _DEEPEST:
        return
    pairs = (
        node.value if node.id == "mapping" else [(None, item) for item in node.value] if node.id == "sequence" else []
    )
    seen: dict[str, int] = {}
    for key, value in pairs:
        if key is not None and isinstance(key.value, str):
            line = key.start_mark.line + 1
            if key.value in seen:
                yield key.value, seen[key.value], line
            seen[key.value] = line
        yield from _repeated(value, depth + 1)


def _check_plain(value: Any, where: str, name: str, depth: int) -> None:
    if depth > _DEEPEST:
        raise InputError(f"{where}: {name[:60]} is nested too deeply, or refers to itself; write the values out")
    if isinstance(value, Mapping):
        for key, item in value.items():
            if not isinstance(key, str):
                raise InputError(f"{where}: {name or 'it'} has the key {key!r}; give a text (quote it in YAML)")
            _check_plain(item, where, f"{name}.{key}" if name else key, depth + 1)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            _check_plain(item, where, f"{name}[{number}]", depth + 1)
    elif not isinstance(value, _PLAIN):
        kind = type(value).__name__
        raise InputError(f"{where}: {name or 'it'} is {value!r} ({kind}); give a text, a number, true, false or null")


def _listed(lines: list[int]) -> str:
    return " and ".join(map(str, lines))


def write_parameters(parameters: Mapping[str, Any], path: Path) -> None:
    """Write plain parameters as YAML or JSON by the file's ending, atomically."""
    check_ending(path)
    if path.suffix == ".json":
        write_json(path, dict(parameters))
        return
    from omegaconf import OmegaConf

    text = OmegaConf.to_yaml(OmegaConf.create(dict(parameters)))
    write_atomically(path, lambda file: file.write(text.encode()))
