"""Cells beside each other: processes forked once, after the imports, of which each learns one cell after another.

This process learns nothing then: it shows the progress and does the tracking of all of them.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import queue
import signal
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from multiprocessing.context import ForkProcess
from typing import Any

from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.cell.owner import owned
from cimbench.benchmarks.planning.deadline import LimitReachedError
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.suite.config import Cell
from cimbench.datasets.errors import InputError
from cimbench.methods.errors import NonFiniteLossError
from cimbench.methods.training.task import BatchReport, EpochReport

_EVERY = 0.5  # seconds between two batches that a process tells of
Inside = Callable[[Cell], Sequence[Any]]
Outside = Callable[[Cell], Any]


@dataclass(frozen=True, kw_only=True)
class Result:
    """How a cell ended: with a record; with an error in words, and its traceback where it is a defect; or in time."""

    cell: Cell
    record: Record | None = None
    learnt: bool = False
    error: str = ""
    trace: str = ""
    stopped: bool = False


def run_cells(
    cells: Sequence[Cell], jobs: int, outside: Outside, inside: Inside, may_begin: Callable[[], bool] = lambda: True
) -> Iterator[Result]:
    """Learn cells, `jobs` at a time, and yield each one's result as it ends; an error of one does not end the others.

    outside(cell): a listener with `close`, in this process. inside(cell): listeners where the cell is learnt.
    may_begin: asked before each cell; once it says no, none is begun. Cells that were not begun have no result.
    """
    if min(jobs, len(cells)) > 1:
        yield from _Team(cells, jobs, outside, inside).results(may_begin)
        return
    for cell in cells:
        if not may_begin():
            return
        listener = outside(cell)
        try:
            yield _learnt(cell, [listener, *inside(cell)])
        finally:
            listener.close()


class _Watch:
    """A listener that knows whether anything was learnt."""

    learnt = False

    def started(self, record: Record, resumed: int) -> None:  # noqa: ARG002
        """A cell that is measured already does not start."""
        self.learnt = True

    def epoch(self, report: EpochReport) -> None:
        """Nothing."""

    def batch(self, report: BatchReport) -> None:
        """Nothing."""

    def phase(self, record: Record) -> None:
        """Nothing."""


def _learnt(cell: Cell, listeners: Sequence[Any]) -> Result:
    """Run a cell in this process."""
    import torch

    from cimbench.benchmarks.cell.run import run_cell

    watch = _Watch()
    try:
        with owned(cell):
            record = run_cell(cell, Listeners(watch, *listeners), reuse=True)
    except LimitReachedError:
        return Result(cell=cell, learnt=watch.learnt, stopped=True)
    except (InputError, NonFiniteLossError) as error:
        return Result(cell=cell, learnt=watch.learnt, error=str(error))
    except torch.OutOfMemoryError as error:
        return Result(cell=cell, learnt=watch.learnt, error=_out_of_memory(cell, error))
    except BrokenPipeError:  # the process that shows and tracks has gone
        raise
    except Exception as error:
        words = f"{type(error).__name__}: {error}"
        return Result(cell=cell, learnt=watch.learnt, error=words, trace=traceback.format_exc())
    return Result(cell=cell, record=record, learnt=watch.learnt)


def _out_of_memory(cell: Cell, error: Exception) -> str:
    """What a GPU's memory was too small for, in words."""
    words = str(error).splitlines()[0].rstrip(".")
    _, parameters = cell.build_compressor_parameters()
    masks = f", or compressors.{cell.compressor}.micro_batch" if hasattr(parameters, "micro_batch") else ""
    return (
        f"{words}. Halve training.batch_size ({cell.training.batch_size} now){masks}, or give fewer --jobs; the last "
        "checkpoint is kept, and the same command goes on from it where the parameters are the same"
    )


class _Sender:
    """A listener that tells everything to the process above, batches now and then."""

    def __init__(self, connection: Connection) -> None:
        self._connection, self._told = connection, 0.0

    def started(self, record: Record, resumed: int) -> None:
        """Tell."""
        self._connection.send(("started", (record, resumed)))

    def epoch(self, report: EpochReport) -> None:
        """Tell."""
        self._connection.send(("epoch", (report,)))

    def batch(self, report: BatchReport) -> None:
        """Tell, twice a second."""
        if time.monotonic() - self._told > _EVERY:
            self._told = time.monotonic()
            self._connection.send(("batch", (report,)))

    def phase(self, record: Record) -> None:
        """Tell."""
        self._connection.send(("phase", (record,)))


