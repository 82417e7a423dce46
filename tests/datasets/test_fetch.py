from __future__ import annotations

import errno
import hashlib
import http.server
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from cimbench.datasets import fetch
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetch import ArchiveParameters, fetch_archive

CONTENT = bytes(range(256)) * 4000  # about 1 MB
SHA256 = f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"


class Server(http.server.ThreadingHTTPServer):
    """Serves CONTENT with ranges; `asked` are those seen."""

    ranges = True
    says_length = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str] = []


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.send_response(200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()

    def do_GET(self) -> None:
        asked = self.headers.get("Range") if self.server.ranges else None
        self.server.asked.append(asked or "all")
        first, last = 0, len(CONTENT) - 1
        if asked:
            start, _, end = asked.removeprefix("bytes=").partition("-")
            first, last = int(start), min(int(end or last), last)
        body = CONTENT[first : last + 1]
        self.send_response(206 if asked else 200)
        if self.server.says_length:
            self.send_header("Content-Length", str(len(body)))
        if asked:
            self.send_header("Content-Range", f"bytes {first}-{last}/{len(CONTENT)}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()


def address(server: Server) -> str:
    return f"http://127.0.0.1:{server.server_address[1]}/archive.tar"


def test_download_is_verified_and_not_repeated(server: Server, tmp_path: Path) -> None:
    archive = ArchiveParameters(mirrors=(address(server),), checksum=SHA256)
    seen: list[tuple[int, int]] = []
    path = fetch_archive(archive, tmp_path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    server.asked.clear()
    assert fetch_archive(archive, tmp_path) == path
    assert server.asked == []
    assert [p.name for p in tmp_path.iterdir()] == ["archive.tar"]


def test_a_cut_download_is_continued_where_it_stopped(server: Server, tmp_path: Path) -> None:
    partial = tmp_path / "archive.tar.partial"
    partial.write_bytes(CONTENT[:300_000])
    path = fetch_archive(ArchiveParameters(mirrors=(address(server),), checksum=SHA256), tmp_path)
    assert path.read_bytes() == CONTENT
    starts = [int(asked.removeprefix("bytes=").partition("-")[0]) for asked in server.asked]
    assert min(starts) == 300_000


@pytest.mark.parametrize("have", [0, 300_000, len(CONTENT), len(CONTENT) + 5])
@pytest.mark.parametrize("says_length", [True, False])
def test_servers_without_ranges_or_length_are_read_anew(
    server: Server, tmp_path: Path, says_length: bool, have: int
) -> None:
    server.ranges, server.says_length = False, says_length
    if have:
        (tmp_path / "archive.tar.partial").write_bytes((CONTENT * 2)[:have])
    path = fetch_archive(ArchiveParameters(mirrors=(address(server),), checksum=SHA256), tmp_path)
    assert path.read_bytes() == CONTENT


def test_a_mirror_with_another_file_is_passed_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "old.tar").write_bytes(b"an older version")
    archive = ArchiveParameters(mirrors=(str(tmp_path / "old.tar"), address(server)), checksum=SHA256)
    assert fetch_archive(archive, tmp_path / "archives").read_bytes() == CONTENT


def test_a_full_disk_ends_the_download_and_keeps_what_came(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fetch.os, "fsync", full)
    mirrors = (address(server), address(server))
    with pytest.raises(fetch.DiskSpaceError, match=r"archive.tar.partial: the disk is full; make room and run again"):
        fetch_archive(ArchiveParameters(mirrors=mirrors), tmp_path)
    assert (tmp_path / "archive.tar.partial").stat().st_size == len(CONTENT)
    assert len(server.asked) == 1


def test_the_next_mirror_is_tried_and_all_failures_are_told(server: Server, tmp_path: Path) -> None:
    good = ArchiveParameters(mirrors=("/no/such/file.tar", "http://127.0.0.1:9/x.tar", address(server)))
    assert fetch_archive(good, tmp_path).read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"(?s)no mirror could be read.*/no/such/file.tar.*127.0.0.1:9") as error:
        fetch_archive(ArchiveParameters(mirrors=good.mirrors[:2]), tmp_path / "other")
    assert "name its path in dataset.archive.mirrors" in str(error.value)


def test_wrong_checksum_of_a_download_is_kept_aside(server: Server, tmp_path: Path) -> None:
    archive = ArchiveParameters(mirrors=(address(server),), checksum="md5:" + "0" * 32)
    with pytest.raises(InputError, match=r"md5 is [0-9a-f]{32}, dataset.archive.checksum says 0{32}"):
        fetch_archive(archive, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["archive.tar.wrong-checksum"]


def test_wrong_checksum_of_a_local_file_leaves_it_alone(tmp_path: Path) -> None:
    local = tmp_path / "mine.tar"
    local.write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"mine.tar: sha256 is"):
        fetch_archive(ArchiveParameters(mirrors=(str(local),), checksum="sha256:" + "0" * 64), tmp_path)
    assert local.read_bytes() == CONTENT


def test_local_paths_and_the_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data").mkdir()
    local = tmp_path / "data" / "mine.tar"
    local.write_bytes(CONTENT)
    monkeypatch.setenv("CIMBENCH_SHARED", str(tmp_path))
    for mirror in (str(local), f"file://{local}", "$CIMBENCH_SHARED/data/mine.tar"):
        assert fetch_archive(ArchiveParameters(mirrors=(mirror,), checksum=SHA256), tmp_path / "none") == local
    assert not (tmp_path / "none").exists()


def test_no_disk_space_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch.shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    with pytest.raises(InputError, match=r"^\S+: 1.0 MB are needed and 0.0 MB are free; make room"):
        fetch_archive(ArchiveParameters(mirrors=(address(server),)), tmp_path)
    assert server.asked == []


def test_unknown_checksum_algorithm() -> None:
    with pytest.raises(InputError, match="did you mean 'sha256'"):
        ArchiveParameters(mirrors=("x",), checksum="sha25:00")
    with pytest.raises(InputError, match="mirrors is empty"):
        ArchiveParameters(mirrors=())
