"""Benchmarks run under the switches of cells, and begin only within a limit of time where one is given."""

from __future__ import annotations

import time

import pytest

from cimbench.benchmarks.cell.process import prepare_process

prepare_process()
_BEGUN = time.monotonic()


def pytest_addoption(parser: pytest.Parser) -> None:
    """A limit, so that what was measured until then is written."""
    parser.addoption("--limit-seconds", type=float, help="begin no benchmark after so many seconds")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what would begin too late."""
    limit = item.config.getoption("--limit-seconds")
    if limit is not None and time.monotonic() - _BEGUN > limit:
        pytest.skip(f"not begun: {limit:g} seconds are over")
