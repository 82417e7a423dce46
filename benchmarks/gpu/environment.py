"""What a machine has for learning on a GPU, in words, and why it cannot where it cannot."""

from __future__ import annotations

import os
import platform
import shutil
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

import torch

from cimbench.methods.compression.acceleration import why_no_kernels

_LEAST_FREE = 4 * 2**30  # bytes: suite small with its images, its networks and its graphs


def why_no_gpu() -> str | None:
    """Why nothing can run on a GPU here, with the remedy; None where it can."""
    if torch.version.cuda is None:
        return f"torch {torch.__version__} is built without CUDA; install a build with CUDA"
    if torch.cuda.is_available():
        return None
    try:
        torch.cuda.init()  # type: ignore[no-untyped-call]  # says why
        told = "no device"
    except Exception as error:  # whatever the driver has to say
        told = str(error).split(". ")[0].rstrip(".")
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    shown = "" if hidden is None else f"; CUDA_VISIBLE_DEVICES is {hidden!r}"
    return f"torch is built with CUDA {torch.version.cuda}, but: {told}{shown}; nvidia-smi has to list a GPU first"


def facts() -> dict[str, str]:
    """Name and value of what learning on a GPU depends on, in the order of reading."""
    found = {
        "Python": platform.python_version(),
        "torch": f"{torch.__version__}, built with CUDA {torch.version.cuda or '-'}",
        "torchvision": _version("torchvision"),
        "triton": _version("triton"),
        "C compiler": next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), "none"),
    }
    if why_no_gpu() is not None:
        return found | {"GPU": "none"}
    device = torch.device("cuda", 0)
    free, whole = torch.cuda.mem_get_info(device)
    capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
    kernels = why_no_kernels(device)
    enough = (
        "" if free >= _LEAST_FREE else f"; less than {_LEAST_FREE / 2**30:.0f} GiB: others use it, or it is too small"
    )
    return found | {
        "GPU": f"{torch.cuda.get_device_name(device)}, compute capability {capability}",
        "driver": _driver(),
        "memory": f"{free / 2**30:.1f} of {whole / 2**30:.1f} GiB free{enough}",
        "bfloat16": "yes" if torch.cuda.is_bf16_supported() else "no",
        "kernels": "compile and run" if kernels is None else f"not used: {kernels}",
    }


def _version(package: str) -> str:
    try:
        return version(package) if find_spec(package) else "not installed"
    except PackageNotFoundError:
        return "unknown"


def _driver() -> str:
    """The driver's version, from the kernel's own report."""
    try:
        with Path("/proc/driver/nvidia/version").open() as file:
            words = file.readline().split()
    except OSError:
        return "unknown"
    return next((word for word in words if word[:1].isdigit()), "unknown")
