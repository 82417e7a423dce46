"""Declared checksums: of a file, and remembered, so that a large archive is read once and not at every fetch."""

from __future__ import annotations

import contextlib
import hashlib
import json
import string
from pathlib import Path

from cimbench.datasets.arrays import write_json
from cimbench.datasets.errors import InputError, check_choice
from cimbench.datasets.progress import Display, display_of, no_progress

_CHUNK = 1 << 20
_DIGITS = {"md5": 32, "sha256": 64}
_SILENT = display_of(no_progress)


def check_declaration(parameter: str, checksum: str) -> None:
    """Raise InputError unless `checksum` is "md5:..." or "sha256:..." with all its digits, or empty."""
    if not checksum:
        return
    algorithm, _, digits = checksum.partition(":")
    check_choice(f"{parameter}'s algorithm", algorithm, _DIGITS)
    if len(digits) != _DIGITS[algorithm] or not set(digits) <= set(string.hexdigits):
        raise InputError(
            f"{parameter} is '{checksum}'; give {_DIGITS[algorithm]} hexadecimal digits after '{algorithm}:'"
        )


class RunningChecksum:
    """The checksum of what has come so far, to be compared with the declared one; an empty declaration accepts all."""

    def __init__(self, declared: str) -> None:
        self._algorithm, _, self._expected = declared.partition(":")
        self._hash = hashlib.new(self._algorithm, usedforsecurity=False) if declared else None

    def update(self, chunk: bytes) -> None:
        """Take the next bytes into account."""
        if self._hash is not None:
            self._hash.update(chunk)

    def read(self, path: Path, display: Display) -> None:
        """Take all of a file into account."""
        if self._hash is None:
            return
        done, total = 0, path.stat().st_size
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                self._hash.update(chunk)
                done += len(chunk)
                display.bytes_done(done, total, "checking")

    def matches(self) -> bool:
        """Whether this is the declared checksum."""
        return self._hash is None or self._hash.hexdigest() == self._expected.lower()

    def difference(self) -> str:
        """Both checksums in words."""
        found = self._hash.hexdigest() if self._hash else "not asked for"
        return f"{self._algorithm} is {found}, dataset.archive.checksum says {self._expected}"


def verify_checksum(path: Path, checksum: str, display: Display = _SILENT) -> None:
    """Raise InputError unless the file has the declared md5 or sha256 (an empty declaration accepts all)."""
    running = RunningChecksum(checksum)
    running.read(path, display)
    if not running.matches():
        raise InputError(
            f"{path}: {running.difference()}; the file is damaged or another version: "
            "fetch it again (delete it first where it is a download), or correct the checksum"
        )


def verify_once(path: Path, checksum: str, folder: Path, display: Display) -> None:
    """As `verify_checksum`, without reading the file where `folder` has the record that it was verified as it is."""
    if not checksum:
        return
    record, state = _record_file(path, folder), _state(path, checksum)
    with contextlib.suppress(OSError, ValueError):  # no record, or no readable one
        if json.loads(record.read_text()) == state:
            return
    verify_checksum(path, checksum, display)
    if _state(path, checksum) == state:  # nobody wrote to it meanwhile
        remember(path, checksum, folder)


def remember(path: Path, checksum: str, folder: Path) -> None:
    """Record in `folder` that the file, of this size and time, was verified."""
    with contextlib.suppress(InputError):  # where nothing can be written it is verified again next time
        if checksum:
            write_json(_record_file(path, folder), _state(path, checksum))


def _record_file(path: Path, folder: Path) -> Path:
    return folder / f"{path.name}.verified.json"


def _state(path: Path, checksum: str) -> dict[str, str | int]:
    status = path.stat()
    return {
        "path": str(path.absolute()),
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "checksum": checksum.lower(),
    }
