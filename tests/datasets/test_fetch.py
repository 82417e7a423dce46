from __future__ import annotations

import io
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching import checksums
from cimbench.datasets.fetching.fetch import ArchiveParameters, DiskSpaceError, Patience, fetch_archive
from tests.datasets.loopback import CONTENT, NEWER, SHA256, Answer, Server, Watching, serving

QUICK = Patience(attempts=2, first_wait=0.001, longest_wait=0.01)
WRONG = "sha256:" + "0" * 64


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The files that are read for their checksum alone."""
    files: list[Path] = []
    real = checksums.RunningChecksum.read

    def counted(self: checksums.RunningChecksum, path: Path, display: checksums.Display) -> None:
        files.append(path)
        real(self, path, display)

    monkeypatch.setattr(checksums.RunningChecksum, "read", counted)
    return files


def archive_at(*mirrors: str, checksum: str = SHA256, licence: str = "", manual: str = "") -> ArchiveParameters:
    return ArchiveParameters(mirrors=mirrors, checksum=checksum, licence=licence, manual=manual)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_download_is_verified_and_not_repeated(server: Server, tmp_path: Path, read: list[Path]) -> None:
    archive = archive_at(server.address())
    seen: list[tuple[int, int]] = []
    path = fetch_archive(archive, tmp_path, lambda done, total: seen.append((done, total)))
    assert path.read_bytes() == CONTENT
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
    assert fetch_archive(archive, tmp_path) == path
    assert server.ranges == ["all"]
    assert server.asked[0]["Accept-Encoding"] == "identity"
    assert read == []  # the checksum came with the bytes, and is remembered
    assert names(tmp_path) == ["archive.tar", "archive.tar.verified.json"]


def test_a_changed_file_is_read_again(server: Server, tmp_path: Path, read: list[Path]) -> None:
    archive = archive_at(server.address())
    path = fetch_archive(archive, tmp_path)
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert fetch_archive(archive, tmp_path) == path
    assert fetch_archive(archive, tmp_path) == path
    assert read == [path]
    path.write_bytes(NEWER)
    for _ in range(2):
        with pytest.raises(InputError, match=r"archive.tar: sha256 is \w{64}, .* says \w{64}; the file is damaged"):
            fetch_archive(archive_at(server.address(), server.address("other/archive.tar")), tmp_path)
    assert read == [path] * 3  # once for both mirrors
    assert path.read_bytes() == NEWER
    assert server.ranges == ["all"]


def test_another_checksum_is_not_the_remembered_one(server: Server, tmp_path: Path) -> None:
    fetch_archive(archive_at(server.address()), tmp_path)
    with pytest.raises(InputError, match=r"dataset.archive.checksum says 0{64}"):
        fetch_archive(archive_at(server.address(), checksum=WRONG), tmp_path)


def test_a_cut_download_is_continued_where_it_stopped(server: Server, tmp_path: Path, read: list[Path]) -> None:
    partial = tmp_path / "archive.tar.partial"
    partial.write_bytes(CONTENT[:90_000])
    file = partial.stat().st_ino
    watching = Watching(tmp_path / "archive.tar")
    assert fetch_archive(archive_at(server.address()), tmp_path, watching).read_bytes() == CONTENT
    assert server.ranges == ["90000-"]
    assert (tmp_path / "archive.tar").stat().st_ino == file  # renamed, not copied
    assert read == [partial]
    assert watching.seen[0] == (90_000, 90_000, "checking")
    assert watching.seen[-1] == (200_000, 200_000, "downloading")


def test_a_mirror_that_gives_up_is_continued_by_the_next(tmp_path: Path) -> None:
    with serving(Answer(cut=60_000), Answer(status=404)) as first, serving(Answer(etag='"its own"')) as second:
        archive = archive_at(first.address(), second.address())
        assert fetch_archive(archive, tmp_path, patience=QUICK).read_bytes() == CONTENT
        assert second.ranges == ["60000-"]
        assert "If-Range" not in second.asked[0]  # its versions have other names; the checksum tells


def test_without_a_checksum_another_mirror_begins_anew(tmp_path: Path) -> None:
    with serving(Answer(cut=60_000), Answer(status=404)) as first, serving(Answer(content=NEWER)) as second:
        archive = archive_at(first.address(), second.address(), checksum="")
        assert fetch_archive(archive, tmp_path, patience=QUICK).read_bytes() == NEWER
        assert second.ranges == ["all"]


def test_a_mirror_with_another_file_is_passed_over(server: Server, tmp_path: Path) -> None:
    (tmp_path / "old.tar").write_bytes(b"an older version")
    with serving(Answer(content=NEWER)) as wrong:
        archive = archive_at(str(tmp_path / "old.tar"), wrong.address(), server.address())
        folder = tmp_path / "archives"
        assert fetch_archive(archive, folder).read_bytes() == CONTENT
    assert (folder / "archive.tar.wrong-checksum").read_bytes() == NEWER


def test_the_next_mirror_is_tried_and_all_failures_are_told(server: Server, tmp_path: Path) -> None:
    good = archive_at("/no/such/file.tar", "http://127.0.0.1:9/x.tar", server.address())
    assert fetch_archive(good, tmp_path, patience=QUICK).read_bytes() == CONTENT
    with pytest.raises(InputError, match="no mirror could be read") as error:
        fetch_archive(archive_at(*good.mirrors[:2]), tmp_path / "other", patience=QUICK)
    assert str(error.value).splitlines()[1:] == [
        "  /no/such/file.tar: no such file",
        "  http://127.0.0.1:9/x.tar: the server cannot be reached (Connection refused); "
        "given up after 2 attempts without progress",
        "check the network, or put the archive on this machine and name its path in dataset.archive.mirrors",
    ]
    assert names(tmp_path / "other") == []


def test_what_is_here_comes_before_any_address(server: Server, tmp_path: Path) -> None:
    local = tmp_path / "mine.tar"
    local.write_bytes(CONTENT)
    assert fetch_archive(archive_at(server.address(), str(local)), tmp_path) == local
    assert server.asked == []


def test_wrong_checksum_of_a_download_is_kept_aside(server: Server, tmp_path: Path) -> None:
    archive = archive_at(server.address(), checksum="md5:" + "0" * 32)
    with pytest.raises(InputError, match=r"md5 is [0-9a-f]{32}, dataset.archive.checksum says 0{32}") as error:
        fetch_archive(archive, tmp_path)
    assert names(tmp_path) == ["archive.tar.wrong-checksum"]
    assert f"kept as {tmp_path / 'archive.tar.wrong-checksum'}: name another mirror" in str(error.value)


def test_wrong_checksum_of_a_local_file_leaves_it_alone(tmp_path: Path) -> None:
    local = tmp_path / "mine.tar"
    local.write_bytes(CONTENT)
    with pytest.raises(InputError, match=r"mine.tar: sha256 is"):
        fetch_archive(archive_at(str(local), checksum=WRONG), tmp_path)
    assert local.read_bytes() == CONTENT


def test_local_paths_and_the_shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: list[Path]) -> None:
    (tmp_path / "data").mkdir()
    local = tmp_path / "data" / "mine.tar"
    local.write_bytes(CONTENT)
    monkeypatch.setenv("CIMBENCH_SHARED", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    here = (
        str(local),
        f"file://{local}",
        f"file://localhost{local}",
        "$CIMBENCH_SHARED/data/mine.tar",
        "~/data/mine.tar",
    )
    for mirror in here:
        assert fetch_archive(archive_at(mirror), tmp_path / "none") == local
    assert names(tmp_path / "none") == ["mine.tar.verified.json"]  # beside downloads, not beside the user's file
    assert names(tmp_path / "data") == ["mine.tar"]
    assert read == [local]
    with pytest.raises(InputError, match="data: is a folder; name the archive in it\nput the archive on this machine"):
        fetch_archive(archive_at(str(tmp_path / "data")), tmp_path / "none")


def test_no_disk_space_is_told_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9 - 1000, 1000))
    partial = tmp_path / "archive.tar.partial"
    partial.write_bytes(CONTENT[:100_000])
    for kept, needed in ((100_000, "0.1"), (0, "0.2")):
        with pytest.raises(DiskSpaceError, match=rf"^\S+: {needed} MB are needed and 0.0 MB are free; make room"):
            fetch_archive(archive_at(server.address(), server.address()), tmp_path)
        assert (partial.stat().st_size if partial.exists() else 0) == kept
        partial.unlink(missing_ok=True)
    assert len(server.asked) == 2  # no second mirror
    partial.write_bytes(CONTENT[:-1000])  # the rest fits
    assert fetch_archive(archive_at(server.address()), tmp_path).read_bytes() == CONTENT


def test_the_licence_is_shown_once_and_kept(tmp_path: Path) -> None:
    watching = Watching(tmp_path / "archive.tar")
    with serving(Answer(cut=60_000), Answer(status=404), Answer()) as server:
        archive = archive_at(server.address(), licence="for research only [CC BY-NC]")
        with pytest.raises(InputError):
            fetch_archive(archive, tmp_path, watching, QUICK)
        assert watching.lines[0] == "archive.tar: for research only [CC BY-NC]"
        fetch_archive(archive, tmp_path, watching, QUICK)
    assert [line for line in watching.lines if "research" in line] == watching.lines[:1]
    assert (tmp_path / "archive.tar.licence.txt").read_text() == "for research only [CC BY-NC]\n"


def test_data_that_need_an_account_are_asked_for_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CIMBENCH_SHARED", "/large")
    manual = "ImageNet needs an account: get train.tar from image-net.org and put it to $CIMBENCH_SHARED/data/train.tar"
    with pytest.raises(InputError) as error:
        fetch_archive(archive_at("$CIMBENCH_SHARED/data/train.tar", manual=manual), tmp_path)
    assert str(error.value) == (
        "dataset.archive: no mirror could be read:\n  /large/data/train.tar: no such file\n"
        "ImageNet needs an account: get train.tar from image-net.org and put it to /large/data/train.tar"
    )


@pytest.fixture(params=["breaks", "ends"])
def starts(request: pytest.FixtureRequest) -> Iterator[list[int]]:
    """Where flaky://archive.tar is read, which breaks or ends at byte 60000 the first time."""

    starts: list[int] = []

    class Breaking(io.BytesIO):
        def read(self, count: int | None = -1, /) -> bytes:
            starts.append(self.tell())
            if len(starts) == 2 and request.param == "breaks":
                raise RuntimeError("broken")
            if len(starts) == 2:
                return b""
            return super().read(60_000 if len(starts) == 1 else count)

    class Flaky(MemoryFileSystem):  # type: ignore[misc]
        protocol = "flaky"

        @classmethod
        def _strip_protocol(cls, path: str) -> str:
            return "/" + path.removeprefix("flaky://").strip("/")

        def open(self, path: str, mode: str = "rb", **options: object) -> io.BytesIO:
            return Breaking(CONTENT) if mode == "rb" else super().open(path, mode, **options)

    fsspec.register_implementation("flaky", Flaky, clobber=True)
    Flaky.clear_instance_cache()
    Flaky().pipe_file("/archive.tar", CONTENT)
    yield starts
    Flaky().rm("/archive.tar")


