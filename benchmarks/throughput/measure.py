"""A step's speed beside its ceiling and the reference procedure, all timed in one run on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from pytest_benchmark.fixture import BenchmarkFixture
from torch.profiler import ProfilerActivity, profile

from cimbench.benchmarks.records.provenance import surroundings

_SECONDS = 2.0
Step = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is measured. images: in one call of the step. moved: bytes it has to read and write in that call.

    bound: what limits it, in words. ceiling_name: what the ceiling is.
    """

    step: str
    input: str
    device: str
    images: int
    moved: int
    bound: str
    ceiling_name: str = "copy"


def timed(step: Step, device: str, seconds: float = _SECONDS) -> float:
    """Median seconds of a call, after two to warm up; the clock stops when the device has finished."""

    taken: list[float] = []
    once = _noted(step, device, taken)
    once()
    once()
    rounds = max(3, min(50, int(seconds / max(taken[-1], 1e-6))))
    for _ in range(rounds):
        once()
    return sorted(taken[2:])[rounds // 2]


def copy_step(moved: int, device: str) -> Step:
    """Copying `moved / 2` bytes: as many read as written."""
    source = torch.zeros(moved // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return lambda: target.copy_(source)


def peak_allocated(step: Step, device: str) -> int:
    """The most bytes that torch held at once for the step beyond what it held before."""
    if device == "cuda":
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        step()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as watched:
        step()
    held = highest = 0
    for event in watched.profiler.kineto_results.events():  # the profiler's tables have no running sum
        if event.name() == "[memory]":
            held += event.nbytes()
            highest = max(highest, held)
    return highest


def _share_of_peak(step: Step, ceiling: Step, device: str) -> float:
    return peak_allocated(step, device) / peak_allocated(ceiling, device)


def _noted(step: Step, device: str, seconds: list[float]) -> Callable[[], None]:
    """The step, whose time is noted when the device has finished."""

    def call() -> None:
        start = time.perf_counter()
        step()
        if device == "cuda":
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - start)

    return call


def measure(
    benchmark: BenchmarkFixture,
    job: Job,
    step: Step,
    *,
    ceiling: Step | None = None,
    reference: Step | None = None,
    memory: bool = False,
) -> None:
    """Time the ceiling (a copy of the same bytes unless given), the reference where there is one, and the step.

    A ceiling that is given is timed before each round of the step, so that what else the machine does meets both. The
    reference is per image on one CPU core, whatever the step runs on. memory: compare what step and ceiling allocate.
    """
    ceiling_seconds = timed(copy_step(job.moved, job.device), job.device) if ceiling is None else 0.0
    ceilings: list[float] = []
    reference_seconds = None
    if reference is not None:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        reference_seconds = timed(reference, "cpu")
        torch.set_num_threads(threads)

    before = None if ceiling is None else _noted(ceiling, job.device, ceilings)
    rounds = max(3 if ceiling is None else 15, min(50, int(_SECONDS / max(timed(step, job.device, 0), 1e-6))))
    run: Callable[..., object] = benchmark.pedantic
    run(_noted(step, job.device, []), setup=before, rounds=rounds, iterations=1, warmup_rounds=2)
    if ceilings:
        ceiling_seconds = sorted(ceilings[2:])[len(ceilings[2:]) // 2]
    seconds = benchmark.stats.stats.median  # type: ignore[union-attr]
    benchmark.extra_info |= {
        **asdict(job),
        "seconds": seconds,
        "ceiling_seconds": ceiling_seconds,
        "reference_seconds": reference_seconds,
        "memory": peak_allocated(step, job.device) / peak_allocated(ceiling, job.device)
        if memory and ceiling
        else None,
        "surroundings": surroundings(torch.device(job.device)),
    }
    times = f", {reference_seconds / seconds:.1f} x the reference" if reference_seconds else ""
    print(
        f"\n{job.step}, {job.input}, {job.device}: {job.images / seconds:,.0f} images/s, "
        f"{ceiling_seconds / seconds:.0%} of the ceiling ({job.ceiling_name}){times}"
    )
