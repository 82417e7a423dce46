"""Who is informed how a cell goes: progress bars and tracking."""

from __future__ import annotations

from typing import Any, Protocol

from cimbench.benchmarks.records.record import Record
from cimbench.methods.training.task import BatchReport, EpochReport


class Listener(Protocol):
    """Who is told how a cell goes: progress bars and tracking."""

    def started(self, record: Record, resumed: int) -> None:
        """The cell begins, with `resumed` phases already done."""

    def epoch(self, report: EpochReport) -> None:
        """An epoch is done."""

    def batch(self, report: BatchReport) -> None:
        """A batch is done: told thousands of times."""

    def phase(self, record: Record) -> None:
        """A phase is done and on the disk."""


class Listeners:
    """Several listeners as one."""

    def __init__(self, *listeners: Any) -> None:
        self._listeners = listeners

    def started(self, record: Record, resumed: int) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.started(record, resumed)

    def epoch(self, report: EpochReport) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.epoch(report)

    def batch(self, report: BatchReport) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.batch(report)

    def phase(self, record: Record) -> None:
        """Tell all."""
        for listener in self._listeners:
            listener.phase(record)
