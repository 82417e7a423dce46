"""Threads that read beside a training without slowing it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import torch


def cores() -> int:
    """Cores that this process may use; all of the machine's where the system does not say which."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def single_threaded_pool(count: int, name: str) -> ThreadPoolExecutor:
    """`count` threads whose own torch operations take one thread each.

    Else each would get a team of OpenMP threads. Where there are more of these than cores, also when they are idle, the
    OpenMP runtime no longer lets a team spin between operations, and a training of small operations takes three times
    as long.
    """
    given = torch.get_num_threads()
    begun = threading.Barrier(count + 1)

    def begin() -> None:
        torch.set_num_threads(1)
        torch.get_num_threads()  # binds it to this thread, which else takes the process's number at its first operation
        begun.wait()

    pool = ThreadPoolExecutor(count, thread_name_prefix=name, initializer=begin)
    for _ in range(count):  # each starts a thread, since none of the others is idle before all have begun
        pool.submit(int)
    begun.wait()
    torch.set_num_threads(given)  # what threads begin with is one number of the process
    return pool


@cache
def readers() -> ThreadPoolExecutor:
    """The threads that decode; decoding leaves Python's lock alone."""
    return single_threaded_pool(cores(), "reader")


os.register_at_fork(after_in_child=readers.cache_clear)  # a forked process has none of the threads


def runs(count: int) -> list[range]:
    """0..count-1 in pieces of 16: one task for each."""
    return [range(start, min(start + 16, count)) for start in range(0, count, 16)]
