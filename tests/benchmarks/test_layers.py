"""The rules of the house, read from the source: who may import whom, and how long a function or file may be."""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.benchmarks.imports import imported_modules
from tests.conftest import ROOT

PACKAGES = ("datasets", "methods", "benchmarks")
SOURCES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
ALL = [*SOURCES, *sorted((ROOT / "tests").rglob("*.py"))]


def names(path: Path) -> set[str]:
    return imported_modules(path)


def broken(rule: Callable[[Path], None], paths: Sequence[Path]) -> list[str]:
    """Where the rule does not hold. A loop: a thousand tests of a file each would take half a minute by themselves."""
    found = []
    for path in paths:
        try:
            rule(path)
        except AssertionError as error:
            found.append(f"{path.relative_to(ROOT)}: {error}")
    return found


def one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0]
    above = {"datasets": ("methods", "benchmarks"), "methods": ("benchmarks",), "benchmarks": ()}[package]
    for module in names(path):
        assert not any(module.startswith(f"cimbench.{other}") for other in above), module
        top = module.split(".")[0]
        assert top not in PACKAGES, f"import cimbench.{module}, not {module}"
        if package == "methods":
            assert top not in {"mlflow", "dvc", "yaml", "ruamel", "argparse", "pandas", "matplotlib"}, module
            assert not module.startswith("cimbench.datasets.sources"), module
        if top == "mlflow":
            assert path.parent.name == "tracking"
        if top in ("yaml", "ruamel"):
            assert path.name in ("parameter_file.py", "compose.py")
        assert top != "dvc"


def test_imports_run_one_way() -> None:
    assert broken(one_way, SOURCES) == []


def test_the_evaluation_harness_names_no_method() -> None:
    from cimbench.benchmarks.registry import COMPRESSORS, METHODS

    text = (ROOT / "benchmarks/cell/run.py").read_text()
    for name in METHODS.keys() | (COMPRESSORS.keys() - {"none"}):
        assert f'"{name}"' not in text
        assert f"cimbench.methods.{name}" not in text


def test_rooms_have_no_init_file_at_their_top() -> None:
    assert [package for package in PACKAGES if (ROOT / package / "__init__.py").exists()] == []


def fits(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= 300, "more than 300 lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            length = node.end_lineno - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"


def test_files_and_functions_fit_a_screen_or_two() -> None:
    assert broken(fits, ALL) == []


def documented(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "the file"
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            inner = any(node in parent.body for parent in ast.walk(tree) if isinstance(parent, ast.FunctionDef))
            assert inner or ast.get_docstring(node), node.name


def test_every_public_name_has_a_docstring() -> None:
    assert broken(documented, SOURCES) == []


def test_what_tests_share_stands_in_no_test_file() -> None:
    paths = sorted((ROOT / "tests").rglob("*.py"))
    assert [(path, name) for path in paths for name in names(path) if name[:6] == "tests." and ".test_" in name] == []


def test_importing_everything_has_no_side_effects(tmp_path: Path) -> None:
    """No seeding, no files, no device probe at import."""
    modules = [
        "cimbench." + ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in SOURCES
        if "throughput" not in path.parts
    ]
    program = (
        "import torch, random, importlib\n"
        "state = torch.random.get_rng_state(), random.getstate()\n"
        f"for name in {modules!r}: importlib.import_module(name)\n"
        "assert torch.equal(state[0], torch.random.get_rng_state()) and state[1] == random.getstate()\n"
        "assert not torch.cuda.is_initialized()\n"
    )
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, check=True)
    assert list(tmp_path.iterdir()) == []


def test_pyproject_lists_every_folder_with_code() -> None:
    """An installed copy has what an editable one has."""
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    assert set(listed) == {"cimbench." + ".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES}


def test_editors_find_every_import() -> None:
    """By the links that `make install` makes and that pyright is told of; each leads to the file itself."""
    (links,) = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pyright"]["extraPaths"]
    if not (ROOT / links).is_dir():
        pytest.skip(f"{links} is absent; run make install")
    assert broken(functools.partial(found_by_editors, links), ALL) == []


def found_by_editors(links: str, path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("cimbench."):
            found = ROOT / links / Path(*node.module.split("."))
            if found.is_dir():
                named = [found / alias.name for alias in node.names]  # modules, or packages
                modules = [path if path.is_dir() else path.with_suffix(".py") for path in named]
            else:
                modules = [found.with_suffix(".py")]
            for module in modules:
                assert module.exists(), f"line {node.lineno} imports {node.module}, which no editor finds"
                assert module.resolve().is_relative_to(ROOT)
