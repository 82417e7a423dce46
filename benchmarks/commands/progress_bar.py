"""What a person sees while work goes on: bars where rich is installed and there is a terminal, else lines.

Bytes are shown with their rate and the time left.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

from cimbench.benchmarks.records.metrics import accuracy_per_phase
from cimbench.benchmarks.records.record import Record
from cimbench.datasets.progress import Advance
from cimbench.methods.training.recipe import FIRST
from cimbench.methods.training.task import BatchReport, EpochReport

_LINE_EVERY = 5.0  # seconds between lines where there is no terminal
_LOOK = 0.5  # seconds within which an epoch's batches are not shown


class Bars:
    """One display for the bars of cells that are learnt beside each other: a terminal has room for one alone."""

    def __init__(self) -> None:
        self._display: Any = None
        self._shown = 0

    def enter(self, display: Any) -> Any:
        """The display of all, which is `display` where there is none yet."""
        if self._display is None:
            self._display = display
            display.start()
        self._shown += 1
        return self._display

    def leave(self, job: Any) -> None:
        """Take one bar away, and after the last one the display."""
        self._shown -= 1
        self._display.remove_task(job)
        if not self._shown:
            self._display.stop()
            self._display = None


class Bar:
    """One bar. Without a terminal (or without rich) it is a line every few seconds. Called, it counts.

    among: the bars that it is shown with.
    """

    def __init__(self, title: str, among: Bars | None = None) -> None:
        self.title = title
        self._among = among or Bars()
        self._last_line = time.monotonic()
        self._rich: Any = None
        self._job: Any = None
        self._counted: str | None = None  # of which bytes; None: no bytes, but things
        self._begun = (0.0, 0)  # when, and at how many bytes
        self._start_rich()

    def _start_rich(self) -> None:
        if not sys.stderr.isatty():
            return
        try:
            from rich import progress
            from rich.console import Console
        except ModuleNotFoundError:
            return
        columns: list[Any] = [progress.TextColumn("{task.description}"), progress.BarColumn()]
        if self._counted is None:
            columns += [progress.TextColumn("{task.percentage:>3.0f} %"), progress.TimeElapsedColumn()]
        else:
            columns += [progress.DownloadColumn(), progress.TransferSpeedColumn()]
        console = Console(stderr=True)
        own = progress.Progress(*columns, progress.TimeRemainingColumn(), console=console, transient=True)
        self._rich = self._among.enter(own)
        self._job = self._rich.add_task(self.title, total=None)

    def _switch(self, counted: str | None, done: int = 0) -> None:
        """Go over to counting something else, or again, with a rate of its own."""
        if counted != self._counted or done < self._begun[1]:
            self.close()
            self._counted, self._begun = counted, (time.monotonic(), done)
            self._start_rich()

    def __call__(self, done: int, total: int) -> None:
        self.update(done, total)

    def update(self, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done."""
        self._switch(None)
        self._show(done, total, note, f"{100 * done // max(1, total)} %")

    def bytes_done(self, done: int, total: int | None, note: str) -> None:
        """Show that `done` of `total` bytes (None: nobody knows) are done, how fast, and what time that leaves."""
        self._switch(note, done)
        seconds = time.monotonic() - self._begun[0]
        rate = (done - self._begun[1]) / max(seconds, 1e-9)
        amount = f"{done / 1e6:,.1f} MB" if total is None else f"{done / 1e6:,.1f} of {total / 1e6:,.1f} MB"
        left = "" if total is None or rate <= 0 else f", {timedelta(seconds=round((total - done) / rate))} left"
        self._show(done, total, note, f"{amount}, {rate / 1e6:,.1f} MB/s{left}")

    def _show(self, done: int, total: int | None, note: str, text: str) -> None:
        if self._rich is not None:
            self._rich.update(self._job, completed=done, total=total, description=f"{self.title} {note}".strip())
        elif time.monotonic() - self._last_line > _LINE_EVERY:
            self._last_line = time.monotonic()
            print(f"{self.title} {note} {text}", file=sys.stderr, flush=True)

    def line(self, text: str) -> None:
        """Print a line that stays, above the bar."""
        if self._rich is not None:
            self._rich.console.print(text, highlight=False, markup=False)
        else:
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._rich is not None:
            self._among.leave(self._job)
            self._rich = None


@contextmanager
def bar(title: str) -> Iterator[Advance]:
    """A progress function (done, total), a Display too, for as long as the block runs."""
    shown = Bar(title)
    try:
        yield shown
    finally:
        shown.close()


class CellProgress:
    """A listener that shows a cell's epochs as a bar and each phase as a line."""

    def __init__(self, title: str, among: Bars | None = None) -> None:
        self._bar = Bar(title, among)
        self._phases = 1
        self.learnt = False  # whether anything was learnt
        self._loss = ""  # of the last epoch
        self._shown = time.monotonic()

    def started(self, record: Record, resumed: int) -> None:
        """Say where the cell goes on."""
        self.learnt = True
        self._phases = len(record.group_sizes)
        if resumed:
            self._bar.line(f"{self._bar.title}: going on after phase {resumed} of {self._phases}")

    def epoch(self, report: EpochReport) -> None:
        """Move the bar."""
        self._loss = f" loss {report.loss:.3f}"
        self._show(report, 1.0, "")

    def batch(self, report: BatchReport) -> None:
        """Move the bar within an epoch that takes longer than a look."""
        if time.monotonic() - self._shown > _LOOK:
            self._show(report, report.done / report.batches, f" batch {report.done}/{report.batches}")

    def _show(self, report: EpochReport | BatchReport, share: float, batch: str) -> None:
        """The bar at `share` of an epoch."""
        self._shown = time.monotonic()
        second = report.stage != FIRST
        words = f"{report.stage} " if second else ""
        epoch = f"{words}epoch {report.epoch + 1}/{report.epochs}"
        note = f"phase {report.phase + 1}/{self._phases} {epoch}{batch}{self._loss}"
        learnt = report.epochs if second else report.epoch + share
        total = 1000 * self._phases * report.epochs
        self._bar.update(int(1000 * (report.phase * report.epochs + learnt)), total, note)

    def phase(self, record: Record) -> None:
        """Print the phase's accuracy over all classes seen, per head, and the memory."""
        last = record.phases[-1]
        accuracy = {h: accuracy_per_phase(record.counts(h).correct, record.tested)[-1] for h in record.heads}
        heads = ", ".join(f"{head} {100 * value:.1f} %" for head, value in accuracy.items())
        held = sum(last.memory["exemplars"])
        memory = f"; {held} exemplars in {last.memory['bytes_held'] / 1e3:.1f} kB" if held else ""
        self._bar.line(f"{self._bar.title}: phase {len(record.phases)}/{self._phases} accuracy {heads}{memory}")
        if last.memory["kept_whole"]:
            self._bar.line(
                f"  {last.memory['kept_whole']} images stored uncompressed: constant activation map, or no bounding box"
            )
        if last.memory["exhausted_classes"]:
            self._bar.line(f"  {last.memory['exhausted_classes']} new classes have fewer images than their share holds")

    def close(self) -> None:
        """Take the bar away."""
        self._bar.close()
