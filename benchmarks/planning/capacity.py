"""How many cells this machine can learn beside each other: its cores, its free memory and what a cell needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from cimbench.benchmarks.records.places import record_folders
from cimbench.benchmarks.records.record import load_record
from cimbench.benchmarks.suite.config import Cell, Suite, resolve_device
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.threads import cores

LEAST_BYTES = 600_000_000  # of a process that has torch and a small network, where no cell of the suite was measured
_MEMORY = Path("/proc/meminfo")
_GROUP = Path("/sys/fs/cgroup")


def free_bytes() -> int | None:
    """Memory that could be had now, within the limit of the container; None where the system does not tell."""
    if not _MEMORY.is_file():
        return None
    lines = dict(line.split(":") for line in _MEMORY.read_text().splitlines() if ":" in line)
    free = 1024 * int(lines["MemAvailable"].split()[0])
    limit, used = _GROUP / "memory.max", _GROUP / "memory.current"
    if limit.is_file() and used.is_file() and (text := limit.read_text().strip()).isdecimal():
        free = min(free, int(text) - int(used.read_text()))
    return free


def needed_bytes(suite: Suite) -> int:
    """The most that a cell of the suite has used on a CPU, as far as any was measured."""
    peaks = [LEAST_BYTES]
    for folder in record_folders(suite.results.parent, suite.suite):
        try:
            record = load_record(folder)
            if record.provenance["hardware"]["device"] == "cpu":
                peaks += [phase.peak_memory_bytes or 0 for phase in record.phases]
        except (InputError, KeyError):  # damaged or of another version: says nothing of memory
            continue
    return max(peaks)


def jobs_for(suite: Suite, cells: Sequence[Cell], asked: int | None) -> int:
    """How many cells are learnt beside each other: as many as asked for, else one a core, or one on a GPU.

    InputError for more than there are cores or free memory for.
    """
    on_gpu = resolve_device(suite.device).type == "cuda"
    if asked is not None and asked < 1:
        raise InputError(f"--jobs is {asked}; give 1 or more")
    if asked is not None and not on_gpu and asked > cores():
        raise InputError(f"--jobs is {asked}, but there are {cores()} cores; give at most {cores()}, or leave it out")
    jobs = min(asked or (1 if on_gpu else cores()), max(1, len(cells)))
    need, free = needed_bytes(suite), free_bytes()
    if on_gpu or free is None or jobs * need <= free:
        return jobs
    fitting = max(1, free // need)
    if asked is not None and jobs > 1:
        raise InputError(
            f"--jobs is {asked}: a cell of suite {suite.suite} needs {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB of "
            f"memory are free; give at most {fitting}"
        )
    return min(jobs, fitting)
