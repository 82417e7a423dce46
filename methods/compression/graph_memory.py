"""How much memory an autograd graph holds: counted while it is built, the same on every machine."""

from __future__ import annotations

from types import TracebackType

import torch
from torch import Tensor


class GraphMemory:
    """Within the block, the bytes that graphs keep for their backward passes, each piece of memory counted once.

    bytes: after the block. What is freed and taken anew within the block counts once, at the largest size it had.
    """

    def __init__(self) -> None:
        self._held: dict[int, int] = {}
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda kept: kept)

    def _keep(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        self._held[storage.data_ptr()] = max(storage.nbytes(), self._held.get(storage.data_ptr(), 0))
        return tensor

    @property
    def bytes(self) -> int:
        """Of all pieces together."""
        return sum(self._held.values())

    def __enter__(self) -> GraphMemory:
        self._hooks.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._hooks.__exit__(kind, error, trace)
