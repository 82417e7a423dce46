"""How tests are spread over processes: groups stay together, a crash costs one test, failures are kept as they come.

A plugin of conftest.py. pytest-xdist's own group scheduler hands a test that kills its process to the next one, again
and again, and waits for ever where nothing else of its group is left.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

FAILED = Path("build/failed-tests.txt")  # below the root folder

try:
    from xdist.scheduler import LoadGroupScheduling
except ModuleNotFoundError:
    LoadGroupScheduling = object


class GroupScheduling(LoadGroupScheduling):  # type: ignore[misc]
    """Groups in one process; of a process that died, what it had not begun goes to another."""

    def remove_node(self, node: Any) -> str | None:
        """The test that killed the process, or None where it had nothing left to do."""
        units = self.assigned_work.pop(node)
        unfinished = [(unit, name) for unit in units.values() for name, completed in unit.items() if not completed]
        if not unfinished:
            return None
        unit, crashed = unfinished[0]
        unit[crashed] = True
        self.workqueue.update({scope: unit for scope, unit in units.items() if not all(unit.values())})
        for other in self.assigned_work:
            self._reschedule(other)
        return str(crashed)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Our scheduler where groups are asked for."""
    return GroupScheduling(config, log) if config.getvalue("dist") == "loadgroup" else None


class FailedTests:
    """Writes each failure when it happens, so that no crash of pytest itself takes them along."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
        self._path = path

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """A line for a failure: the test, and the last line of what went wrong."""
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            words = str(crash.message if crash is not None else report.longrepr).strip().splitlines()
            with self._path.open("a") as file:
                file.write(f"{report.nodeid} ({report.when}): {words[0] if words else 'failed'}\n")


def pytest_configure(config: pytest.Config) -> None:
    """Keep failures in the process that hands out the tests."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailedTests(config.rootpath / FAILED), "failed tests")
