"""Which modules of the project a file imports, read from its source."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

from tests.conftest import ROOT


@functools.cache
def imported_modules(path: Path) -> frozenset[str]:
    """Full names of everything imported anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return frozenset(found)


@functools.cache
def file_of(module: str) -> Path | None:
    """The project's file that a module name means, or None."""
    if not module.startswith("cimbench."):
        return None
    path = ROOT.joinpath(*module.split(".")[1:]).with_suffix(".py")
    return path if path.is_file() else None


def import_closure(*starts: Path) -> set[Path]:
    """All files of the project that the starting files need, themselves included."""
    seen: set[Path] = set()
    waiting = list(starts)
    while waiting:
        path = waiting.pop()
        if path not in seen:
            seen.add(path)
            waiting += [found for module in imported_modules(path) if (found := file_of(module))]
    return seen
