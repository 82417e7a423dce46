"""Files of archives, read where they lie: nothing hostile or absurd comes through.

An archive is not unpacked: its files are read in place, by several threads at once. A compressed tar, which can only be
read from its start, is first written uncompressed into the archives' folder.
"""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.fetching.fetch import ArchiveParameters, check_disk_space
from cimbench.datasets.progress import Advance, no_progress
from cimbench.datasets.reading.files import Files, FolderFiles, check_size, with_parents

EXPANSION_LIMIT = 20  # times the archive's own size; pictures do not shrink, lists do by about 10
EXPANSION_FLOOR = 1 << 26  # bytes below which expansion does not matter
UNPACKED = "unpacked"  # folder of uncompressed copies in the archives' folder
_CHUNK = 1 << 20


@dataclass(frozen=True)
class _Span:
    start: int
    length: int


class TarFiles(Files):
    """The regular files of an uncompressed tar, or of one inside it; read by position."""

    def __init__(self, file: IO[bytes], span: _Span, origin: Path) -> None:
        self.origin, self._file, self._span = origin, file, span
        with reading(origin):
            window = _Window(file.fileno(), span)
            with tarfile.open(fileobj=window, mode="r:", encoding="utf-8", errors="surrogateescape") as archive:
                members = archive.getmembers()
            _check_end(origin, window, members)
        hostile = [m.name for m in members if _is_hostile(m.name) or not (m.isreg() or m.isdir())]
        _refuse_hostile(origin, hostile)
        sparse = next((m.name for m in members if m.issparse()), None)
        if sparse is not None:
            raise InputError(f"{origin}: {printable(sparse)} is sparse; pack the archive without tar's --sparse")
        self._spans = {_plain(m.name): _Span(span.start + m.offset_data, m.size) for m in members if m.isreg()}
        self.names = sorted(self._spans)
        self.folders = with_parents((_plain(m.name) for m in members if m.isdir()), self.names)

    @classmethod
    def open(cls, path: Path, origin: Path | None = None) -> TarFiles:
        """Of the tar at `path`, called `origin` in messages."""
        return cls(path.open("rb"), _Span(0, path.stat().st_size), origin or path)

    def size(self, name: str) -> int:
        """By the member's header."""
        return self._spans[name].length

    def read(self, name: str) -> bytes:
        """A file's bytes."""
        span = self._spans[name]
        check_size(self, name)
        with reading(self.origin):
            content = os.pread(self._file.fileno(), span.length, span.start)
        if len(content) != span.length:
            raise _damaged(self.origin, f"{printable(name)} ends early")
        return content

    def inside(self, name: str) -> TarFiles:
        """The files of an uncompressed tar that is in this one."""
        return TarFiles(self._file, self._spans[name], self.origin / name)


def _plain(name: str) -> str:
    """A member's name in one way of writing; "" for the archive's own folder."""
    path = PurePosixPath(name).as_posix()
    return "" if path == "." else path


class _Window(io.RawIOBase):
    """A part of a file as a file of its own, by reads that move no shared position."""

    def __init__(self, descriptor: int, span: _Span) -> None:
        self._descriptor, self._span, self._at = descriptor, span, 0

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """The new position."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._span.length}[whence]
        return self._at

    def tell(self) -> int:
        """The position."""
        return self._at

    def read(self, size: int = -1) -> bytes:
        """So many bytes from the position on, or all that are left."""
        left = max(0, self._span.length - self._at)
        content = os.pread(self._descriptor, left if size < 0 else min(size, left), self._span.start + self._at)
        self._at += len(content)
        return content


class ZipFiles(Files):
    """The regular files of a zip."""

    def __init__(self, path: Path) -> None:
        self.origin = path
        with reading(path):
            self._archive = zipfile.ZipFile(path)
            members = self._archive.infolist()
        if any(m.flag_bits & 1 for m in members):
            raise InputError(f"{path}: is encrypted; unpack it with its password, and name the folder or pack it again")
        links = [m.filename for m in members if (m.external_attr >> 16) & 0o170000 == 0o120000]
        _refuse_hostile(path, links + [m.filename for m in members if _is_hostile(m.filename)])
        _check_expansion(path, sum(m.file_size for m in members))
        self._members = {_plain(m.filename): m for m in members if not m.is_dir()}
        self.names = sorted(self._members)
        self.folders = with_parents((_plain(m.filename) for m in members if m.is_dir()), self.names)

    def size(self, name: str) -> int:
        """By the member's entry."""
        return self._members[name].file_size

    def read(self, name: str) -> bytes:
        """A file's bytes; no more than its entry says is ever unpacked."""
        member = self._members[name]
        check_size(self, name)
        with reading(self.origin), self._archive.open(member) as file:
            return file.read(member.file_size)


