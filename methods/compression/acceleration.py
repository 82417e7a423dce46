"""Where the GPU kernels can be used."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec

import torch


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def has_kernels(device: torch.device) -> bool:
    """Whether tensors there are handled by kernels.py: on CUDA, where Triton is installed."""
    return device.type == "cuda" and _has_triton()
