"""`cimbench gpu` where there is no GPU; what it needs lies in the repository; TF32 is refused."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
import torch

from cimbench.benchmarks.cell.process import prepare_process
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.gpu.steps import Step, gpu_tests, outcome, run_step
from cimbench.benchmarks.suite import compose as composing
from cimbench.benchmarks.suite.compose import compose_parameters
from cimbench.datasets.errors import InputError
from tests.conftest import DEFAULT_SUITE, ROOT

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: make gpu runs the real thing")


def test_without_a_gpu_it_says_what_it_would_do_and_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    assert main(["gpu"]) == 0
    told = capsys.readouterr().out
    assert "Nothing is run: torch" in told
    assert "1. the tests that need a GPU" in told and "5. the first cells of small" in told


@pytest.mark.parametrize("name", [DEFAULT_SUITE, "small"])
def test_composed_files_are_what_hydra_composes(name: str) -> None:
    """They change with conf/: `cimbench compose NAME conf/plain/NAME.json`."""
    assert json.loads((ROOT / f"conf/plain/{name}.json").read_text()) == json.loads(
        json.dumps(compose_parameters(name, folder=ROOT / "conf"))
    )


def test_overrides_without_hydra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composing, "find_spec", lambda _name: None)
    changed = compose_parameters("small", ["training.epochs=3", "device=cpu"], ROOT / "conf")
    assert changed["training"]["epochs"] == 3 and changed["device"] == "cpu"
    for wrong in ("training.epoch=3", "budget.unit.x=1", "training.epochs"):
        with pytest.raises(InputError, match="give KEY=VALUE of a key in"):
            compose_parameters("small", [wrong], ROOT / "conf")
    with pytest.raises(InputError, match="Hydra is not installed here; install it, or name one of digits, small"):
        compose_parameters("tiny", [], ROOT / "conf")


@pytest.mark.parametrize("limit", ["0", "nan", "inf"])
def test_a_limit_that_is_none_is_refused(limit: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gpu", "--limit-seconds", limit]) == 2
    assert "--limit-seconds is" in capsys.readouterr().err


def test_the_files_that_name_a_gpu_are_found() -> None:
    found = {Path(path).name for path in gpu_tests(ROOT / "tests")}
    assert {
        "test_gpu.py",
        "test_rational.py",
        "test_kernels.py",
        "test_rational_kernels.py",
    } <= found and "test_cli.py" not in found


def test_a_steps_outcome_is_written_when_it_ends_or_is_stopped(tmp_path: Path) -> None:
    quick = Step("quick", "prints", (sys.executable, "-c", "print('made: 3')"), 1.0)
    assert run_step(quick, 30, {"device": "x"}, tmp_path)["ended"] == "ended well"
    assert (outcome(quick, tmp_path) or {})["last"] == "made: 3"
    slow = Step("slow", "sleeps", (sys.executable, "-c", "import time; time.sleep(60)"), 1.0)
    assert run_step(slow, 0.5, {}, tmp_path)["ended"] == "was stopped: its time was up"


def test_tf32_from_outside_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "1")
    with pytest.raises(InputError, match=r"TORCH_ALLOW_TF32_CUBLAS_OVERRIDE is 1: float32 would be TF32.*; unset it"):
        prepare_process()
