"""Parameter files mean the same to DVC, to OmegaConf and here; what is no plain value is answered in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from dvc.utils.serialize import loads_yaml
from omegaconf import OmegaConf

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.suite.parameter_file import read_parameters
from cimbench.datasets.errors import InputError
from tests.conftest import ROOT, tiny_suite

COMMITTED = [ROOT / "params.yaml", *sorted((ROOT / "conf").rglob("*.yaml"))]


@pytest.mark.parametrize("path", COMMITTED, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_reader_sees_the_same_values(path: Path) -> None:
    ours = read_parameters(path)
    assert ours == loads_yaml(path.read_text())
    assert ours == OmegaConf.to_container(OmegaConf.load(path))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("010", 10),
        ("1:30", "1:30"),
        ("no", "no"),
        ("1e-3", 0.001),
        ("0o10", 8),
        ("yes", "yes"),
        ("~", None),
        ("1_000", 1000),
    ],
)
def test_a_scalar_is_what_dvc_takes_it_for(tmp_path: Path, text: str, value: object) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(f"a: {text}\n")
    assert read_parameters(path) == {"a": value} == loads_yaml(path.read_text())


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("p.yaml", "a: 1\nb: 2\na: 3\n", r"p.yaml: gives the key 'a' twice \(lines 1 and 3\); keep one"),
        ("p.yaml", "t:\n  b: 2\n  c: 1\n  b: 3\n", r"gives the key 'b' twice \(lines 2 and 4\)"),
        ("p.json", '{"a": 1,\n "b": {},\n "a": 3}', r"p.json: gives the key 'a' twice \(lines 1 and 3\)"),
        ("p.yaml", "a: 1\nb: [\n", r"p.yaml: is not valid YAML: line 3: "),
        ("p.yaml", "a: 1\n\tb: 2\n", r"p.yaml: is not valid YAML: line 2: "),
        ("p.json", '{"a": 1,}', r"p.json: is not valid JSON: line 1: "),
        (
            "p.yaml",
            "training: {epochs: 2020-01-01}\n",
            r"training.epochs is .*\(date\); give a text",
        ),
        ("p.yaml", "a: 2020-13-41\n", r"p.yaml: (is not valid YAML|a is )"),
        ("p.yaml", "seeds: [1, !!binary aGk=]\n", r"seeds\[1\] is b'hi' \(bytes\)"),
        ("p.yaml", "1: 2\n", r"it has the key 1; give a text \(quote it in YAML\)"),
        ("p.yaml", "a: &x\n  b: *x\n", r"is nested too deeply, or refers to itself"),
        ("p.yaml", "a: " + "[" * 60 + "]" * 60, r"is nested too deeply"),
        ("p.yaml", "a: " + "[" * 9000 + "]" * 9000, r"is nested too deeply"),
        ("p.json", "[" * 90000 + "]" * 90000, r"is nested too deeply"),
        ("p.json", '{"a": ' + "9" * 5000 + "}", r"p.json: is not valid JSON"),
        ("p.yaml", "suite: é".encode("latin-1"), r"p.yaml: is no UTF-8 text \(.*byte 7\); save it as UTF-8"),
        ("p.yaml", "suite: x".encode("utf-16"), r"p.yaml: is no UTF-8 text"),
        ("p.yaml", "a: !!python/object:os.system x\n", r"p.yaml: is not valid YAML: line 1"),
    ],
)
def test_what_is_no_plain_value_is_answered_in_words(tmp_path: Path, name: str, content: Any, words: str) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match=words):
        read_parameters(path)


def test_a_folder_and_an_absent_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_parameters(tmp_path)
    with pytest.raises(InputError, match=r"nothing.yaml: is not there"):
        read_parameters(tmp_path / "nothing.yaml")


def test_the_command_ends_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "params.yaml").write_text("suite: one\nsuite: two\n")
    assert main(["--params", str(tmp_path / "params.yaml"), "plan"]) == 2
    assert "params.yaml: gives the key 'suite' twice (lines 1 and 2)" in capsys.readouterr().err


def test_a_method_is_no_bound_of_its_own_suite() -> None:
    """DVC would learn its cell twice."""
    with pytest.raises(InputError, match=r"matrix.bounds names finetune, which is in matrix.methods too"):
        tiny_suite(matrix={"methods": ["replay", "finetune"], "bounds": ["finetune"]})


def test_a_name_in_the_matrix_stands_there_once() -> None:
    with pytest.raises(InputError, match=r"matrix.seeds names 1 twice; name it once"):
        tiny_suite(matrix={"seeds": [1, 2, 1]})
