"""A limit on time: a cell is stopped right after a checkpoint, when the next one would come too late."""

from __future__ import annotations

import math
import time
from pathlib import Path

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.suite.config import Cell
from cimbench.datasets.errors import InputError
from cimbench.methods.training.task import BatchReport, EpochReport


class LimitReachedError(Exception):
    """The time is up. The cell's state is on the disk, but for the batch that told so."""


class Deadline:
    """A listener that raises LimitReachedError after a checkpoint, if the next one is not expected within the limit.

    The next is expected to take as long as the longest so far, so that a first one is always reached, however small the
    limit. It has to be the last of the listeners: what the others are told is then complete.
    """

    def __init__(self, limit_seconds: float | None) -> None:
        if limit_seconds is not None and not 0 < limit_seconds < math.inf:
            raise InputError(f"--limit-seconds is {limit_seconds:g}; give more than 0, or leave it out for no limit")
        self._limit = limit_seconds
        self._begun = self._mark = time.monotonic()
        self._longest = 0.0
        self._gained = False
        self._files: tuple[Path, ...] = ()
        self._saved: tuple[int, ...] = ()

    def watch(self, cell: Cell) -> None:
        """From now on the checkpoints of this cell are looked at."""
        self._files = (cell.checkpoint, cell.phase_checkpoint)
        self._saved, self._mark = self._stamps(), time.monotonic()

    @property
    def reached(self) -> bool:
        """Whether what comes next would end too late; never before anything is gained."""
        if self._limit is None or not self._gained:
            return False
        return time.monotonic() - self._begun + self._longest > self._limit

    def gain(self) -> None:
        """Something is done that another call need not do again."""
        self._gained = True

    def _stamps(self) -> tuple[int, ...]:
        """When each checkpoint was written, 0 where there is none."""
        return tuple(path.stat().st_mtime_ns if path.is_file() else 0 for path in self._files)

    def _look(self, may_stop: bool) -> None:
        stamps, now = self._stamps(), time.monotonic()
        if self._limit is None or stamps == self._saved:
            return
        self.gain()
        self._longest = max(self._longest, now - self._mark)
        self._saved, self._mark = stamps, now
        if may_stop and self.reached:
            raise LimitReachedError

    def started(self, record: Record, resumed: int) -> None:
        """A cell that goes on may have to stop again."""

    def epoch(self, report: EpochReport) -> None:
        """Told before the epoch's checkpoint is written: the next batch sees it."""

    def batch(self, report: BatchReport) -> None:  # noqa: ARG002
        """The first one after a checkpoint may stop the cell; it is all that is learnt again."""
        self._look(may_stop=True)

    def phase(self, record: Record) -> None:
        """A phase is on the disk: nothing is lost here. A complete cell ends by itself."""
        self._look(may_stop=not record.complete)
