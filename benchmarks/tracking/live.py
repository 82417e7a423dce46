"""A cell tracked while it runs: whatever the store does, the cell goes on, and what is missing is imported later."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mlflow.environment_variables import MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.tracking.runs import Tracker
from cimbench.benchmarks.tracking.server import Errand, address, patience, refusal
from cimbench.methods.training.task import BatchReport, EpochReport

_LAST = 6  # times the usual patience: pictures are many, and nothing waits after the last phase


class LiveTracking:
    """A listener that logs the cell after each phase, and makes the group's summary when all its cells are complete.

    A store that is away, slow or forbids costs the cell its patience once, and one warning. After the last phase it is
    tried once more, since logging then catches up.
    """

    def __init__(self, folder: Path, siblings: Callable[[], Sequence[Record]] | None) -> None:
        """siblings: the complete records of the cell's group, or none while one is missing; None: no group."""
        self._folder, self._siblings = folder, siblings
        self._run_id: str | None = None
        self._errand: Errand | None = None
        self._monitor: Any = None
        self._complete = False
        self.failed = False

    def started(self, record: Record, resumed: int) -> None:
        """The run appears, with its parameters."""
        self._try(lambda: self._log(record))
        if self._run_id is not None and MLFLOW_ENABLE_SYSTEM_METRICS_LOGGING.get():
            self._try(lambda: self._start_monitor(resumed > 0))

    def epoch(self, report: EpochReport) -> None:
        """Epochs are logged with their phase."""

    def batch(self, report: BatchReport) -> None:
        """Batches are not."""

    def phase(self, record: Record) -> None:
        """Add the phase, and after the last one the final metrics and pictures."""
        self._complete = record.complete
        if record.complete:
            self._end_monitor()
            self._try(lambda: self._log_last(record), 1 if self.failed else _LAST)
        elif not self.failed:
            self._try(lambda: self._log(record))

    def close(self) -> None:
        """The command ends: a run whose cell is not complete says so."""
        self._end_monitor()
        run_id = self._run_id
        if run_id is not None and not self._complete and not self.failed:
            self._try(lambda: Tracker().stopped(run_id))

    def _log(self, record: Record) -> None:
        self._run_id = Tracker().log(record, self._folder, grouped=self._siblings is not None)

    def _log_last(self, record: Record) -> None:
        self._log(record)
        records = self._siblings() if self._siblings is not None else []
        if records:
            Tracker().summarise(records)

    def _try(self, action: Callable[[], object], times: int = 1) -> None:
        """Do it, for so many times the usual patience; a failure is told once. Never beside one that goes on."""
        if self._errand is not None and self._errand.busy:
            return
        self._errand, limit = Errand(action), patience()
        try:
            self._errand.wait(None if limit is None else times * limit)
            self.failed = False
        except Exception as error:  # tracking is never worth a run
            if not self.failed:
                told = f"not tracked: {address()}: {refusal(error)}. The run goes on, its results are on the disk"
                print(f"{told}; later: cimbench track", file=sys.stderr, flush=True)
            self.failed = True

    def _start_monitor(self, resumed: bool) -> None:
        """Load of the processor, the memory and the GPU, as long as the cell runs; needs psutil."""
        from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

        self._monitor = SystemMetricsMonitor(self._run_id, resume_logging=resumed)
        self._monitor.start()

    def _end_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor.finish()
            self._monitor = None
