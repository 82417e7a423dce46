"""Where the time of one phase goes: `python -m` this, with a suite; writes results/throughput/phase.md.

On a CPU with one thread the clock counts what the process itself computed, so that other work on the machine matters
little; on a GPU, and where batches are read ahead by another thread, it is wall time, read after the device has
finished each part. Needs torch alone.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.cell.process import prepare_process
from cimbench.benchmarks.commands.data import bring_data
from cimbench.benchmarks.commands.progress_bar import bar
from cimbench.benchmarks.records.provenance import surroundings
from cimbench.benchmarks.suite.compose import compose_parameters
from cimbench.benchmarks.suite.config import Suite, find_cell
from cimbench.benchmarks.suite.parameter_file import read_parameters
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.arrays import write_atomically
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.training.pool import Pool
from cimbench.methods.training.trainer import Trainer

PAGES = {"cpu": Path("results/throughput/phase.md"), "cuda": Path("results/throughput/phase-gpu.md")}
NETWORK, MASKS = "network: forward, backward, optimiser", "mask level"
BATCHES = "batches: decoding, replay, worn artifacts"
NOTE = (
    "Time without what is timed in another line. The bare step is the network's line: its share of learning without "
    "the mask level is the speed of the whole beside the bare steps."
)


@dataclass
class Clock:
    """Seconds of each part, without the parts inside it."""

    device: torch.device
    ahead: bool = False  # whether batches are made by another thread meanwhile
    seconds: dict[str, float] = field(default_factory=dict)
    running: list[tuple[str, float]] = field(default_factory=list)
    _owner: int = field(default_factory=threading.get_ident)

    def now(self) -> float:
        """Computed seconds of this process; on a GPU, or beside another thread, wall time, once the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        elif not self.ahead:
            return time.process_time()
        return time.perf_counter()

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what is inside, and stop the part around it meanwhile."""
        now = self.now()
        self._stop(now)
        self.running.append((name, now))
        try:
            yield
        finally:
            now = self.now()
            self._stop(now)
            self.running.pop()
            if self.running:
                self.running[-1] = (self.running[-1][0], now)

    def _stop(self, now: float) -> None:
        if self.running:
            name, since = self.running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - since

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, timed as a part where the thread that made the clock calls it."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            if threading.get_ident() != self._owner:
                return function(*arguments, **keywords)
            with self.part(name):
                return function(*arguments, **keywords)

        return call

    def timed_items(self, name: str, function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
        """The function, whose result's items are timed as they are asked for: made now, or waited for."""

        def call(*arguments: Any, **keywords: Any) -> Iterator[Any]:
            items = iter(function(*arguments, **keywords))
            take = self.timed(name, lambda: next(items, None))
            while (item := take()) is not None:
                yield item

        return call


def watched(clock: Clock, compressor: type[Compressor]) -> ExitStack:
    """The parts of learning, timed from now on."""
    stack = ExitStack()
    for owner, function, name in (
        (Trainer, "step", NETWORK),
        (Trainer, "augmented", "augmentation"),
        (Pool, "refresh", "new artifacts: maps, boxes, compression"),
        (compressor, "after_epoch", MASKS),
    ):
        stack.enter_context(patch.object(owner, function, clock.timed(name, getattr(owner, function))))
    stack.enter_context(patch.object(Pool, "batches", clock.timed_items(BATCHES, Pool.batches)))
    return stack


def suite_of(name: str, parameters: Path | None, epochs: int) -> Suite:
    """The suite of that name, or of a parameter file, with few epochs a phase."""
    content = compose_parameters(name) if parameters is None else read_parameters(parameters)
    content["training"] |= {"base_epochs": epochs, "epochs": epochs}
    return build(Suite, content, str(parameters or name))


def profile_phase(suite: Suite, method: str, compressor: str, seed: int) -> tuple[dict[str, float], str, torch.device]:
    """Seconds by part of the second phase of a cell, what was run, and where."""
    bench = run.build(find_cell(suite, method, compressor, seed))
    clock = Clock(bench.device)
    for number in range(2):
        phase = bench.stream.phase(number)
        task = run.task(bench, phase, [], Listeners())
        clock.ahead = bool(task.pool.images.ahead)
        clock.seconds.clear()
        with watched(clock, type(bench.memory.compressor)), clock.part("other: order, bookkeeping"):
            bench.method.learn(task)
        with clock.part("memory: boxes, compression, herding"):
            run.remember(bench, phase)
        with clock.part("evaluation"):
            run.evaluate_phase(bench, phase)
    origin = surroundings(bench.device)
    hardware = origin["hardware"]
    device = hardware["device"] if hardware["device"] != "cpu" else f"{hardware['processor']}, one thread"
    what = (
        f"Suite {suite.suite}, {method} + {compressor}, second phase, {suite.training.epochs} epochs a training. "
        f"{device}; torch {origin['versions']['torch']}; commit {(origin['commit'] or 'unknown')[:10]}."
    )
    return clock.seconds, what, bench.device


def phase_table(seconds: dict[str, float]) -> tuple[str, float]:
    """Markdown, one row a part, longest first; and the network's share of learning without the mask level."""
    whole = sum(seconds.values())
    rows = [("part", "time (s)", "share"), ("---", "---:", "---:")]
    for name, value in sorted(seconds.items(), key=lambda item: -item[1]):
        rows.append((name, f"{value:.2f}", f"{value / whole:.1%}"))
    outside = (MASKS, "memory: boxes, compression, herding", "evaluation")
    learning = sum(value for name, value in seconds.items() if name not in outside)
    return "\n".join(f"| {' | '.join(row)} |" for row in rows), seconds[NETWORK] / learning


def main() -> None:
    """Profile and write the page."""
    parser = argparse.ArgumentParser(prog="python -m cimbench.benchmarks.throughput.phase", description=__doc__)
    parser.add_argument("suite", nargs="?", default="tiny-masks")
    parser.add_argument("--params", type=Path, help="a parameter file instead of a suite's name")
    parser.add_argument("--method", default="foster")
    parser.add_argument("--compressor", default="cim")
    parser.add_argument("--seed", type=int, default=1993)
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    prepare_process()  # the kernels that cells run
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    suite = suite_of(given.suite, given.params, given.epochs)
    bring_data(suite, [given.seed])
    with bar("two phases"):
        seconds, what, device = profile_phase(suite, given.method, given.compressor, given.seed)
    table, share = phase_table(seconds)
    text = f"{what}\n\n{table}\n\nThe whole at {share:.0%} of the speed of the bare steps. {NOTE}\n"
    page = PAGES[device.type]
    write_atomically(page, lambda file: file.write(text.encode()))
    print(f"{text}\n{page}: written. Next: docs/performance.md")


if __name__ == "__main__":
    main()
