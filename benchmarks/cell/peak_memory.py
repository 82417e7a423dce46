"""The most memory in use at once, since it was last reset."""

from __future__ import annotations

from pathlib import Path

import torch

_PEAK_IS_RESET_BY = "5"  # proc(5): writing it to clear_refs resets VmHWM


def reset_peak_memory(device: torch.device) -> None:
    """Measure again from now on: the device's memory on a GPU, else the process's."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text(_PEAK_IS_RESET_BY)
    except OSError:
        return  # then the peak is that of the whole process, or None


def peak_memory(device: torch.device) -> int | None:
    """Bytes; None where the system does not tell."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    kilobytes = [int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return 1024 * kilobytes[0] if kilobytes else None