def open_files(path: Path, scratch: Path, progress: Advance = no_progress) -> Files:
    """The files of a folder, a zip or a tar of any compression; `scratch` takes a compressed tar's uncompressed copy.

    InputError for one that is absent, truncated or damaged, and for one with members that point outside the folder it
    would be unpacked into (absolute, "..", links): such an archive is refused whole.
    """
    if path.is_dir():
        return FolderFiles(path)
    if not path.is_file():
        raise InputError(f"{path}: is not there; check dataset.parameters")
    with path.open("rb") as file:
        if file.read(4) in (b"PK\x03\x04", b"PK\x05\x06"):
            return ZipFiles(path)
    opener = _decompressor(path)
    if opener is None:
        return TarFiles.open(path)
    tar = _uncompressed(path, opener, scratch, progress)
    try:
        return TarFiles.open(tar, path)
    except InputError:
        tar.unlink(missing_ok=True)
        raise


def version_of(archive: ArchiveParameters, path: Path) -> str:
    """What tells an archive's content from another's: its declared checksum, or else its sha256."""
    if archive.checksum:
        return archive.checksum
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


Opener = Callable[[Path], IO[bytes]]


def _decompressor(path: Path) -> Opener | None:
    """How to read a compressed file; None where it is not compressed."""
    magics: dict[bytes, Any] = {
        b"\x1f\x8b": gzip.GzipFile,
        b"BZh": bz2.BZ2File,
        b"\xfd7zXZ\x00": lzma.LZMAFile,
    }
    with path.open("rb") as file:
        start = file.read(6)
    return next((opener for magic, opener in magics.items() if start.startswith(magic)), None)


def _uncompressed(path: Path, opener: Opener, scratch: Path, progress: Advance) -> Path:
    """The uncompressed copy, made once: its name has the compressed file's size and time."""
    stat = path.stat()
    target = scratch / UNPACKED / f"{path.name}.{stat.st_size}-{stat.st_mtime_ns}.tar"
    if target.is_file():
        return target

    def write(sink: IO[bytes]) -> None:
        done = 0
        with opener(path) as source:
            while chunk := _next_chunk(source, path):
                done += len(chunk)
                _check_expansion(path, done)
                sink.write(chunk)
                progress(done, max(done, stat.st_size))

    check_disk_space(scratch, stat.st_size)
    write_atomically(target, write)
    return target


def _next_chunk(source: IO[bytes], origin: Path) -> bytes:
    with reading(origin):
        return source.read(_CHUNK)


def _check_expansion(path: Path, size: int) -> None:
    limit = max(EXPANSION_FLOOR, EXPANSION_LIMIT * path.stat().st_size)
    if size > limit:
        raise InputError(
            f"{path}: unpacks to more than {limit / 1e6:,.0f} MB, {EXPANSION_LIMIT} times its own size, which no "
            "archive of pictures does; get the archive from its official source"
        )


@contextmanager
def reading(origin: Path | str) -> Iterator[None]:
    """What a damaged archive raises, as an InputError that names it."""
    try:
        yield
    except (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, RuntimeError, OSError) as error:
        raise _damaged(origin, (str(error) or type(error).__name__).splitlines()[0]) from error


def _damaged(origin: Path | str, reason: str) -> InputError:
    return InputError(f"{origin}: is truncated or damaged ({reason}); fetch the archive again")


def _is_hostile(name: str) -> bool:
    path = PurePosixPath(name.replace("\\", "/"))
    has_drive = name[1:2] == ":" and name[0].isascii() and name[0].isalpha()
    return path.is_absolute() or ".." in path.parts or has_drive or "\0" in name


def _refuse_hostile(origin: Path, hostile: Sequence[str]) -> None:
    if hostile:
        shown = ", ".join(map(printable, hostile[:10])) + (", ..." if len(hostile) > 10 else "")
        raise InputError(
            f"{origin}: refused, {len(hostile)} members point outside the archive's folder: {shown}; "
            "get the archive from its official source"
        )


def _check_end(origin: Path, window: _Window, members: Sequence[tarfile.TarInfo]) -> None:
    """Raise InputError unless a block of zeros follows the last member: without it the tar was cut there."""
    end = max((m.offset_data + (-(-m.size // 512) * 512 if m.isreg() else 0) for m in members), default=0)
    window.seek(end)
    if window.read(512) != bytes(512):
        raise _damaged(origin, "it has no end")
