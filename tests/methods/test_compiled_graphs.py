"""A suite compiles a network once: at most two graphs a method over ten phases, and none more in the next cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from cimbench.benchmarks.cell.run import run_cell
from cimbench.benchmarks.suite.config import find_cell
from tests.benchmarks.workplace import furnish
from tests.conftest import coloured_store
from tests.methods.cells import Silent

Count = Callable[[], int]
TEN_PHASES: dict[str, Any] = {"protocol": {"phases": 10}, "training": {"base_epochs": 1, "epochs": 1, "compile": True}}


@pytest.fixture
def graphs(monkeypatch: pytest.MonkeyPatch) -> Iterator[Count]:
    """Counters of torch's compiler, which captures graphs as ever and runs them as they are."""
    from torch._dynamo.utils import counters

    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="eager"))
    torch._dynamo.reset()
    counters.clear()
    yield lambda: counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["replay", "icarl", "lucir", "foster"])
def test_at_most_two_graphs_over_ten_phases_and_three_seeds(
    workspace: Path, method: str, graphs: Callable[[], int]
) -> None:
    suite = furnish(workspace, coloured_store(classes=10), **TEN_PHASES, matrix={"seeds": [3, 4, 5]})
    seen = []
    for seed in (3, 4, 5):
        run_cell(find_cell(suite, method, "class_activation", seed), Silent())
        seen.append(graphs())
    assert 1 <= seen[0] <= 2
    assert seen == [seen[0]] * 3
