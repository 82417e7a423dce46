"""What a graph holds is counted, and told with what the masks have learnt."""

from __future__ import annotations

import pytest
import torch

from cimbench.methods.compression.masks.graph_memory import GraphMemory
from tests.methods.learnt_masks import VARIANTS, learnt


def test_graph_memory_counts_each_piece_once() -> None:
    """exp keeps its result of 100 doubles, the product keeps the same twice, the sum nothing."""
    x = torch.ones(100, dtype=torch.float64, requires_grad=True)
    with GraphMemory() as held:
        y = x.exp()
        (y * y).sum()
    assert held.bytes == 800
    x.exp()
    assert held.bytes == 800


def test_what_is_given_back_does_not_count_whatever_else_is_taken() -> None:
    """Four graphs one after another are as large as one, also where the memory between them is taken by others."""
    x = torch.ones(1000, dtype=torch.float64, requires_grad=True)
    others = []
    with GraphMemory() as held:
        for _ in range(4):
            y = x.exp()
            y.sin().sum().backward()  # sin keeps y, which exp keeps too
            del y
            others.append(torch.ones(1000, dtype=torch.float64))
    assert held.bytes == 8000
    with GraphMemory() as both:
        kept = [(x * x).exp() for _ in range(2)]
    assert both.bytes == 16000  # of exp's results; the weight x is no part of the graph
    del kept, others


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("compressor", VARIANTS)
def test_the_mask_levels_graph_is_smaller_in_parts(compressor: str) -> None:
    """One level has no second order, and is never made in parts."""
    whole, parts = (
        learnt(compressor=compressor, masks={"micro_batch": size}).memory.audit(2).measured["mask_graph_bytes"]
        for size in (16, 4)
    )
    assert parts > 0
    assert parts == whole if compressor == "cim_joint" else parts < whole
