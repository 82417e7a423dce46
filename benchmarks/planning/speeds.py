"""How fast this machine learns: seconds per image-epoch of the cells that were measured on it."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Any

from cimbench.benchmarks.planning.workload import TrainingCounts, counts_of_record, image_epochs, learner_of_record
from cimbench.benchmarks.records.places import record_folders
from cimbench.benchmarks.records.provenance import surroundings
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Cell, Suite, resolve_device
from cimbench.datasets.errors import InputError

_ALIKE = ("precision", "compile")  # of the training: other values make another speed


class Speeds:
    """Seconds per image-epoch of cells that were measured on this machine, with this suite's network and precision."""

    def __init__(self, suite: Suite, results: Path = Path("results")) -> None:
        self._suite, self._results = suite, results
        self._counts: dict[tuple[str, int], TrainingCounts | None] = {}

    @cached_property
    def hardware(self) -> dict[str, Any] | None:
        """What this machine computes on; None where the suite's device is not here."""
        try:
            found: dict[str, Any] = surroundings(resolve_device(self._suite.device))["hardware"]
        except InputError:
            return None
        return found

    @cached_property
    def _measured(self) -> list[tuple[bool, str, str, float]]:
        """(whether of this suite, method, compressor, seconds per image-epoch)."""
        return [
            (record.suite == self._suite.suite, name, record.config["compressor"]["name"], speed)
            for record in self._records()
            if (speed := self._speed(record)) is not None and (name := record.config["method"]["name"])
        ]

    def _records(self) -> Iterator[Record]:
        for folder in record_folders(self._results):
            try:
                record = load_record(folder)
                if record.complete and self._alike(record):
                    yield record
            except (InputError, KeyError, TypeError):  # damaged or of another version: says nothing of time
                continue

    def _alike(self, record: Record) -> bool:
        training = record.config["training"]
        return (
            self.hardware is not None
            and machine(record.provenance["hardware"]) == machine(self.hardware)
            and record.config["network"] == asdict(self._suite.network)
            and all(training.get(name) == getattr(self._suite.training, name) for name in _ALIKE)
        )

    def _speed(self, record: Record) -> float | None:
        key = (record.suite, record.config["seed"])
        if key not in self._counts:
            self._counts[key] = counts_of_record(record, self._results / record.suite / "splits")
        counts = self._counts[key]
        if counts is None or not counts.exact:
            return None
        try:
            work = sum(image_epochs(learner_of_record(record), counts))
        except InputError:
            return None
        return sum(sum(phase.seconds.values()) for phase in record.phases) / work

    def of(self, cell: Cell) -> float | None:
        """The median of the nearest that was measured: this suite before others, the same compressor before others."""
        for own_suite in (True, False):
            for same_compressor in (True, False):
                speeds = [
                    speed
                    for own, method, compressor, speed in self._measured
                    if own == own_suite
                    and method == cell.method
                    and (compressor == cell.compressor or not same_compressor)
                ]
                if speeds:
                    return statistics.median(speeds)
        return None


def machine(hardware: Mapping[str, Any]) -> tuple[Any, ...]:
    """What of the hardware makes two times comparable."""
    if hardware["device"] != "cpu":
        return (hardware["device"],)
    return hardware["device"], hardware["processor"], hardware["threads"]
