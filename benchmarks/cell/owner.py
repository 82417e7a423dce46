"""One owner of a cell: two processes that learn the same cell would write over each other."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cimbench.benchmarks.suite.config import Cell
from cimbench.datasets.arrays import write_to_disk
from cimbench.datasets.errors import InputError


def lock_path(cell: Cell) -> Path:
    """Beside the cell's checkpoint, for as long as somebody learns it."""
    return cell.checkpoint.with_suffix(".lock")


@contextmanager
def owned(cell: Cell) -> Iterator[None]:
    """Within the block this process owns the cell; the system gives it back when the process ends, however it does.

    InputError where another process owns it, which is named, and where the file system has no locks.
    """
    path = lock_path(cell)
    lock = _locked(path, cell)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # while it is held: who waits for this file sees that it is no longer the path's
        os.close(lock)


def _locked(path: Path, cell: Cell) -> int:
    """A descriptor of the lock file, locked and signed."""
    while True:
        with write_to_disk(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.is_file() and os.path.samestat(os.fstat(lock), path.stat()):
                os.ftruncate(lock, 0)
                os.write(lock, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return lock
        except OSError as error:
            owner = os.pread(lock, 200, 0).decode(errors="replace")
            os.close(lock)
            raise InputError(_refusal(error, path, cell, owner)) from error
        os.close(lock)


def _refusal(error: OSError, path: Path, cell: Cell, owner: str) -> str:
    if error.errno in (errno.EAGAIN, errno.EACCES):
        by = owner or "another process"
        return f"{cell.name}: is being learnt by {by}; wait for it, or end it and run this again"
    return (
        f"{path}: could not be locked ({error.strerror}), so that two processes could learn one cell at once; put "
        "data/ on a file system with locks"
    )
