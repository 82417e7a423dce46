"""The report page as people see it: on a phone and at a desk, light and dark, and on paper."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.metrics import headline
from cimbench.benchmarks.records.record import Record
from tests.benchmarks.browser import PATIENCE, chromium, screenshots
from tests.benchmarks.invented import invent
from tests.benchmarks.workplace import furnish
from tests.conftest import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]
SEEDS = (3, 4, 5)
WIDTH_OF_PAPER = 688  # A4 without its margins, in CSS pixels


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, list[Record]]]:
    """The page that the command writes of cells with invented numbers, one of them absent, and their records."""
    folder, before = tmp_path_factory.mktemp("suite"), Path.cwd()
    os.chdir(folder)
    try:
        compressors = ["none", "class_activation", "full"]
        suite = furnish(folder, matrix={"methods": ["replay", "icarl"], "compressors": compressors, "seeds": SEEDS})
        cells = list(suite.cells())[:-1]
        records = [invent(cell, [9, 5 - number % 4]) for number, cell in enumerate(cells)]
        (folder / "results/throughput").mkdir()
        shutil.copy(ROOT / "results/throughput/cpu.md", folder / "results/throughput")
        assert main(["--params", "params.json", "report"]) == 0
        yield folder / suite.results / "report.html", records
    finally:
        os.chdir(before)


@pytest.fixture
def opened(browser: Browser, written: tuple[Path, list[Record]], request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in a window of its own; nothing may be asked for, and nothing may go wrong."""
    width, scheme = request.param
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    context.set_default_timeout(PATIENCE)
    page, told, asked = context.new_page(), list[str](), list[str]()
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda one: asked.append(one.url[:40]))
    page.goto(written[0].as_uri())
    yield page
    assert told == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def widths(page: Page) -> tuple[int, int]:
    root: Any = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    return root[0], root[1]


@pytest.mark.parametrize(
    "opened", [(width, scheme) for width in (390, 1400) for scheme in ("light", "dark")], indirect=True
)
def test_everything_is_seen_at_every_width_in_both_schemes(
    opened: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    width, scheme = request.node.callspec.params["opened"]
    content, shown = widths(opened)
    assert content <= shown == width
    images: Any = opened.evaluate("[...document.images].map(one => [one.naturalWidth, one.clientWidth])")
    assert len(images) == 6  # a gallery of each cell of the first seed
    assert all(natural > 0 and drawn > 0 for natural, drawn in images)
    drawings: Any = opened.evaluate(
        "[...document.querySelectorAll('svg')].map(one => one.getBoundingClientRect().width)"
    )
    assert len(drawings) == 3
    assert all(drawn >= 320 for drawn in drawings)
    paper, ink, line = opened.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color,"
        " getComputedStyle([...document.querySelectorAll('#curves svg use')]"
        ".find(one => one.getAttribute('xlink:href').includes('DejaVu'))).fill]"
    )
    assert (sum(map(int, paper[4:-1].split(", "))) > 380) == (scheme == "light")
    assert ink == line  # words of drawings have the colour of the page's
    opened.screenshot(path=screenshots(tmp_path) / f"report-{scheme}-{width}.png", full_page=True)


@pytest.mark.parametrize("opened", [(390, "light")], indirect=True)
def test_the_numbers_are_the_records(opened: Page, written: tuple[Path, list[Record]]) -> None:
    rows: Any = opened.evaluate(
        "[...document.querySelectorAll('#comparison tbody tr')].map(row => [...row.cells].map(cell => cell.innerText))"
    )
    groups: dict[tuple[str, str, str], list[float]] = {}
    for record in written[1]:
        for head in record.heads:
            key = (record.config["method"]["name"], record.config["compressor"]["name"], head)
            groups.setdefault(key, []).append(100 * headline(record.counts(head))["last_accuracy"])
    assert {tuple(row[:3]) for row in rows} == set(groups)
    for row in rows:
        values = groups[row[0], row[1], row[2]]
        assert float(row[5].split(" ± ")[0]) == pytest.approx(sum(values) / len(values), abs=0.051)
    absent: Any = opened.evaluate("document.querySelector('#absent tbody').innerText")
    assert absent.split() == ["icarl-full-5", "not", "run"]


@pytest.mark.parametrize("opened", [(390, "light")], indirect=True)
def test_the_keyboard_reaches_the_numbers_and_wide_tables_move_in_their_box(opened: Page) -> None:
    opened.keyboard.press("Tab")
    assert opened.evaluate("document.activeElement.innerText") == "Skip to the numbers"
    opened.keyboard.press("Enter")
    assert opened.url.endswith("#comparison")
    box: Any = opened.evaluate(
        "(box => (box.scrollLeft = 9999, [box.scrollLeft, box.scrollWidth, box.clientWidth]))"
        "(document.querySelector('#comparison .scroll'))"
    )
    assert box[0] > 0
    assert box[1] > box[2]
    heading: Any = opened.evaluate("document.querySelector('#comparison tbody th').getBoundingClientRect().left")
    assert heading >= 0  # the method stays in sight


@pytest.mark.parametrize("opened", [(WIDTH_OF_PAPER, "dark")], indirect=True)
def test_it_prints_on_paper(opened: Page, tmp_path: Path) -> None:
    opened.emulate_media(media="print", color_scheme="dark")
    content, shown = widths(opened)
    assert content <= shown
    assert not opened.locator("nav").is_visible()
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    path = screenshots(tmp_path) / "report.pdf"
    opened.pdf(path=path, prefer_css_page_size=True)
    assert path.read_bytes()[:4] == b"%PDF"
    opened.screenshot(path=path.with_name("report-print.png"), full_page=True)
