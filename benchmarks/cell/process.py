"""Switches of the whole process under which cells are learnt, measured and tested."""

from __future__ import annotations

import os

from cimbench.datasets.errors import InputError

_OVERRIDE = "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE"


def prepare_process() -> None:
    """Deterministic operations, float32 that is float32 on a GPU too, and no time spent on filling fresh memory.

    Set once at the entry. Torch would let convolutions round float32 to TF32's 10 bits of mantissa. InputError where
    the environment asks for TF32. torch.use_deterministic_algorithms does the same and imports torch's compiler, which
    takes more than a second; a trainer that compiles calls it (methods/training/trainer.py).
    """
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # looking for a GPU does not hinder a fork
    if os.environ.get(_OVERRIDE, "0") not in ("", "0"):
        raise InputError(
            f"{_OVERRIDE} is {os.environ[_OVERRIDE]}: float32 would be TF32, with 10 bits of mantissa, and the record "
            "would not say so; unset it. training.precision=bfloat16 is the fast precision that records name"
        )
    import torch

    torch._C._set_deterministic_algorithms(True, warn_only=False)  # type: ignore[attr-defined]
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
