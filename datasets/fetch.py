"""Archives from mirrors or local paths: resumed after a cut, and verified."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

import fsspec
import fsspec.core

from cimbench.datasets.errors import InputError, check_choice

Advance = Callable[[int, int], None]  # bytes done, bytes in all
_CHUNK = 1 << 20


class DiskSpaceError(InputError):
    """The disk is full: no other mirror helps."""


def no_progress(_done: int, _total: int) -> None:
    """For callers that show nothing."""


@dataclass(frozen=True, kw_only=True)
class ArchiveParameters:
    """Where an archive comes from: mirrors in order (addresses or paths; $CIMBENCH_SHARED is filled in), checksum.

    checksum is "md5:..." or "sha256:...", or empty to accept any content.
    """

    mirrors: tuple[str, ...]
    checksum: str = ""

    def __post_init__(self) -> None:
        if not self.mirrors:
            raise InputError("dataset.archive.mirrors is empty; give at least one address or path")
        if self.checksum:
            check_choice("dataset.archive.checksum's algorithm", self.checksum.partition(":")[0], ("md5", "sha256"))


def expanded(address: str) -> str:
    """`address` with $CIMBENCH_SHARED (default ../shared) and other environment variables filled in."""
    shared = os.environ.get("CIMBENCH_SHARED", "../shared")
    return os.path.expandvars(address.replace("$CIMBENCH_SHARED", shared))


def fetch_archive(archive: ArchiveParameters, folder: Path, progress: Advance = no_progress) -> Path:
    """The verified archive as a local file: the user's own where a path was given, else downloaded into `folder`.

    Mirrors are tried in order; a partial download is continued. Raises InputError when all fail or on a wrong checksum.
    """
    failures: list[str] = []
    for mirror in map(expanded, archive.mirrors):
        try:
            return _from_mirror(mirror, archive.checksum, folder, progress)
        except DiskSpaceError:
            raise
        except (OSError, ValueError) as error:
            known = isinstance(error, InputError)
            failures.append(f"  {mirror}: {error if known else f'{type(error).__name__}: {error}'}")
    lines = "\n".join(failures)
    raise InputError(
        f"dataset.archive: no mirror could be read; what has come so far stays in {folder} and is continued:\n{lines}\n"
        "check the network, or put the archive on this machine and name its path in dataset.archive.mirrors"
    )


def _from_mirror(mirror: str, checksum: str, folder: Path, progress: Advance) -> Path:
    """The verified archive from one address or path."""
    path = mirror.removeprefix("file://")
    if "://" not in path:
        if not Path(path).is_file():
            raise InputError("no such file")
        verify_checksum(Path(path), checksum)
        return Path(path)
    target = folder / PurePosixPath(mirror.partition("?")[0]).name
    if not target.is_file():
        _download(mirror, target, progress)
        _accept(target, checksum)
    verify_checksum(target, checksum)
    return target


def _partial(target: Path) -> Path:
    return target.with_name(target.name + ".partial")


def _download(url: str, target: Path, progress: Advance) -> None:
    """Append what is missing of `url` to the partial file beside `target`; all anew where the server has no ranges."""
    filesystem, path = fsspec.core.url_to_fs(url)
    total = filesystem.info(path).get("size")
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(target)
    have = partial.stat().st_size if partial.is_file() else 0
    if total is not None:
        check_disk_space(target.parent, total - min(have, total))
        if have == total:
            return
        if 0 < have < total:
            try:
                with filesystem.open(path, "rb", block_size=4 * _CHUNK, cache_type="readahead") as source:
                    source.seek(have)
                    _append(source, partial, have, total, progress)
                return
            except ValueError:  # fsspec's word for a server that answers no range
                pass
    partial.unlink(missing_ok=True)
    with filesystem.open(path, "rb", block_size=0) as source:  # a stream, which needs no ranges
        _append(source, partial, 0, total, progress)


def _append(source: BinaryIO, partial: Path, have: int, total: int | None, progress: Advance) -> None:
    """Write what `source` still has behind the `have` bytes of the partial file; OSError when it ends too early."""
    try:
        with partial.open("ab") as sink:
            while chunk := source.read(_CHUNK):
                sink.write(chunk)
                have += len(chunk)
                progress(have, total or have)
            sink.flush()
            os.fsync(sink.fileno())
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskSpaceError(
                f"{partial}: the disk is full; make room and run again, it goes on from here"
            ) from error
        raise
    if total is not None and have != total:
        raise OSError(f"the connection ended after {have} of {total} bytes")


def _accept(target: Path, checksum: str) -> None:
    """Rename the verified partial file to `target`; a wrong one is kept aside for a look."""
    partial = _partial(target)
    try:
        verify_checksum(partial, checksum)
    except InputError as error:
        kept = target.with_name(target.name + ".wrong-checksum")
        partial.replace(kept)
        raise InputError(f"{error}; the file is kept as {kept}") from None
    partial.replace(target)


def verify_checksum(path: Path, checksum: str) -> None:
    """Raise InputError unless the file has the declared md5 or sha256 (an empty declaration accepts all)."""
    if not checksum:
        return
    algorithm, _, expected = checksum.partition(":")
    with path.open("rb") as file:
        found = hashlib.file_digest(file, algorithm).hexdigest()
    if found != expected.lower():
        raise InputError(
            f"{path}: {algorithm} is {found}, dataset.archive.checksum says {expected}; "
            "the file is damaged or another version: fetch it again, or correct the checksum"
        )


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise DiskSpaceError when fewer than `needed` bytes are free where `folder` is."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DiskSpaceError(
            f"{folder}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free; make room, "
            "or let data/ be a link to a larger disk"
        )