@pytest.mark.parametrize("checksum", [SHA256, ""], ids=["checksum", "none"])
def test_any_address_of_fsspec_is_continued_too(starts: list[int], tmp_path: Path, checksum: str) -> None:
    watching = Watching(tmp_path / "archive.tar")
    archive = archive_at("flaky://archive.tar", checksum=checksum)
    assert fetch_archive(archive, tmp_path, watching, QUICK).read_bytes() == CONTENT
    assert starts[:3] == [0, 60_000, 60_000]
    (line,) = watching.lines
    assert re.fullmatch(
        r"flaky://archive.tar: (RuntimeError: broken|.* 60000 of 200000 bytes); .* from byte 60000", line
    )


def test_addresses_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    longest = "http://127.0.0.1:9/" + "x" * 300
    mirrors = ("memory://none.tar", "nosuch://x/y.tar", "http://[::1/a.tar", longest, "~nobody-here/a.tar")
    with pytest.raises(InputError) as error:
        fetch_archive(archive_at(*mirrors), tmp_path, patience=QUICK)
    lines = str(error.value).splitlines()
    assert lines[1] == "  memory://none.tar: FileNotFoundError: /none.tar"
    assert "Protocol not known: nosuch" in lines[2]
    assert "http://[::1/a.tar: " in lines[3]
    assert "File name too long" in lines[4]
    assert lines[5] == "  ~nobody-here/a.tar: no such file"


def test_a_checksum_that_is_none_is_told_before_the_download() -> None:
    with pytest.raises(InputError, match="did you mean 'sha256'"):
        ArchiveParameters(mirrors=("x",), checksum="sha25:00")
    with pytest.raises(InputError, match="checksum is 'sha256:00'; give 64 hexadecimal digits after 'sha256:'"):
        ArchiveParameters(mirrors=("x",), checksum="sha256:00")
    with pytest.raises(InputError, match="mirrors is empty"):
        ArchiveParameters(mirrors=())
