"""How much memory an autograd graph holds: counted as it is built and given back."""

from __future__ import annotations

import weakref
from types import TracebackType

import torch
from torch import Tensor


class _Kept:
    """What a graph keeps of a tensor."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class GraphMemory:
    """Within the block, the most bytes that graphs keep at once for their backward passes.

    Memory that several tensors share counts once; weights, which are there anyway, do not. bytes: after the block.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._now = 0
        self._holders: dict[int, int] = {}  # storage -> how many kept tensors lie in it
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept.tensor)

    def _keep(self, tensor: Tensor) -> _Kept:
        kept = _Kept(tensor)
        if not (tensor.is_leaf and tensor.requires_grad):
            storage = tensor.untyped_storage()
            place, size = storage.data_ptr(), storage.nbytes()
            if place not in self._holders:
                self._now += size
                self.bytes = max(self.bytes, self._now)
            self._holders[place] = self._holders.get(place, 0) + 1
            weakref.finalize(kept, self._let_go, place, size)
        return kept

    def _let_go(self, place: int, size: int) -> None:
        self._holders[place] -= 1
        if not self._holders[place]:
            del self._holders[place]
            self._now -= size

    def __enter__(self) -> GraphMemory:
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, error, trace)
