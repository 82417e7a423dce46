"""Where the GPU kernels can be used."""

from __future__ import annotations

import warnings
from functools import cache
from importlib.util import find_spec

import torch


def has_kernels(device: torch.device) -> bool:
    """Whether tensors there are handled by Triton kernels: on CUDA, where Triton is installed and can compile.

    Where it cannot (there is no C compiler, say) it is warned of once, and torch's own operations are used.
    """
    return device.type == "cuda" and why_no_kernels(device) is None


@cache
def why_no_kernels(device: torch.device) -> str | None:
    """Why a Triton kernel does not run on a CUDA device, found out by running one; None where it does."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    try:
        from cimbench.methods.compression.trial_kernel import trial

        trial(device)
    except Exception as error:  # whatever the compiler, the linker or the driver raises
        why = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
        warnings.warn(f"Triton's kernels are not used, torch's operations are: {why}", stacklevel=3)
        return why
    return None