def _work(connection: Connection, others: Sequence[Connection], cells: Sequence[Cell], inside: Inside) -> None:
    """What a forked process does: learn the cells whose numbers it is sent, until None comes or nobody listens."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the process above ends this one
    for other in others:  # else nobody would see that the process above has gone
        other.close()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while (number := connection.recv()) is not None:
            cell = cells[number]
            ended = _learnt(cell, [_Sender(connection), *inside(cell)])
            connection.send(("ended", (replace(ended, cell=None),)))  # type: ignore[arg-type]


@dataclass
class _Worker:
    """A forked process, and what it learns now."""

    process: ForkProcess
    connection: Connection
    cell: Cell | None = None
    listener: Any = None


class _Team:
    """Forked processes, their messages, and who learns what."""

    def __init__(self, cells: Sequence[Cell], jobs: int, outside: Outside, inside: Inside) -> None:
        self._cells, self._outside = cells, outside
        self._left = list(range(len(cells)))
        self._messages: queue.SimpleQueue[tuple[_Worker, Any]] = queue.SimpleQueue()
        self._workers: list[_Worker] = []
        fork = multiprocessing.get_context("fork")
        for _ in range(min(jobs, len(cells))):
            ours, theirs = fork.Pipe()
            others = [ours, *(worker.connection for worker in self._workers)]
            process = fork.Process(target=_work, args=(theirs, others, cells, inside), daemon=True)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)  # the threads are NumPy's, which forks well
                process.start()
            theirs.close()
            self._workers.append(_Worker(process, ours))
        for worker in self._workers:  # after all forks: a process with threads forks badly
            threading.Thread(target=self._listen, args=(worker,), daemon=True).start()

    def _listen(self, worker: _Worker) -> None:
        """Messages wait here, not in the process that learns."""
        try:
            while True:
                self._messages.put((worker, worker.connection.recv()))
        except (EOFError, OSError):
            self._messages.put((worker, None))

    def results(self, may_begin: Callable[[], bool]) -> Iterator[Result]:
        """Of all cells, as they end."""
        try:
            begun = [worker for worker in self._workers if self._send_next(worker, may_begin)]
            for worker in begun:  # learning goes on while the tracker is imported
                self._begin(worker)
            while any(worker.cell is not None for worker in self._workers):
                worker, message = self._messages.get()
                if worker.cell is None:
                    continue
                if message is not None and message[0] != "ended":
                    getattr(worker.listener, message[0])(*message[1])
                    continue
                yield self._end(worker, None if message is None else message[1][0])
                if message is not None and self._send_next(worker, may_begin):
                    self._begin(worker)
        finally:
            self._stop()

    def _send_next(self, worker: _Worker, may_begin: Callable[[], bool]) -> bool:
        if not self._left or not may_begin():
            return False
        number = self._left.pop(0)
        worker.cell = self._cells[number]
        worker.connection.send(number)
        return True

    def _begin(self, worker: _Worker) -> None:
        assert worker.cell is not None
        worker.listener = self._outside(worker.cell)

    def _end(self, worker: _Worker, ended: Result | None) -> Result:
        """The result of a worker's cell; None: the process is gone."""
        assert worker.cell is not None
        cell, worker.cell = worker.cell, None
        worker.listener.close()
        if ended is not None:
            return replace(ended, cell=cell)
        worker.process.join(5)
        return Result(cell=cell, error=_why(worker.process.exitcode))

    def _stop(self) -> None:
        """All end now; those that learn are cut off, and go on from their checkpoints."""
        for worker in self._workers:
            if worker.cell is not None:
                worker.process.terminate()
                if worker.listener is not None:
                    worker.listener.close()
            else:
                with contextlib.suppress(OSError):
                    worker.connection.send(None)
        for worker in self._workers:
            worker.process.join(5)


def _why(status: int | None) -> str:
    if status is None or status >= 0:
        return f"its process ended with status {status}; the same command goes on"
    name = signal.Signals(-status).name if -status in set(signal.Signals) else f"signal {-status}"
    memory = " (out of memory, perhaps: give fewer --jobs)" if -status == signal.SIGKILL else ""
    return f"its process was killed by {name}{memory}; the same command goes on from its checkpoint"


def told(result: Result) -> str:
    """A failed cell's error, printed at once, with its traceback where it is none of the input's."""
    print(f"{result.cell.name}: failed: {result.error}", file=sys.stderr, flush=True)
    if result.trace:
        print(result.trace, file=sys.stderr, end="", flush=True)
    return result.error
