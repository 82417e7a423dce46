"""The verb that lists what can be named, without importing any of it: list."""

from __future__ import annotations

import argparse
import ast
from collections.abc import Callable, Mapping
from pathlib import Path

from cimbench.benchmarks import registry

_PROJECT = Path(__file__).resolve().parents[2]
_SUITES = Path("conf/suite")


def list_names(_suite: None, arguments: argparse.Namespace) -> str:
    """One line for each name of a kind: what it is, by the first line of its file."""
    found = _KINDS[arguments.kind]()
    width = max(map(len, found), default=0)
    for name, words in found.items():
        print(f"{name:<{width}}  {words}".rstrip())
    return f"{len(found)} {arguments.kind}. Next: {_NEXT[arguments.kind]}"


def suites(folder: Path = _SUITES) -> dict[str, str]:
    """Each suite that can be composed, with the first comment of its file."""
    return {path.stem: _first_comment(path) for path in sorted(folder.glob("*.yaml"), key=lambda path: path.stem)}


def _first_comment(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = (line[1:].strip() for line in lines if line.startswith("#") and "@package" not in line)
    return next(comments, "")


def entries(table: Mapping[str, str]) -> dict[str, str]:
    """Each name of a registry table, with the first line of its module's docstring."""
    return {name: _docstring(entry.split(":")[0]) for name, entry in table.items()}


def _docstring(module: str) -> str:
    path = _PROJECT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    return text.split("\n", 1)[0]


_KINDS: dict[str, Callable[[], dict[str, str]]] = {
    "suites": suites,
    "methods": lambda: entries(registry.METHODS),
    "compressors": lambda: entries(registry.COMPRESSORS),
    "sources": lambda: entries(registry.SOURCES),
}
_NEXT = {
    "suites": "dvc exp run -S suite=NAME, or cimbench compose NAME params.json",
    "methods": "matrix.methods in params.yaml",
    "compressors": "matrix.compressors in params.yaml; docs/compression.md shows each",
    "sources": "dataset.source in params.yaml; docs/data.md",
}


def arguments_of_list_names(parser: argparse.ArgumentParser) -> None:
    """Which kind."""
    parser.add_argument("kind", choices=_KINDS, help="what to list")
