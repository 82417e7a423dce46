"""Names in the registry and names of one's own: what they load, and what is said of one that does not serve."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from cimbench.benchmarks import registry
from cimbench.benchmarks.records.provenance import source_digest, source_files
from cimbench.benchmarks.registry import COMPRESSORS, METHODS, SOURCES, Table, load
from cimbench.benchmarks.suite.compose import compose_parameters
from cimbench.benchmarks.suite.config import find_cell
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError, check_file_name
from tests.conftest import ROOT, tiny_suite

OWN = """
from __future__ import annotations
from dataclasses import dataclass
from typing import TYPE_CHECKING
from cimbench.methods.compression.cim import CIM
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.compression.full import Full, FullParameters
from cimbench.methods.replay import Replay, ReplayParameters
if TYPE_CHECKING:
    from somewhere import Elsewhere

@dataclass(frozen=True, kw_only=True)
class MineParameters:
    ratio: float = 9.0

class Mine(Full):
    def __init__(self, parameters: MineParameters) -> None:
        super().__init__(FullParameters(ratio=parameters.ratio))

class Host(Replay):
    pass

class Bare(Full):
    def __init__(self, ratio: float) -> None: ...

class Untyped(Full):
    def __init__(self, parameters) -> None: ...

class Hidden(Full):
    def __init__(self, parameters: Elsewhere) -> None: ...

class Half(Compressor):
    def __init__(self, parameters: MineParameters) -> None: ...
    def format(self, codec): ...

def catalogue(parameters: MineParameters, folder, progress): ...
def bare(folder): ...
NUMBER = 3
"""


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package outside the project: mypackage.own, and mypackage.broken, which does not import."""
    folder = tmp_path / "mypackage"
    folder.mkdir()
    (folder / "own.py").write_text(OWN)
    (folder / "broken.py").write_text("import absent_library")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "mypackage"]:
        del sys.modules[name]


@pytest.mark.parametrize(("table", "count"), [(METHODS, 8), (COMPRESSORS, 16), (SOURCES, 8)])
def test_every_entry_loads_with_the_parameters_of_its_own_file(table: Table, count: int) -> None:
    assert len(table) == count
    for name, entry in table.items():
        loaded, parameters = load("name", table, name)
        assert f"{loaded.__module__}:{loaded.__name__}" == entry
        assert parameters.__module__ == loaded.__module__ or parameters.__name__ == "ImageNetParameters"


@pytest.mark.usefixtures("own")
def test_a_name_of_ones_own_is_loaded_from_its_package() -> None:
    cls, parameters = load("compressor", COMPRESSORS, "mypackage.own:Mine")
    assert (cls.__name__, parameters.__name__) == ("Mine", "MineParameters")
    assert load("method", METHODS, "mypackage.own:Host")[1].__name__ == "ReplayParameters"
    assert load("dataset.source", SOURCES, "mypackage.own:catalogue")[1] is parameters


