"""`mlflow ui`, as a reader opens it after a suite: readable names, two runs compared, accuracy over phases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.benchmarks.browser import PATIENCE, chromium, screenshots
from tests.benchmarks.invented import invent
from tests.benchmarks.mlflow_server import serving
from tests.benchmarks.workplace import furnish, run_command
from tests.conftest import coloured_store

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.xdist_group("tracking"), pytest.mark.slow, pytest.mark.browser, pytest.mark.timeout(900)]
# a server without passwords knows no users, and the page asks for one all the same; charts are fitted late
HARMLESS = ("users/current", "ResizeObserver loop")


@contextmanager
def page(address: str) -> Iterator[Page]:
    """A page in Chromium that may go nowhere but to this machine, and must not complain."""
    complaints: list[str] = []
    with chromium() as browser:
        shown = browser.new_page(viewport={"width": 1280, "height": 800})
        shown.set_default_timeout(PATIENCE)
        shown.on("request", lambda request: complaints.append(request.url) if leaves(request.url) else None)
        shown.on("pageerror", lambda error: complaints.append(str(error)))
        shown.on(
            "console",
            lambda said: complaints.append(f"{said.text} {said.location['url']}") if said.type == "error" else None,
        )
        shown.goto(address, wait_until="domcontentloaded")
        yield shown
    assert [one for one in complaints if not any(harmless in one for harmless in HARMLESS)] == []


def leaves(url: str) -> bool:
    """Whether a request goes to another machine."""
    return not re.match(r"(data:|blob:|http://127\.0\.0\.1:)", url)


def to_the_runs(shown: Page, suite: str) -> None:
    """From the first page to the experiment's list of runs."""
    shown.get_by_text("Model training", exact=True).first.click()
    shown.get_by_role("link", name="Experiments").first.click()
    shown.get_by_role("link", name=f"cim-bench {suite}", exact=True).first.click()


def compare(shown: Page, *names: str) -> None:
    """Tick the runs and press Compare."""
    for name in names:
        link = shown.get_by_role("link", name=name)
        link.first.wait_for()
        row = shown.locator("[role=row]").filter(has=link).first
        row.get_by_role("checkbox").first.check(force=True)
    shown.get_by_role("button", name="Compare", exact=True).first.click()
    shown.get_by_text("Comparing 2 Runs from 1 Experiment").first.wait_for()


def curves(shown: Page, names: tuple[str, str]) -> dict[str, list[float]]:
    """The lines of the page's chart by the names of their runs, once both are drawn."""
    lines = "plot => (plot.data || []).map(line => [line.name, Array.from(line.y || [])])"
    script = f"() => [...document.querySelectorAll('.js-plotly-plot')].flatMap({lines})"
    drawn = f"names => names.every(name => ({script})().some(line => line[0] === name && line[1].length > 0))"
    shown.wait_for_function(drawn, arg=list(names))
    return {name: values for name, values in shown.evaluate(script) if name}


def test_two_runs_are_compared_over_phases(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: seeds 2 and 4 have 2 and 4 of ten right in phase 2 and one less in phase 3; with `full` four more."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    matrix = {"methods": ["replay"], "compressors": ["none", "full"], "seeds": [2, 4], "bounds": []}
    dataset = coloured_store(classes=6)
    suite = furnish(workspace, dataset, suite="shown", matrix=matrix, protocol={"phases": 3})
    for cell in suite.cells():
        middle = cell.seed + (4 if cell.compressor == "full" else 0)
        invent(cell, [9, middle, middle - 1])
    tracked = run_command(workspace, "track")  # MLflow keeps a connection a relative address, whatever the folder
    assert tracked.returncode == 0, tracked.stderr
    pictures = screenshots(workspace)
    none, full = "replay + none, mean of 2 seeds", "replay + full, mean of 2 seeds"
    with serving(workspace, "ui") as address, page(address) as shown:
        to_the_runs(shown, "shown")
        for name in (none, full):
            shown.get_by_role("link", name=name).first.wait_for()
        assert "seed 2" not in shown.inner_text("body")  # below its mean, until that is opened
        shown.screenshot(path=pictures / "mlflow-runs.png")
        compare(shown, none, full)
        told = shown.inner_text("body")
        assert none in told and full in told
        assert re.search(r"compressor\.name\s+none\s+full|compressor\.name\s+full\s+none", told)
        shown.screenshot(path=pictures / "mlflow-runs-compared.png")
        shown.get_by_role("link", name="accuracy/linear", exact=True).first.click()
        shown.get_by_text(f"{none} (accuracy/linear)").first.wait_for()
        shown.get_by_text("(step=3)").first.wait_for()
        drawn = curves(shown, (none, full))
        shown.screenshot(path=pictures / "mlflow-compare.png")
    assert drawn[none] == pytest.approx([0.9, 0.3, 0.2])
    assert drawn[full] == pytest.approx([0.9, 0.7, 0.6])
