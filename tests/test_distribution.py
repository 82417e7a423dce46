"""Tests that kill their process, in a project of their own: each fails once, the rest is run, groups stay together."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.xdist_group("distribution")  # one run of the project

PROJECT = """
import os, time
from pathlib import Path
import pytest

def note(request):
    with Path(__file__).with_name("log").open("a") as file:
        file.write(f"{os.environ['PYTEST_XDIST_WORKER']} {request.node.name}\\n")

@pytest.mark.parametrize("number", range(12))
def test_single(number, request):
    note(request)
    assert number != 7

def test_crash():
    os.abort()

@pytest.mark.xdist_group("one")
@pytest.mark.parametrize("number", range(6))
def test_grouped(number, request):
    note(request)
    time.sleep(0.05)

@pytest.mark.xdist_group("two")
@pytest.mark.parametrize("number", range(4))
def test_group_with_a_crash(number, request):
    note(request)
    if number == 1:
        os.abort()

@pytest.mark.xdist_group("three")
def test_a_group_of_one_crash():
    os.abort()
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The project after its run, and what was printed."""
    folder = tmp_path_factory.mktemp("crashes")
    (folder / "tests").mkdir()
    shutil.copy(ROOT / "tests/distribution.py", folder / "tests")
    (folder / "tests/conftest.py").write_text(
        "from tests.distribution import pytest_configure, pytest_xdist_make_scheduler\n"
    )
    (folder / "tests/test_crashes.py").write_text(PROJECT)
    (folder / "pytest.ini").write_text("[pytest]\ntestpaths = tests\n")
    command = [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "-q"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    return folder, done.stdout


def test_each_crash_costs_one_test(project: tuple[Path, str]) -> None:
    folder, printed = project
    assert "4 failed, 20 passed" in printed
    ran = [line.split(" ", 1)[1] for line in (folder / "tests/log").read_text().splitlines()]
    assert sorted(ran) == sorted(
        [f"test_single[{n}]" for n in range(12)]
        + [f"test_grouped[{n}]" for n in range(6)]
        + [f"test_group_with_a_crash[{n}]" for n in range(4)]
    ), "each once"


def test_groups_stay_in_one_process(project: tuple[Path, str]) -> None:
    lines = (project[0] / "tests/log").read_text().splitlines()
    assert len({line.split()[0] for line in lines if "test_grouped" in line}) == 1


def test_failures_are_written_as_they_come(project: tuple[Path, str]) -> None:
    text = (project[0] / "build/failed-tests.txt").read_text()
    assert len(text.splitlines()) == 4
    for name in ("test_crash", "test_a_group_of_one_crash", "test_group_with_a_crash[1]", "test_single[7]"):
        (line,) = (line for line in text.splitlines() if f"::{name}" in line.split("@")[0].split(" ")[0] + " ")
        assert "crashed while running" in line or "assert 7 != 7" in line
