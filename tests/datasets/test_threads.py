"""Threads that read have no teams of their own, and leave the process's number of threads alone."""

from __future__ import annotations

import os
import subprocess
import sys

PROGRAM = """
import os
import torch
from cimbench.datasets.images.threads import single_threaded_pool
torch.set_num_threads(4)
source = torch.zeros(1 << 20, dtype=torch.uint8)
count = lambda: len(os.listdir("/proc/self/task"))
before = count()
with single_threaded_pool(3, "reader") as pool:
    assert count() == before + 3
    assert list(pool.map(lambda _: torch.get_num_threads(), range(9))) == [1] * 9
    list(pool.map(lambda _: torch.empty_like(source).copy_(source + 1), range(30)))
    print(count() - before, torch.get_num_threads())
"""


def test_large_operations_in_them_start_no_teams() -> None:
    """In a process of its own, which no test has given threads: an operation on a million elements is made by one."""
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["3", "4"], done.stderr
