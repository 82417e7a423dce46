"""Headless Chromium for tests that look at pages; they are skipped with the reason where it is absent."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--no-first-run"),
)
PATIENCE = 120_000  # milliseconds: other work may leave little of the processor


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium, which asks for nothing by itself."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no chromium on the path; on Debian: apt-get install chromium")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make install")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(SWITCHES), timeout=PATIENCE)
        yield browser
        browser.close()


def screenshots(tmp_path: Path) -> Path:
    """Where pictures of pages are kept: the folder that CIMBENCH_SCREENSHOTS names, else the test's own."""
    folder = Path(os.environ.get("CIMBENCH_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder
