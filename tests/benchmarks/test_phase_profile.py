"""Where the time of a phase goes: parts inside parts are counted once."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from cimbench.benchmarks.throughput.phase import MASKS, NETWORK, Clock, phase_table
from tests.conftest import table_rows


def test_a_parts_time_is_without_the_parts_inside_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outer from 0 to 10 with an inner part from 2 to 5, in which another one takes from 3 to 4."""
    ticks = iter([0.0, 2.0, 3.0, 4.0, 5.0, 10.0])
    clock = Clock(torch.device("cpu"))
    monkeypatch.setattr(clock, "now", lambda: next(ticks))
    inner = clock.timed("inner", lambda: clock.timed("innermost", lambda: 7)())
    with clock.part("outer"):
        assert inner() == 7
    assert clock.seconds == {"outer": 7.0, "inner": 2.0, "innermost": 1.0}


def test_a_part_that_fails_is_counted_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter([0.0, 1.0, 4.0, 6.0])
    clock = Clock(torch.device("cpu"))
    monkeypatch.setattr(clock, "now", lambda: next(ticks))

    def fail() -> None:
        raise ValueError

    with clock.part("outer"), pytest.raises(ValueError):
        clock.timed("inner", fail)()
    assert clock.seconds == {"outer": 3.0, "inner": 3.0} and clock.running == []


def test_the_share_of_the_bare_steps_leaves_out_the_mask_level() -> None:
    """8 of 10 seconds of learning are the network's; masks, memory and evaluation are no part of it."""
    seconds = {
        NETWORK: 8.0,
        "augmentation": 2.0,
        MASKS: 5.0,
        "memory: boxes, compression, herding": 3.0,
        "evaluation": 2.0,
    }
    table, share = phase_table(seconds)
    assert share == pytest.approx(0.8)
    rows = table_rows(table)
    assert [row["part"] for row in rows][:2] == [NETWORK, MASKS]
    assert [row["share"] for row in rows][:2] == ["40.0%", "25.0%"]


def test_another_threads_work_is_no_part_and_waiting_for_it_is() -> None:
    """Batches that a thread makes ahead: the clock of this thread is not touched by it."""
    clock = Clock(torch.device("cpu"), ahead=True)
    made = clock.timed("made", lambda item: (time.sleep(0.05), item)[1])
    with ThreadPoolExecutor(1) as thread, clock.part("all"):
        taken = list(clock.timed_items("waiting", lambda: thread.map(made, [1, 2]))())
    assert taken == [1, 2]
    assert set(clock.seconds) == {"all", "waiting"} and clock.seconds["waiting"] > 0.05 and clock.running == []
