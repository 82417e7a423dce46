"""The command line: help without a library, lists, and the nearest name for a verb that there is not."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import pytest

from cimbench.benchmarks import registry
from cimbench.benchmarks.cli import VERBS, main, parse
from cimbench.benchmarks.suite.compose import suite_names
from tests.conftest import ROOT

LIGHT = """
import sys
from cimbench.benchmarks.cli import main
try:
    status = main(sys.argv[1:])
except SystemExit as ended:
    status = ended.code
heavy = {"torch", "torchvision", "numpy", "mlflow", "matplotlib", "pandas", "yaml"} & sys.modules.keys()
assert not status and not heavy, (status, heavy)
"""


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], *(["list", kind] for kind in ("suites", "methods", "compressors", "sources"))]
)
def test_what_is_only_words_imports_no_library(words: list[str]) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT, *words], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("suites", suite_names(ROOT / "conf")),
        ("methods", list(registry.METHODS)),
        ("compressors", list(registry.COMPRESSORS)),
        ("sources", list(registry.SOURCES)),
    ],
)
def test_a_list_has_a_line_for_every_name(
    kind: str, names: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["list", kind]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == names
    assert all(len(line.split()) > 2 for line in lines), "each says what it is"
    assert last.startswith(f"{len(names)} {kind}. Next: ")


def test_every_verb_has_its_function_and_shows_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    for name, verb in VERBS.items():
        with pytest.raises(SystemExit) as ended:
            parse([name, "--help"])
        assert ended.value.code == 0
        assert f"usage: cimbench {name}" in capsys.readouterr().out
        module = import_module(f"cimbench.benchmarks.commands.{verb.module}")
        assert callable(getattr(module, verb.function or name.replace("-", "_")))


def test_an_unknown_verb_is_answered_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["repot"]) == 2
    assert "verb 'repot' is not known; did you mean 'report'?" in capsys.readouterr().err


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"cim-bench {version('cim-bench')}\n"
