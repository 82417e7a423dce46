"""The peak is of what was in use since it was reset, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from cimbench.benchmarks.cell.peak_memory import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
MEBIBYTE = 2**20


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="the peak is read from Linux's /proc")
def test_a_large_array_shows_until_the_peak_is_reset() -> None:
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    assert before is not None
    held = np.ones(300 * MEBIBYTE, dtype=np.uint8)
    during = peak_memory(CPU)
    del held
    after = peak_memory(CPU)
    reset_peak_memory(CPU)
    again = peak_memory(CPU)
    assert during is not None and after is not None and again is not None
    assert 290 * MEBIBYTE < during - before < 400 * MEBIBYTE
    assert after > during - 4 * MEBIBYTE  # it is gone, and still the most there was; the kernel counts in batches
    assert again < during - 250 * MEBIBYTE


def test_where_the_system_does_not_tell_there_is_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object) -> None:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", absent)
    monkeypatch.setattr(Path, "write_text", absent)
    reset_peak_memory(CPU)
    assert peak_memory(CPU) is None
