"""Fetches that are killed, interrupted, run twice at once, behind a proxy, offline, or without room to write."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import filelock
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

import cimbench.datasets.fetching.fetch as fetch_module
from cimbench.datasets import arrays
from cimbench.datasets import fetching as package
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.fetch import ArchiveParameters, DiskSpaceError, Patience, StorageError, fetch_archive
from tests.datasets.loopback import CONTENT, NEWER, SHA256, Answer, Server, Watching, serving

QUICK = Patience(attempts=3, first_wait=0.001, longest_wait=0.01, least_bytes=1)
SOURCES = str(Path(fetch_module.__file__).parent)
PROGRAM = """
import sys
from pathlib import Path
from cimbench.datasets.fetching.fetch import ArchiveParameters, fetch_archive
print(fetch_archive(ArchiveParameters(mirrors=(sys.argv[1],), checksum=sys.argv[2]), Path(sys.argv[3])))
"""


def fetching(server: Server, folder: Path) -> subprocess.Popen[str]:
    """A fetch in a process of its own."""
    command = [sys.executable, "-c", PROGRAM, server.address(), SHA256, str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def archive_of(server: Server, checksum: str = SHA256) -> ArchiveParameters:
    return ArchiveParameters(mirrors=(server.address(),), checksum=checksum)


def wait_until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 20
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_two_fetches_at_once_download_once(tmp_path: Path) -> None:
    with serving(Answer(cut=60_000, stall=True), Answer()) as server:
        first = fetching(server, tmp_path)
        wait_until(lambda: len(server.asked) == 1)  # it has the lock
        second = fetching(server, tmp_path)
        assert second.stderr is not None
        line = second.stderr.readline()
        assert line == f"{tmp_path}/archive.tar: is being fetched by another process; waiting until it is done\n"
        server.go_on.set()
        for process in (first, second):
            output, errors = process.communicate(timeout=30)
            assert process.returncode == 0, errors
            assert output == f"{tmp_path}/archive.tar\n"
        assert server.ranges == ["all", "60000-"]
    assert (tmp_path / "archive.tar").read_bytes() == CONTENT


@pytest.mark.parametrize("checksum", [SHA256, ""], ids=["checksum", "none"])
def test_a_killed_fetch_is_continued(tmp_path: Path, checksum: str) -> None:
    partial = tmp_path / "archive.tar.partial"
    with serving(Answer(cut=60_000, stall=True), Answer()) as server:
        process = fetching(server, tmp_path)
        wait_until(lambda: partial.is_file() and partial.stat().st_size == 60_000)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=30)
        assert not (tmp_path / "archive.tar").exists()
        path = fetch_archive(archive_of(server, checksum), tmp_path, Watching(tmp_path / "archive.tar"))
        assert server.ranges == ["all", "60000-"]
        assert server.asked[1]["If-Range"] == '"first"'
    assert path.read_bytes() == CONTENT
    assert not partial.exists()


def interrupted_after(lines: int, work: Callable[[], object]) -> int:
    """Do `work`, with Ctrl-C at that line of the code under test; how many lines there were."""
    count = 0
    failures: list[type[BaseException]] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        if not frame.f_code.co_filename.startswith(SOURCES):
            return None
        if event == "line":
            count += 1
            if count == lines:
                raise KeyboardInterrupt
        return trace

    def body() -> None:
        sys.settrace(trace)
        try:
            work()
        except BaseException as error:
            sys.settrace(None)
            failures.append(type(error))  # not the error, whose frames would keep the lock

    thread = threading.Thread(target=body)  # with a trace of its own
    thread.start()
    thread.join()
    assert failures in ([], [KeyboardInterrupt])
    return count


@pytest.mark.parametrize("checksum", [SHA256, ""], ids=["checksum", "none"])
def test_interrupted_at_any_line_it_goes_on_to_the_right_file(tmp_path: Path, checksum: str) -> None:
    """An older version lies there half; what is fetched is the newer one, though the first fetch was interrupted."""
    truth = CONTENT if checksum else NEWER
    newer = Answer(content=truth, etag='"new"')
    cut = Answer(content=truth, etag='"new"', cut=60_000)
    step = 9
    for number in range(1000):
        folder = tmp_path / str(number)
        watching = Watching(folder / "archive.tar", truth)
        with serving(Answer(content=CONTENT, etag='"old"', cut=90_000), Answer(status=404), cut, newer) as server:
            with pytest.raises(InputError):
                fetch_archive(archive_of(server, checksum), folder, watching, QUICK)

            def again(server: Server = server, folder: Path = folder, watching: Watching = watching) -> Path:
                return fetch_archive(archive_of(server, checksum), folder, watching, QUICK)

            lines = interrupted_after(1 + number * step, again)
            watching.check()
            assert again().read_bytes() == truth
        if lines < 1 + number * step:
            break
    assert number > 30  # it was interrupted in that many places
    assert {path.name for path in folder.iterdir()} <= {"archive.tar", "archive.tar.lock", "archive.tar.verified.json"}


@settings(max_examples=40, deadline=None)
@given(cuts=some.lists(some.integers(1, 90_000), max_size=8), checksum=some.sampled_from([SHA256, ""]))
def test_any_cuts_end_with_the_right_file(cuts: list[int], checksum: str) -> None:
    with tempfile.TemporaryDirectory() as folder, serving(*(Answer(cut=cut) for cut in cuts), Answer()) as server:
        path = fetch_archive(archive_of(server, checksum), Path(folder), Watching(Path(folder) / "archive.tar"), QUICK)
        assert path.read_bytes() == CONTENT
        starts = [sum(cuts[:number]) for number in range(len(cuts) + 1)]
        wanted = ["all", *(f"{start}-" for start in starts[1:] if start < len(CONTENT))]
        assert server.ranges == wanted


def test_a_full_disk_ends_the_download_and_keeps_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.FileIO):
        def write(self, data: Any, /) -> int:
            room = 90_000 - os.fstat(self.fileno()).st_size
            if room == 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:room])

    def opened(path: Path, mode: str = "r", **options: Any) -> Any:
        return FullDisk(path, mode) if mode == "ab" else real(path, mode, **options)

    real = Path.open
    partial = tmp_path / "archive.tar.partial"
    with serving() as server, monkeypatch.context() as patch:
        patch.setattr(Path, "open", opened)
        with pytest.raises(DiskSpaceError, match=r"archive.tar.partial: the disk is full; make room and run again"):
            fetch_archive(ArchiveParameters(mirrors=(server.address(), server.address())), tmp_path)
        assert len(server.asked) == 1  # no other mirror helps
        assert partial.read_bytes() == CONTENT[:90_000]
        patch.undo()
        assert fetch_archive(archive_of(server), tmp_path).read_bytes() == CONTENT
        assert server.ranges == ["all", "90000-"]


def test_a_disk_too_full_for_a_note_of_the_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with serving() as server:
        with monkeypatch.context() as patch:
            patch.setattr(arrays.os, "fsync", full)
            with pytest.raises(
                DiskSpaceError, match=r"archive.tar.partial(.json)?: .*(the disk is full|No space left)"
            ):
                fetch_archive(archive_of(server), tmp_path)
        assert fetch_archive(archive_of(server), tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS])
def test_a_read_only_folder_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    words = (
        rf"^{tmp_path}: cannot be written \({os.strerror(number)}\); make the folder writable, or let data/ be a link"
    )
    with serving() as server:
        for owner, name in ((filelock.FileLock, "acquire"), (Path, "mkdir")):
            with monkeypatch.context() as patch:
                patch.setattr(owner, name, refused)
                with pytest.raises(StorageError, match=words):
                    fetch_archive(archive_of(server), tmp_path)
        assert server.asked == []
        path = fetch_archive(archive_of(server), tmp_path)
        (tmp_path / "archive.tar.verified.json").unlink()
        monkeypatch.setattr(Path, "mkdir", refused)  # nothing can be noted any more; what is there is good
        assert fetch_archive(archive_of(server), tmp_path) == path
    assert not (tmp_path / "archive.tar.verified.json").exists()


def test_a_folder_that_is_a_file_is_told(tmp_path: Path) -> None:
    (tmp_path / "archives").write_text("")
    with (
        serving() as server,
        pytest.raises(StorageError, match=r"archives: cannot be written \((File exists|Not a dir)"),
    ):
        fetch_archive(archive_of(server), tmp_path / "archives")


def test_offline_no_address_is_contacted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMBENCH_OFFLINE", "1")
    (tmp_path / "mine.tar").write_bytes(CONTENT)
    with serving() as server:
        with pytest.raises(InputError, match=r"archive.tar: CIMBENCH_OFFLINE is set, so no address is contacted"):
            fetch_archive(archive_of(server), tmp_path)
        both = ArchiveParameters(mirrors=(server.address(), str(tmp_path / "mine.tar")), checksum=SHA256)
        assert fetch_archive(both, tmp_path) == tmp_path / "mine.tar"
        assert server.asked == []
        monkeypatch.setenv("CIMBENCH_OFFLINE", "0")
        path = fetch_archive(archive_of(server), tmp_path)
        monkeypatch.setenv("CIMBENCH_OFFLINE", "1")
        assert fetch_archive(archive_of(server), tmp_path) == path
        assert len(server.asked) == 1


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY"])
def test_the_environments_proxy_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with serving() as proxy:
        monkeypatch.setenv(name, f"http://me:secret@127.0.0.1:{proxy.server_address[1]}")
        archive = ArchiveParameters(mirrors=("http://archives.invalid/a/archive.tar",), checksum=SHA256)
        assert fetch_archive(archive, tmp_path).read_bytes() == CONTENT
        assert proxy.paths == ["http://archives.invalid/a/archive.tar"]
        assert proxy.asked[0]["Proxy-Authorization"].startswith("Basic ")


def test_addresses_without_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
        with pytest.raises(InputError, match=r"the proxy cannot be reached \(Connection refused\)"):
            fetch_archive(archive_of(server), tmp_path, patience=QUICK)
        monkeypatch.setenv("no_proxy", "localhost,127.0.0.1")
        assert fetch_archive(archive_of(server), tmp_path).read_bytes() == CONTENT
        assert server.paths == ["/archive.tar"]


def test_without_the_webs_libraries_other_archives_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine.tar").write_bytes(CONTENT)
    monkeypatch.delitem(sys.modules, "cimbench.datasets.fetching.web", raising=False)
    monkeypatch.delattr(package, "web", raising=False)
    monkeypatch.setitem(sys.modules, "requests", None)
    mirrors = ("http://127.0.0.1:9/archive.tar", "/none.tar")
    with pytest.raises(InputError, match=r"archive.tar: the package 'requests' is not installed; install it"):
        fetch_archive(ArchiveParameters(mirrors=mirrors), tmp_path)
    here = ArchiveParameters(mirrors=(str(tmp_path / "mine.tar"),), checksum=SHA256)
    assert fetch_archive(here, tmp_path) == tmp_path / "mine.tar"
