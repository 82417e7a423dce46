"""The smallest Triton kernel: whether this machine can compile and run one."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl


@triton.jit
def trial_kernel(numbers, block: tl.constexpr):  # type: ignore[no-untyped-def]
    """Store 1 in each of `block` places."""
    tl.store(numbers + tl.arange(0, block), 1)


def trial(device: torch.device) -> None:
    """Run it; whatever is wrong is raised."""
    numbers = torch.zeros(16, dtype=torch.int32, device=device)
    kernel: Any = trial_kernel
    kernel[(1,)](numbers, block=16)
    if int(numbers.sum()) != len(numbers):
        raise RuntimeError(f"a kernel that stores 1 in {len(numbers)} places left {numbers.tolist()}")