WRONG = [
    (COMPRESSORS, "left_half", r"'left_half' is not known; .*known: .*; one of your own is named module:Class"),
    (COMPRESSORS, "absent.half:Half", r"'absent.half:Half': absent.half does not import \(ModuleNotFoundError: No mod"),
    (COMPRESSORS, "mypackage.broken:Half", r"does not import \(ModuleNotFoundError: No module named 'absent_library'"),
    (COMPRESSORS, "mypackage.own:Mime", r"mypackage.own has no Mime; did you mean 'Mine'\?"),
    (COMPRESSORS, "mypackage/own:Mine", r"is no name of a class; write module:Class"),
    (COMPRESSORS, "mypackage.own:", r"is no name of a class; write module:Class"),
    (
        COMPRESSORS,
        "mypackage.own:Host",
        r"is no Compressor but the class Host; expected a class that derives from cimb",
    ),
    (METHODS, "mypackage.own:Mine", r"is no Method but the class Mine; expected .* cimbench.methods.method.Method"),
    (METHODS, "mypackage.own:NUMBER", r"is no Method but of type int; expected a class"),
    (
        SOURCES,
        "mypackage.own:Mine",
        r"is no source but the class Mine; expected a function catalogue\(parameters, fold",
    ),
    (COMPRESSORS, "mypackage.own:Half", r"'mypackage.own:Half' lacks boxes; expected a Compressor that defines them"),
    (
        COMPRESSORS,
        "mypackage.own:Bare",
        r"lacks its parameter dataclass; expected that its __init__ takes `parameters`",
    ),
    (COMPRESSORS, "mypackage.own:Untyped", r"lacks its parameter dataclass; expected that its __init__ takes `paramet"),
    (COMPRESSORS, "mypackage.own:Hidden", r"its annotations name Elsewhere, which its module does not import"),
    (SOURCES, "mypackage.own:bare", r"lacks its parameter dataclass; expected that it takes `parameters`"),
    (COMPRESSORS, "mypackage.own:CIM", r"is what the registry calls 'cim'; expected that name"),
    (METHODS, "cimbench.methods.der:DER", r"is what the registry calls 'der'; expected that name"),
]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(("table", "name", "words"), WRONG)
def test_a_name_that_does_not_serve_is_refused_in_a_sentence(table: Table, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words):
        load("matrix: name", table, name)


def test_a_cell_of_ones_own_has_legal_names_and_its_files_in_the_digest(own: Path) -> None:
    suite = tiny_suite(compressors={"mypackage.own:Mine": {"ratio": 16.0}})
    cell = find_cell(suite, "mypackage.own:Host", "mypackage.own:Mine", 3)
    assert cell.name == "mypackage.own.Host-mypackage.own.Mine-3"
    check_file_name("cell", cell.name)
    assert cell.phase_checkpoint.name == "mypackage.own.Host-mypackage.own.Mine-3.phase.npz"
    assert cell.resolved()["compressor"] == {"name": "mypackage.own:Mine", "ratio": 16.0}
    assert cell.resolved()["method"] == {"name": "mypackage.own:Host"}
    files = source_files(cell.method, cell.compressor)
    assert own / "own.py" in files
    before = source_digest("replay", cell.compressor)
    (own / "own.py").write_text(OWN.replace("9.0", "8.0"))
    assert source_digest("replay", cell.compressor) != before
    assert registry.source_file(METHODS, "replay").name == "replay.py"


@pytest.mark.usefixtures("own")
def test_a_suite_names_the_parameter_of_ones_own_that_is_wrong() -> None:
    with pytest.raises(
        InputError, match=r"compressors.mypackage.own:Mine.rato is not a parameter; did you mean 'ratio"
    ):
        tiny_suite(compressors={"mypackage.own:Mine": {"rato": 16.0}})


def test_conf_says_what_differs_from_the_defaults() -> None:
    """Each line of conf/methods and conf/compressors changes something, and every name has a section for DVC."""
    for kind, table in (("methods", METHODS), ("compressors", COMPRESSORS)):
        for path in sorted((ROOT / "conf" / kind).glob("*.yaml")):
            sections = yaml.safe_load(path.read_text())
            assert list(sections) == list(table), path
            for name, given in sections.items():
                _, cls = load("name", table, name)
                default, plain = cls(), dataclasses.asdict(cls())
                for key in given:
                    without = {other: value for other, value in given.items() if other != key}
                    assert build(cls, given, name) != build(cls, without, name), f"{path}: {name}.{key} is {plain[key]}"
                assert build(cls, {}, name) == default


def test_an_override_of_what_conf_leaves_out_is_told_how() -> None:
    with pytest.raises(InputError, match=r"What conf/ leaves at its default takes a \+, as in \+methods"):
        compose_parameters("embedded", ["compressors.cim.rate=0.1"], ROOT / "conf")
    composed = compose_parameters("embedded", ["+compressors.cim.rate=0.1"], ROOT / "conf")
    assert composed["compressors"]["cim"]["rate"] == 0.1
