"""Cells of a tiny suite, run in silence."""

from __future__ import annotations

from cimbench.benchmarks.contract import small_stream
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.registry import METHODS, load
from cimbench.benchmarks.suite.config import Suite
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.training.task import BatchReport, EpochReport

SEED = 3


WITH_MEMORY = {entry for name, entry in METHODS.items() if load("method", METHODS, name)[0].uses_memory}


class Silent:
    """A listener that keeps the reports."""

    def __init__(self) -> None:
        self.reports: list[EpochReport] = []

    def started(self, record: Record, resumed: int) -> None:
        pass

    def epoch(self, report: EpochReport) -> None:
        self.reports.append(report)

    def batch(self, report: BatchReport) -> None:
        pass

    def phase(self, record: Record) -> None:
        pass


def place(suite: Suite, store: ImageStore) -> None:
    """Put data and split where the cells look for them."""
    small_stream.place(suite, store, SEED)
