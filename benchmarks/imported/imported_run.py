"""Runs of other code bases, kept beside the suite's own cells: read from text logs, never averaged while incomplete."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.arrays import read_json, write_json
from cimbench.datasets.errors import InputError, check_at_least, check_choice, check_seed

SOURCES = ("PyCIL", "FOSTER", "CIM-CIL")
FOLDER = Path("results/imported")
_BEFORE_THE_PHASES = {"lfs": 0, "lfh": 1}  # evaluations beside those of a protocol's phases


@dataclass(frozen=True, kw_only=True)
class ImportedRun:
    """One head of one run. source: the code base. log_name, log_digest: the file it was read from, and its sha256.

    method, compressor, head: by this suite's names where it has them. phases: as in `protocol.phases`, so that a
    complete curve has one value more in lfh. exemplars_total: of all classes together, or exemplars_per_class, in
    uncompressed ones; None where the log tells neither. curve: accuracy in percent over all classes seen, after each
    phase; curve_top5 likewise, or empty.
    """

    source: str
    log_name: str
    log_digest: str
    method: str
    compressor: str
    head: str
    dataset: str
    protocol: str
    phases: int
    seed: int
    curve: tuple[float, ...]
    curve_top5: tuple[float, ...] = ()
    exemplars_total: int | None = None
    exemplars_per_class: int | None = None

    def __post_init__(self) -> None:
        check_choice("source", self.source, SOURCES)
        check_choice("protocol", self.protocol, _BEFORE_THE_PHASES)
        check_at_least("phases", self.phases, 1)
        check_seed("seed", self.seed)
        for name in ("method", "compressor", "head", "dataset", "log_name", "log_digest"):
            if not getattr(self, name):
                raise InputError(f"{name} is empty; give it a name")
        check_curve("curve", self.curve)
        check_curve("curve_top5", self.curve_top5)
        if not self.curve:
            raise InputError("curve is empty; a run has one value or more")
        if len(self.curve) > self.evaluations:
            raise InputError(
                f"curve has {len(self.curve)} values, but {self.protocol} with {self.phases} phases has "
                f"{self.evaluations}; check phases and protocol"
            )
        if self.curve_top5 and len(self.curve_top5) != len(self.curve):
            raise InputError(f"curve_top5 has {len(self.curve_top5)} values, curve {len(self.curve)}; give one each")

    @property
    def evaluations(self) -> int:
        """Values of a complete curve."""
        return self.phases + _BEFORE_THE_PHASES[self.protocol]

    @property
    def complete(self) -> bool:
        """Whether all phases are there."""
        return len(self.curve) == self.evaluations

    @property
    def average(self) -> float:
        """Mean over phases, in percent; InputError for an incomplete curve, whose mean is none of the whole."""
        self._check_complete()
        return sum(self.curve) / len(self.curve)

    @property
    def last(self) -> float:
        """After the last phase, in percent; InputError for an incomplete curve."""
        self._check_complete()
        return self.curve[-1]

    def _check_complete(self) -> None:
        if not self.complete:
            raise InputError(
                f"{self.log_name}: stops after {len(self.curve)} of {self.evaluations} evaluations, so there is no "
                "average and no last accuracy; import the log of the whole run"
            )

    @property
    def digest(self) -> str:
        """Of all that was read, whatever the file was called."""
        content = {name: value for name, value in asdict(self).items() if name != "log_name"}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()

    @property
    def file_name(self) -> str:
        """Where it is kept in the folder of imported runs."""
        return f"{self.method}-{self.compressor}-{self.head}-{self.seed}-{self.digest[:12]}.json"


# in which units their budget is the same: their memory counts images, and areas of compressed ones
_UNITS = {True: ("paper_units", "raw_bytes"), False: ("paper_units",)}


def comparable(runs: Iterable[ImportedRun], config: Mapping[str, Any], classes: int) -> list[ImportedRun]:
    """Those of the data set, protocol, phases and budget of a cell's configuration (`Cell.resolved`)."""
    dataset, protocol, budget = (config[name] for name in ("dataset", "protocol", "budget"))
    task = (dataset["name"], protocol["name"], protocol["phases"])
    each, total = budget["exemplars_per_class"], budget["exemplars_per_class"] * classes
    memory = (total, None) if budget["sharing"] == "fixed_total" else (None, each)
    return [
        run
        for run in runs
        if (run.dataset, run.protocol, run.phases) == task
        and (run.exemplars_total, run.exemplars_per_class) == memory
        and budget["unit"] in _UNITS[run.compressor == "none"]
    ]


def check_curve(name: str, curve: Iterable[float]) -> None:
    """Raise InputError unless every value is a percentage."""
    for number, value in enumerate(curve):
        if not (math.isfinite(value) and 0 <= value <= 100):
            raise InputError(f"{name} has {value} after phase {number + 1}; an accuracy in percent is 0 to 100")


def save_imported(run: ImportedRun, folder: Path = FOLDER) -> Path | None:
    """Keep a run in the folder; None where it is there already."""
    path = folder / run.file_name
    if path.is_file():
        return None
    write_json(path, asdict(run) | {"complete": run.complete, "digest": run.digest})
    return path


def load_imported(folder: Path = FOLDER) -> list[ImportedRun]:
    """All imported runs, complete or not, by their files' names; none where there is no folder.

    InputError for a file that is damaged, was edited, or is of another version.
    """
    return [_load(path) for path in sorted(folder.glob("*.json"))]


def _load(path: Path) -> ImportedRun:
    remedy = "delete it and import the log again"
    content = read_json(path, made_by="import the log again", remedy=remedy)
    if missing := {"complete", "digest"} - content.keys():
        raise InputError(f"{path}: is damaged or of another version (it has no {min(missing)}); {remedy}")
    told = {name: content.pop(name) for name in ("complete", "digest")}
    try:
        run = build(ImportedRun, content, "run")
    except InputError as error:
        raise InputError(f"{path}: {error}; {remedy}") from error
    if told != {"complete": run.complete, "digest": run.digest}:
        raise InputError(f"{path}: was changed after it was imported (its digest differs); {remedy}")
    return run
