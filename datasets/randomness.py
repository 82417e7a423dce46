"""Named generators: every random choice has its own stream, so that adding one moves no other."""

from __future__ import annotations

import hashlib

import torch


def derived_seed(seed: int, *purpose: str | int) -> int:
    """A 63-bit seed from the run's seed and the purpose, equal on every machine."""
    text = "/".join(str(part) for part in (seed, *purpose))
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()[:8], "little") >> 1


def generator(seed: int, *purpose: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator for one purpose, for instance `generator(1993, "augment", phase)`."""
    return torch.Generator(device=device).manual_seed(derived_seed(seed, *purpose))
