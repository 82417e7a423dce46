"""Where the time of one phase goes: `python -m` this, with a suite; writes results/throughput/phase.md.

On a CPU with one thread the clock counts what the process itself computed, so that other work on the machine matters
little; on a GPU it is wall time, read after the device has finished each part.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pandas as pd
import torch

from cimbench.benchmarks.cell import run
from cimbench.benchmarks.cell.listeners import Listeners
from cimbench.benchmarks.cli import prepare_process
from cimbench.benchmarks.commands.progress_bar import bar
from cimbench.benchmarks.records.provenance import surroundings
from cimbench.benchmarks.report.tables import formatted
from cimbench.benchmarks.suite.compose import compose_suite
from cimbench.benchmarks.suite.config import find_cell
from cimbench.datasets.arrays import write_atomically
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.training.pool import Pool
from cimbench.methods.training.trainer import Trainer

PAGE = Path("results/throughput/phase.md")
NETWORK, MASKS = "network: forward, backward, optimiser", "mask level"
NOTE = (
    "Time without what is timed in another line. The bare step is the network's line: its share of learning without "
    "the mask level is the speed of the whole beside the bare steps."
)


@dataclass
class Clock:
    """Seconds of each part, without the parts inside it."""

    device: torch.device
    seconds: dict[str, float] = field(default_factory=dict)
    running: list[tuple[str, float]] = field(default_factory=list)

    def now(self) -> float:
        """Computed seconds of this process; on a GPU wall time, once the device is done."""
        if self.device.type != "cuda":
            return time.process_time()
        torch.cuda.synchronize(self.device)
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
        """The function, timed as a part."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            with self.part(name):
                return function(*arguments, **keywords)

        return call


def watched(clock: Clock, compressor: type[Compressor]) -> ExitStack:
    """The parts of learning, timed from now on."""
    stack = ExitStack()
    for owner, function, name in (
        (Trainer, "step", NETWORK),
        (Pool, "batch", "batches: decoding, replay, worn artifacts"),
        (Trainer, "augmented", "augmentation"),
        (Pool, "refresh", "new artifacts: maps, boxes, compression"),
        (compressor, "after_epoch", MASKS),
    ):
        stack.enter_context(patch.object(owner, function, clock.timed(name, getattr(owner, function))))
    return stack


def profile_phase(name: str, method: str, compressor: str, seed: int, epochs: int) -> tuple[dict[str, float], str]:
    """Seconds by part of the second phase of a cell with few epochs a phase, and what was run."""
    shorter = [f"training.base_epochs={epochs}", f"training.epochs={epochs}"]
    bench = run.build(find_cell(compose_suite(name, shorter), method, compressor, seed))
    clock = Clock(bench.device)
    for number in range(2):
        phase = bench.stream.phase(number)
        clock.seconds.clear()
        with watched(clock, type(bench.memory.compressor)), clock.part("other: order, bookkeeping"):
            bench.method.learn(run.task(bench, phase, [], Listeners()))
        with clock.part("memory: boxes, compression, herding"):
            run.remember(bench, phase)
        with clock.part("evaluation"):
            run.evaluate_phase(bench, phase)
    origin = surroundings(bench.device)
    hardware = origin["hardware"]
    device = hardware["device"] if hardware["device"] != "cpu" else f"{hardware['processor']}, one thread"
    what = (
        f"Suite {name}, {method} + {compressor}, second phase, {epochs} epochs a training. {device}; torch "
        f"{origin['versions']['torch']}; commit {(origin['commit'] or 'unknown')[:10]}."
    )
    return clock.seconds, what


def phase_table(seconds: dict[str, float]) -> tuple[pd.DataFrame, float]:
    """One row a part, longest first, and the network's share of learning without the mask level."""
    whole = sum(seconds.values())
    ordered = sorted(seconds.items(), key=lambda item: -item[1])
    rows = [{"part": name, "time (s)": f"{value:.2f}", "share": f"{value / whole:.1%}"} for name, value in ordered]
    outside = (MASKS, "memory: boxes, compression, herding", "evaluation")
    learning = sum(value for name, value in seconds.items() if name not in outside)
    return pd.DataFrame(rows), seconds[NETWORK] / learning


def main() -> None:
    """Profile and write the page."""
    parser = argparse.ArgumentParser(prog="python -m cimbench.benchmarks.throughput.phase", description=__doc__)
    parser.add_argument("suite", nargs="?", default="tiny-masks")
    parser.add_argument("--method", default="foster")
    parser.add_argument("--compressor", default="cim")
    parser.add_argument("--seed", type=int, default=1993)
    parser.add_argument("--epochs", type=int, default=12)
    given = parser.parse_args()
    prepare_process()  # the kernels that cells run
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    with bar("two phases"):
        seconds, what = profile_phase(given.suite, given.method, given.compressor, given.seed, given.epochs)
    frame, share = phase_table(seconds)
    table = formatted(frame, "github", 1)
    text = f"{what}\n\n{table}\n\nThe whole at {share:.0%} of the speed of the bare steps. {NOTE}\n"
    write_atomically(PAGE, lambda file: file.write(text.encode()))
    print(f"{text}\n{PAGE}: written. Next: docs/performance.md")


if __name__ == "__main__":
    main()
