"""Results of a cell's other configurations: kept beside the suite's cells, and found again when theirs comes back."""

from __future__ import annotations

import shutil
from pathlib import Path

from cimbench.benchmarks.records.places import FILE_NAME, name_of
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.datasets.arrays import write_to_disk
from cimbench.datasets.errors import InputError


def place_of(folder: Path, run_id: str) -> Path:
    """Where a cell's results of that identity are kept: results/<suite>/kept/<cell>/<run_id>."""
    return folder.parents[2] / "kept" / name_of(folder) / run_id


def make_room(folder: Path, wanted: str) -> Record | None:
    """Prepare a cell's folder for a run of identity `wanted`: the complete record of it, if it is there or was kept.

    Complete results of another identity (configuration, data, sources, torch, device) are kept. Incomplete ones are
    removed: their checkpoint is not there, so that nothing can go on from them.
    """
    there = _complete(folder)
    if there is not None and there.run_id == wanted:
        return there
    kept = place_of(folder, wanted)
    with write_to_disk(folder):
        if there is not None:
            _move(folder, place_of(folder, there.run_id))
        shutil.rmtree(folder, ignore_errors=True)
        back = _complete(kept)
        if back is not None and back.run_id == wanted:
            _move(kept, folder)
            return back
    return None


def kept_records(folder: Path) -> dict[Path, Record]:
    """What is kept of a cell, by its place."""
    places = sorted(path.parent for path in place_of(folder, "").glob(f"*/{FILE_NAME}"))
    found = {place: _complete(place) for place in places}
    return {place: record for place, record in found.items() if record is not None}


def _complete(folder: Path) -> Record | None:
    """The record in a folder; None where it is absent, damaged or of a cell that did not end."""
    try:
        record = load_record(folder)
    except InputError:
        return None
    return record if record.complete else None


def _move(source: Path, target: Path) -> None:
    """Rename a folder; what is at the target is of the same identity, and gives way."""
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    source.rename(target)
