"""`cimbench check` on classes that break one promise each: the line says which, and the others pass."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cimbench.benchmarks.cli import main

BOXES = """
import random
import torch
from dataclasses import dataclass
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.class_activation import ClassActivation, ClassActivationParameters as Changed
from cimbench.methods.compression.full import Full, FullParameters
from cimbench.methods.replay import Replay, ReplayParameters
from torch.nn import functional

@dataclass
class LooseParameters:
    ratio: float = 4.0

class Good(Full):
    pass

class Outside(Full):
    def boxes(self, images, network, random):
        return Boxes.of(torch.tensor([[0, 0, 99, 4]]).expand(len(images), 4))

class Short(Full):
    def boxes(self, images, network, random):
        return Boxes.of(torch.zeros(len(images) - 1, 4, dtype=torch.int64))

class Restless(Full):
    def boxes(self, images, network, random):
        drawn = torch.randint(1, 8, (len(images), 2))
        return Boxes.of(torch.cat([torch.zeros_like(drawn), drawn], 1))

class Loose(Full):
    def __init__(self, parameters: LooseParameters) -> None:
        super().__init__(FullParameters(ratio=parameters.ratio))

class Forgetful(Replay):
    def __init__(self, setup, parameters: ReplayParameters) -> None:
        super().__init__(setup, parameters)
        self.seen = 0

    def learn(self, task):
        self.grow_head(task)
        self.seen += 1
        self.fit(task, lambda x, y: self.seen * functional.cross_entropy(self.network(x).logits, y))

class Narrow(Replay):
    def scores(self, images):
        return {"linear": super().scores(images)["linear"][:, :1]}

class Raising(Replay):
    def embed(self, images):
        raise RuntimeError("no features here")
"""
SOURCE = """
import itertools
import torch
from dataclasses import dataclass
from pathlib import Path
from cimbench.datasets.reading.catalogue import Catalogue

@dataclass(frozen=True, kw_only=True)
class Parameters:
    images: int
    restless: bool = False
    boxed: int = 0

COUNT = itertools.count()

def catalogue(parameters: Parameters, folder, progress) -> Catalogue:
    numbers, shift = torch.arange(2 * parameters.images), next(COUNT) * parameters.restless
    box = torch.tensor([[0, 0, parameters.boxed, 4]]).expand(len(numbers), 4)
    return Catalogue(
        origin="own", class_names=("a", "b"), names=tuple(f"{n}" for n in numbers.tolist()), labels=numbers % 2,
        is_test=numbers // 2 % 3 == 0, boxes=box if parameters.boxed else torch.empty(0, 4, dtype=torch.int64),
        content=lambda i: torch.full((3, 8, 8), i + shift, dtype=torch.uint8),
    )
"""


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The package `strange` outside the project; no parameter file in the working directory."""
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange/classes.py").write_text(BOXES)
    (tmp_path / "strange/source.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    importlib.invalidate_caches()
    yield
    for name in [name for name in sys.modules if name.split(".")[0] == "strange"]:
        del sys.modules[name]


def lines(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[str], str]:
    """Exit status, the lines of passed and failed requirements, and the last words."""
    status = main(["check", *arguments])
    told = capsys.readouterr()
    found = [line for line in told.out.splitlines() if line.startswith(("passed", "FAILED"))]
    return status, found, (told.out + told.err).splitlines()[-1]


@pytest.mark.parametrize("name", ["replay", "strange.classes:Good"])
def test_what_keeps_its_promises_passes(capsys: pytest.CaptureFixture[str], name: str, tmp_path: Path) -> None:
    before = sorted(tmp_path.rglob("*"))
    status, found, last = lines(capsys, name)
    assert status == 0
    assert [line[:6] for line in found] == ["passed"] * 6
    assert last.startswith(f"{'method' if name == 'replay' else 'compressor'} {name}: all 6 requirements are met")
    assert [path for path in sorted(tmp_path.rglob("*")) if "__pycache__" not in str(path)] == before


BROKEN = [
    ("Outside", [3, 4, 5, 6], 3, r"box [0, 0, 99, 4] leaves an image of 16 x 16"),
    ("Short", [3, 4, 5, 6], 3, r"boxes are (23, 4) torch.int64; give (24, 4) int64"),
    ("Restless", [3, 6], 3, r"a generator of the same seed gave other boxes the second time"),
    ("Loose", [2], 2, r"LooseParameters can be changed; write @dataclass(frozen=True, kw_only=True)"),
    ("Forgetful", [4], 4, r"features differ after the next phase; state_dict leaves something out"),
    ("Narrow", [3, 5], 3, r"phase 1: linear is (12, 1); give (12, 2)"),
    ("Raising", [3, 4, 5], 3, r"RuntimeError: no features here"),
]


@pytest.mark.parametrize(("name", "failed", "place", "reason"), BROKEN)
def test_a_broken_promise_is_named(
    capsys: pytest.CaptureFixture[str], name: str, failed: list[int], place: int, reason: str
) -> None:
    status, found, last = lines(capsys, f"strange.classes:{name}")
    assert status == 1
    assert [number for number, line in enumerate(found, 1) if line.startswith("FAILED")] == failed, found
    assert reason in found[place - 1]
    assert f"{len(failed)} of 6 requirements are not met" in last


@pytest.mark.parametrize(
    ("given", "failed", "reason"),
    [
        (["images=6"], [], ""),
        (["images=6", "boxed=8"], [], ""),
        ([], [2, 3, 4], "images is missing"),
        (["images=six"], [2, 3, 4], "images is 'six'; give a whole number"),
        (["images=1"], [3, 4], "own: no training pictures for 2 classes: a, b"),
        (["images=6", "restless=true"], [4], "the second time it has other pictures"),
    ],
)
def test_a_source(capsys: pytest.CaptureFixture[str], given: list[str], failed: list[int], reason: str) -> None:
    status, found, _ = lines(capsys, "strange.source:catalogue", *given)
    assert status == bool(failed)
    assert [number for number, line in enumerate(found, 1) if line.startswith("FAILED")] == failed, found
    assert all(reason in found[number - 1] for number in failed)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("rplay", "did you mean 'replay'?"),
        ("absent:Half", "absent does not import (ModuleNotFoundError"),
        ("strange.source:Parameters", "'strange.source:Parameters' is the class Parameters; expected a method, compr"),
    ],
)
def test_what_is_nothing_of_the_kind_is_told(capsys: pytest.CaptureFixture[str], name: str, words: str) -> None:
    status, found, last = lines(capsys, name)
    assert (status, found) == (1, [])
    assert words in last
