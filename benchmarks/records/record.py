"""A cell's record: raw counts, memory accounts, times and provenance, written after every phase as plain JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cimbench.benchmarks.records.differences import differences
from cimbench.benchmarks.records.metrics import Counts
from cimbench.benchmarks.records.places import FILE_NAME, name_of, suite_of
from cimbench.datasets.arrays import digest_of, read_json, write_json
from cimbench.datasets.errors import InputError, unknown_name

_LATER: dict[str, Any] = {"measured": {}, "box_overlap": None}  # what a memory's account has not had from the beginning


@dataclass(frozen=True, kw_only=True)
class PhaseRecord:
    """One phase: per head the right answers per group; losses per epoch; the memory's account; seconds by step.

    peak_memory_bytes: most that was in use at once while the phase was learnt: of the device's memory on a GPU, else of
    the process (the part after the last interruption, where there was one); None where the system does not tell.
    model_bytes: parameters and buffers that the next phase starts from.
    """

    correct: dict[str, list[int]]
    correct_top5: dict[str, list[int]]
    losses: list[float]
    memory: dict[str, Any]
    seconds: dict[str, float]
    model_bytes: int
    peak_memory_bytes: int | None = None


@dataclass(kw_only=True)
class Record:
    """Everything measured in one cell; a number in a table is recomputed from here."""

    run_id: str
    suite: str
    cell: str
    config: dict[str, Any]
    provenance: dict[str, Any]
    data_digest: str
    class_names: list[str]
    group_sizes: list[int]
    tested: list[int]
    phases: list[PhaseRecord] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all phases are done."""
        return len(self.phases) == len(self.group_sizes)

    @property
    def heads(self) -> list[str]:
        """Heads that every phase was evaluated with."""
        return [head for head in self._first_heads if all(head in phase.correct for phase in self.phases)]

    @property
    def lost_heads(self) -> list[str]:
        """Heads that a later phase could not be evaluated with: the nearest means of a memory that became empty."""
        return [head for head in self._first_heads if head not in self.heads]

    @property
    def _first_heads(self) -> list[str]:
        return list(self.phases[0].correct) if self.phases else []

    def counts(self, head: str) -> Counts:
        """One head's raw counts; InputError for a head that the cell does not have."""
        if head not in self.heads:
            raise unknown_name(f"{self.cell}: head", head, self.heads)
        return Counts(
            correct=[phase.correct[head] for phase in self.phases],
            correct_top5=[phase.correct_top5[head] for phase in self.phases],
            tested=self.tested,
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def save(self, folder: Path) -> None:
        """Write the record with a digest of its content into the cell's folder, atomically."""
        content = self.as_json()
        write_json(folder / FILE_NAME, content | {"digest": digest_of(content)})


def shared_heads(records: Sequence[Record]) -> list[str]:
    """Heads that all of some records have, in the first one's order."""
    return [head for head in records[0].heads if all(head in record.heads for record in records)]


def record_from_json(content: dict[str, Any]) -> Record:
    """The record that `as_json` described."""
    phases = [PhaseRecord(**{**phase, "memory": _LATER | phase["memory"]}) for phase in content["phases"]]
    return Record(**{**content, "phases": phases})


def load_record(folder: Path) -> Record:
    """A cell's record; InputError where it is absent, damaged or was changed. One without a digest is an early one."""
    path, remedy = folder / FILE_NAME, "run the cell again"
    content = read_json(path, made_by="run the cell first (dvc repro)", remedy=remedy)
    digest = content.pop("digest", None)
    if digest is not None and digest != digest_of(content):
        raise InputError(f"{path}: was changed after it was written (its digest differs); {remedy}")
    try:
        return record_from_json(content)
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: is damaged or of another version ({error!r}); {remedy}") from error


def load_records(expected: Mapping[Path, dict[str, Any]]) -> tuple[list[Record], dict[str, str]]:
    """The complete records of a suite, and for each cell without one the reason.

    expected: a cell's folder -> its configuration now. A record of another configuration is none of this suite's, so
    that no table mixes budgets or recipes; nor is one of other pictures than the first complete one's.
    """
    records: list[Record] = []
    absent: dict[str, str] = {}
    for folder, config in expected.items():
        name = name_of(folder)
        if not (folder / FILE_NAME).is_file():
            absent[name] = "not run"
            continue
        try:
            record = load_record(folder)
        except InputError as error:
            absent[name] = str(error)
            continue
        if (record.suite, record.cell) != (suite_of(folder), name):
            absent[name] = f"{folder / FILE_NAME}: is of {record.suite}/{record.cell}; run the cell again"
        elif changes := differences(record.config, config):
            absent[name] = f"measured with another configuration ({changes})"
        elif not record.complete:
            absent[name] = f"stopped after phase {len(record.phases)} of {len(record.group_sizes)}"
        elif records and record.data_digest != records[0].data_digest:
            absent[name] = f"measured on other pictures than {records[0].cell} (their digests differ)"
        else:
            records.append(record)
    return records, absent
