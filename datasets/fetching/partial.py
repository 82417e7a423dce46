"""A download that is not complete yet: its bytes, their running checksum, and what the server said of the whole."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import InputError
from cimbench.datasets.fetching.checksums import RunningChecksum
from cimbench.datasets.progress import Display


class StorageError(InputError):
    """Nothing can be written here: no other mirror helps."""


class DiskSpaceError(StorageError):
    """The disk is full."""


@contextlib.contextmanager
def own_disk(path: Path) -> Iterator[None]:
    """Failures to write become StorageErrors, so that they are never taken for a mirror's."""
    try:
        yield
    except StorageError:
        raise
    except InputError as error:  # write_json has said it in words
        full = isinstance(error.__cause__, OSError) and _is_full(error.__cause__)
        raise (DiskSpaceError if full else StorageError)(str(error)) from error
    except OSError as error:
        if _is_full(error):
            raise DiskSpaceError(f"{path}: the disk is full; make room and run again, it goes on from here") from error
        raise StorageError(
            f"{path}: cannot be written ({error.strerror or error}); make the folder writable, "
            "or let data/ be a link to a folder that is"
        ) from error


def _is_full(error: OSError) -> bool:
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def check_disk_space(folder: Path, needed: int) -> None:
    """Raise DiskSpaceError when fewer than `needed` bytes are free where `folder` is."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise DiskSpaceError(
            f"{folder}: {needed / 1e6:,.1f} MB are needed and {free / 1e6:,.1f} MB are free; make room, "
            "or let data/ be a link to a larger disk"
        )


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which version of which file the bytes are of; empty or None where the server does not say. size in bytes."""

    address: str
    etag: str = ""
    last_modified: str = ""
    size: int | None = None

    @property
    def condition(self) -> str:
        """What If-Range may name: a strong ETag, else the date, else nothing."""
        return self.etag if self.etag and not self.etag.startswith("W/") else self.last_modified

    def contradicts(self, other: Origin) -> bool:
        """Whether the two cannot be of the same bytes; versions are compared only within one address."""
        pairs: list[tuple[object, object]] = [(self.size, other.size)]
        if self.address == other.address:
            with_etags = bool(self.etag and other.etag)
            pairs += [(self.etag, other.etag)] if with_etags else [(self.last_modified, other.last_modified)]
        return any(mine and theirs and mine != theirs for mine, theirs in pairs)


class Partial:
    """`<target>.partial`, continued by whoever comes next; beside it, in `<target>.partial.json`, its origin.

    An origin is written before the first of its bytes and removed after the last, and bytes are thrown away before a
    new origin is written: killed at any moment, bytes are never taken for another version's.
    """

    def __init__(self, target: Path, checksum: str, display: Display) -> None:
        self.path = target.with_name(f"{target.name}.partial")
        self.checksum = checksum
        self.display = display
        self.discarded = 0  # bytes thrown away, over all attempts
        with own_disk(self.path):
            self._file: BinaryIO = self.path.open("ab", buffering=0)
            self.size = os.fstat(self._file.fileno()).st_size
        self.doubtful = self.size > 0  # whether some of its bytes may be another version's
        self._target = target
        self._sidecar = target.with_name(f"{target.name}.partial.json")
        self._running: RunningChecksum | None = None  # None: the bytes that are there are not in it yet
        self.origin = self._read_origin() if self.size else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        if not self.size:
            with contextlib.suppress(OSError):  # nothing came, so nothing needs to stay
                self.path.unlink(missing_ok=True)
                self._sidecar.unlink(missing_ok=True)

    def _read_origin(self) -> Origin | None:
        try:
            return Origin(**json.loads(self._sidecar.read_text()))
        except (OSError, ValueError, TypeError):  # none, or not readable: then only a checksum can tell
            return None

    def may_continue(self, address: str) -> bool:
        """Whether bytes of `address` may be put behind those that are there.

        They may where the server can be asked for the same version, or where a declared checksum will tell.
        """
        same = self.origin is not None and self.origin.address == address and bool(self.origin.condition)
        return self.size > 0 and (same or bool(self.checksum))

    @property
    def complete(self) -> bool:
        """Whether as many bytes are there as the server said."""
        return self.size > 0 and self.size == self.expected

    @property
    def expected(self) -> int | None:
        """The size of the whole file in bytes, None where the server did not say."""
        return self.origin.size if self.origin else None

    def start(self, origin: Origin) -> None:
        """Begin again, with the bytes of `origin`."""
        self.discard()
        self.bind(origin)

    def discard(self) -> None:
        """Throw away what is there."""
        with own_disk(self.path):
            self._file.truncate(0)
            os.fsync(self._file.fileno())
        self.discarded += self.size
        self.size, self.origin, self.doubtful = 0, None, False
        self._running = RunningChecksum(self.checksum)

    def bind(self, origin: Origin) -> None:
        """Record whose bytes follow; those that are there stay."""
        if origin != self.origin:
            self.doubtful |= self.size > 0
            with own_disk(self._sidecar):
                write_json(self._sidecar, asdict(origin))
            self.origin = origin

    def append(self, chunk: bytes) -> None:
        """Put bytes behind those that are there."""
        self.running_checksum().update(chunk)
        rest = memoryview(chunk)
        with own_disk(self.path):
            while rest:
                rest = rest[self._file.write(rest) :]
        self.size += len(chunk)
        self.display.bytes_done(self.size, self.expected, "downloading")

    def running_checksum(self) -> RunningChecksum:
        """The checksum of all bytes that are there; those of an earlier run are read once."""
        if self._running is None:
            self._running = RunningChecksum(self.checksum)
            with own_disk(self.path):
                self._running.read(self.path, self.display)
        return self._running

    def accept(self) -> None:
        """Flush to the disk and rename to the target, which is seen whole or not at all."""
        self._move(self._target)

    def set_aside(self) -> Path:
        """The path under which the wrong file is kept for a look."""
        kept = self._target.with_name(f"{self._target.name}.wrong-checksum")
        self._move(kept)
        return kept

    def _move(self, to: Path) -> None:
        with own_disk(self.path):
            os.fsync(self._file.fileno())
            self.path.replace(to)
            self._sidecar.unlink(missing_ok=True)
