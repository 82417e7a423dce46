"""Bars count things or bytes, with a terminal and without."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest

from cimbench.benchmarks.commands import progress_bar as progress
from cimbench.benchmarks.commands.progress_bar import bar
from cimbench.datasets.fetching.fetch import ArchiveParameters, fetch_archive
from cimbench.datasets.progress import Display
from tests.datasets.loopback import CONTENT, SHA256, serving


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    """Time as the test says."""

    now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


def test_lines_of_bytes_have_rate_and_time_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("preparing food") as show:
        assert isinstance(show, Display)
        for second in range(0, 101, 10):
            clock.now = 1000.0 + second
            show.bytes_done(500_000_000 + second * 3_000_000, 3_500_000_000, "downloading")
        clock.now += 10
        show.bytes_done(0, None, "downloading")  # begun again
        clock.now += 10
        show.bytes_done(20_000_000, None, "downloading")
        clock.now += 10
        show(3, 4)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "preparing food downloading 530.0 of 3,500.0 MB, 3.0 MB/s, 0:16:30 left"
    assert lines[9] == "preparing food downloading 800.0 of 3,500.0 MB, 3.0 MB/s, 0:15:00 left"
    assert lines[11:] == ["preparing food downloading 20.0 MB, 2.0 MB/s", "preparing food  75 %"]


def test_a_terminal_shows_rate_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setenv("TERM", "xterm")
    with bar("preparing food") as show:
        assert isinstance(show, Display)
        show(1, 4)
        for done in range(1, 60):
            show.bytes_done(done * 1_000_000, 100_000_000, "downloading")
            time.sleep(0.01)
        show.line("the licence [CC BY]")
    text = terminal.getvalue()
    assert "/100.0 MB" in text
    assert "MB/s" in text
    assert "preparing food downloading" in text
    assert "the licence [CC BY]" in text


def test_a_fetch_shows_bytes_and_then_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(progress, "_LINE_EVERY", -1.0)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as server, bar("preparing food") as show:
        archive = ArchiveParameters(mirrors=(server.address(),), checksum=SHA256, licence="for research only")
        fetch_archive(archive, tmp_path, show)
        show(1, 2)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "archive.tar: for research only"
    assert all(line.startswith("preparing food downloading ") for line in lines[1:-1])
    assert f"of {len(CONTENT) / 1e6:.1f} MB" in lines[1]
    assert lines[-1] == "preparing food  50 %"
