"""How a long task shows that it gets on: a plain count for any caller; rate and lines of text where the caller can."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

Advance = Callable[[int, int], None]  # done, in all


def no_progress(_done: int, _total: int) -> None:
    """For callers that show nothing."""


@runtime_checkable
class Display(Protocol):
    """What a progress function may offer besides being called: bytes, with their rate, and lines that stay."""

    def bytes_done(self, done: int, total: int | None, note: str) -> None:
        """Show that `done` of `total` bytes (None: nobody knows) are done; `note` says of what."""

    def line(self, text: str) -> None:
        """Print a line that stays."""


class _Plain:
    """Bytes are counted by the plain function, lines go to the error stream."""

    def __init__(self, advance: Advance) -> None:
        self._advance = advance

    def bytes_done(self, done: int, total: int | None, note: str) -> None:  # noqa: ARG002
        """Count them, unknown totals as what is done."""
        self._advance(done, total or done)

    def line(self, text: str) -> None:
        """Print it beside the program's output."""
        print(text, file=sys.stderr, flush=True)


def display_of(advance: Advance) -> Display:
    """The display that `advance` is, or one made of it."""
    return advance if isinstance(advance, Display) else _Plain(advance)
