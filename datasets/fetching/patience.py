"""How long a mirror is given, and the two ways in which an attempt fails: for now, and for good."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from cimbench.datasets.fetching.partial import Partial

_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Patience:
    """attempts: without progress, before a mirror is given up. Waits and timeouts in seconds; a wait doubles each time.

    least_bytes: an attempt that brings fewer is without progress, and so is one that throws bytes away; a connection
    that brings fewer within a read_timeout has stalled.
    """

    attempts: int = 5
    first_wait: float = 1.0
    longest_wait: float = 120.0
    connect_timeout: float = 15.0
    read_timeout: float = 60.0
    least_bytes: int = 1 << 16

    def wait(self, failures: int) -> float:
        """Seconds before the next attempt, after so many without progress."""
        return min(self.longest_wait, self.first_wait * 2.0 ** max(0, failures - 1))


class MirrorError(OSError):
    """This mirror cannot give the archive; another one may."""


class AttemptError(OSError):
    """The attempt has failed and the next may not; wait: seconds until then, where the server says so."""

    def __init__(self, reason: str, *, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


PATIENCE = Patience()

Attempt = Callable[[str, Partial, Patience], None]


def persist(attempt: Attempt, address: str, partial: Partial, patience: Patience) -> None:
    """Attempt until `partial` holds all that `address` has; MirrorError when it refuses or patience is at its end.

    Bounded: progress resets the count of failures, but not that of downloads begun again.
    """
    failures = restarts = 0
    while not (partial.complete and partial.may_continue(address)):
        size, discarded = partial.size, partial.discarded
        try:
            attempt(address, partial, patience)
            break
        except AttemptError as error:
            again = partial.discarded > discarded
            restarts += again
            failures = failures + 1 if again or partial.size - size < patience.least_bytes else 0
            if max(failures, restarts) >= patience.attempts:
                reason = f"{error}; given up after {patience.attempts} attempts without progress"
                raise MirrorError(reason) from error
            wait = patience.wait(max(failures, restarts)) if error.wait is None else error.wait
            start = partial.size if partial.may_continue(address) else 0
            partial.display.line(f"{address}: {error}; once more in {wait:.0f} s, from byte {start}")
            time.sleep(wait)
    if not partial.size:
        raise MirrorError("the server sends an empty file")


def receive(read: Callable[[int], bytes], expected: int | None, partial: Partial, patience: Patience) -> None:
    """Append what `read` gives, `expected` bytes (None: to its end); AttemptError when it ends early or stalls."""
    end = None if expected is None else partial.size + expected
    since, size = time.monotonic(), partial.size
    while end is None or partial.size < end:
        chunk = read(_CHUNK if end is None else min(_CHUNK, end - partial.size))
        if not chunk:
            break
        partial.append(chunk)
        seconds = time.monotonic() - since
        if seconds > patience.read_timeout:
            if partial.size - size < patience.least_bytes:
                raise AttemptError(f"the connection stalled, {partial.size - size} bytes in {seconds:.2g} s")
            since, size = time.monotonic(), partial.size
    if end is not None and partial.size < end:
        raise AttemptError(ended_early(partial))


def ended_early(partial: Partial) -> str:
    """How far the connection came, in words."""
    whole = "an unknown number of" if partial.expected is None else partial.expected
    return f"the connection ended after {partial.size} of {whole} bytes"
