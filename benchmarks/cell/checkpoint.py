"""A cell's state after a phase, in one file: enough to go on and end with the numbers of an undisturbed run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from cimbench.benchmarks.records.differences import differences
from cimbench.benchmarks.records.record import Record, record_from_json
from cimbench.datasets.arrays import load_arrays, save_arrays
from cimbench.datasets.errors import InputError

States = Mapping[str, Mapping[str, Tensor]]


class Checkpoint(NamedTuple):
    """States by owner, the record so far, and seconds of learning after it."""

    states: dict[str, dict[str, Tensor]]
    record: Record
    seconds: float


def save_checkpoint(path: Path, states: States, record: Record, seconds: float = 0.0) -> None:
    """Write every state dict (by owner), the record and seconds of learning after it, atomically."""
    arrays = {
        f"{owner}/{name}": value.detach().cpu().numpy()
        for owner, state in states.items()
        for name, value in state.items()
    }
    save_arrays(path, arrays, {"record": record.as_json(), "seconds": seconds})


def load_checkpoint(path: Path, fresh: Record) -> Checkpoint | None:
    """A saved checkpoint; None where there is none.

    InputError where it belongs to another configuration, other data or other sources than `fresh` describes.
    """
    if not path.is_file():
        return None
    arrays, description = load_arrays(path)
    record = record_from_json(description["record"])
    if record.run_id != fresh.run_id:
        raise InputError(
            f"{path}: is the checkpoint of another configuration: {_differences(record, fresh)}. Restore that to go on "
            f"where it stopped (after phase {len(record.phases)}), or delete the file to start afresh: rm {path}"
        )
    states: dict[str, dict[str, Tensor]] = {}
    for name, array in arrays.items():
        owner, _, key = name.partition("/")
        states.setdefault(owner, {})[key] = torch.from_numpy(array)
    return Checkpoint(states, record, description.get("seconds", 0.0))


def _differences(there: Record, here: Record) -> str:
    """What differs, in words."""

    def identity(record: Record) -> dict[str, Any]:
        origin = record.provenance
        return record.config | {
            "data": record.data_digest[:12],
            "source files": origin["source_digest"][:12],
            "torch": origin["versions"]["torch"],
            "device used": origin["hardware"]["device"],
        }

    return differences(identity(there), identity(here)) or "the split differs"
