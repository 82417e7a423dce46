"""A dry run: which cells a suite has, what is left of each, and how long that takes by what was measured here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from cimbench.benchmarks.planning.speeds import Speeds
from cimbench.benchmarks.planning.workload import image_epochs, learner_of, training_counts
from cimbench.benchmarks.records.kept_results import kept_records
from cimbench.benchmarks.records.provenance import source_digest
from cimbench.benchmarks.records.record import Record, load_record, load_records
from cimbench.benchmarks.suite.config import Cell, Suite
from cimbench.datasets.errors import InputError, unknown_name


@dataclass(frozen=True, kw_only=True)
class Planned:
    """A cell of the plan. state: "done", or why it is not. phases_done: which need no more time.

    work: image-epochs of each phase, None where nobody can tell. exact: whether the images of each class are known, not
    their mean alone. seconds: expected for what is left; None where nothing is, or nothing like it was measured here.
    """

    cell: Cell
    state: str
    phases_done: int
    work: tuple[int, ...] | None
    exact: bool
    seconds: float | None

    @property
    def done(self) -> bool:
        """Whether the cell is complete, whatever sources it was measured with."""
        return self.state.startswith("done")

    @property
    def left(self) -> int | None:
        """Image-epochs of the phases that are not done."""
        if self.done:
            return 0
        return None if self.work is None else sum(self.work[self.phases_done :])


def ordered_cells(
    suite: Suite, methods: Sequence[str] = (), compressors: Sequence[str] = (), seeds: Sequence[int] = ()
) -> list[Cell]:
    """The suite's cells that pass the filters (empty ones pass all), seed by seed in the order of the matrix.

    One seed of everything answers before all seeds of one cell. InputError for a name that the matrix does not have, or
    where nothing is left.
    """
    cells = list(suite.cells())
    filters: dict[str, list[str]] = {"method": list(methods), "compressor": list(compressors)}
    filters["seed"] = [str(seed) for seed in seeds]
    for kind, names in filters.items():
        known = {str(getattr(cell, kind)) for cell in cells}
        for name in names:
            if name not in known:
                raise unknown_name(f"suite {suite.suite}: --{kind}", name, known)
    passed = [
        cell for cell in cells if all(not names or str(getattr(cell, kind)) in names for kind, names in filters.items())
    ]
    if not passed:
        raise InputError(f"suite {suite.suite}: no cell passes the filters; bounds run with compressor none alone")
    return sorted(passed, key=lambda cell: suite.matrix.seeds.index(cell.seed))


def state_of(cell: Cell) -> tuple[str, int]:
    """ "done", or why not; and how many phases need not be run again."""
    try:
        records, absent = load_records({cell.folder: cell.resolved()})
    except InputError as error:
        return f"to do: {error}", 0
    if records:
        current = source_digest(cell.method, cell.compressor) == records[0].provenance.get("source_digest")
        return "done" if current else "done, with other sources", len(records[0].phases)
    if (kept := _kept(cell)) is not None:
        return "kept: comes back when it is run", len(kept.phases)
    reason = absent[cell.name]
    begun = " (begun)" if reason == "not run" and cell.phase_checkpoint.is_file() else ""
    stopped = reason.startswith("stopped") and cell.checkpoint.is_file()
    return f"to do: {reason}{begun}", len(load_record(cell.folder).phases) if stopped else 0


def _kept(cell: Cell) -> Record | None:
    """A complete record of this very configuration and these sources that a run of another configuration put aside."""
    sources = source_digest(cell.method, cell.compressor)
    for record in kept_records(cell.folder).values():
        if record.config == cell.resolved() and record.provenance.get("source_digest") == sources:
            return record
    return None


def make_plan(suite: Suite, cells: Sequence[Cell]) -> list[Planned]:
    """Every cell with its state, image-epochs and expected seconds; nothing is run and no picture read."""
    speeds = Speeds(suite)
    counts = {seed: training_counts(suite, seed) for seed in dict.fromkeys(cell.seed for cell in cells)}
    planned = []
    for cell in cells:
        found, (state, phases_done) = counts[cell.seed], state_of(cell)
        work = None if found is None else tuple(image_epochs(learner_of(cell), found))
        exact = found is not None and found.exact
        item = Planned(cell=cell, state=state, phases_done=phases_done, work=work, exact=exact, seconds=None)
        speed = None if item.done or item.left is None else speeds.of(cell)
        planned.append(item if speed is None or item.left is None else replace(item, seconds=speed * item.left))
    return planned


def plan_rows(planned: Sequence[Planned]) -> list[dict[str, str]]:
    """One row a cell, as text."""
    return [
        {
            "method": item.cell.method,
            "compressor": item.cell.compressor,
            "seed": str(item.cell.seed),
            "image-epochs": _amount(None if item.work is None else sum(item.work), item.exact),
            "first phase": _amount(None if item.work is None else item.work[0], item.exact),
            "left": _amount(item.left, item.exact),
            "time": "-" if item.done else duration(item.seconds),
            "state": item.state,
        }
        for item in planned
    ]


def _amount(count: int | None, exact: bool) -> str:
    return "unknown" if count is None else f"{'' if exact or not count else 'about '}{count:,}"


def duration(seconds: float | None) -> str:
    """Hours, minutes and seconds, or that there is no estimate."""
    return "no estimate" if seconds is None else str(timedelta(seconds=round(seconds)))


def totals(planned: Sequence[Planned]) -> str:
    """The closing line: cells, image-epochs and time, and what is not in them."""
    left = [item for item in planned if not item.done]
    amounts = [item.left for item in left if item.left is not None]
    times = [item.seconds for item in left if item.seconds is not None]
    words = f"{len(planned)} cells, {len(planned) - len(left)} done, {len(left)} to do"
    if not left:
        return words
    about = "" if all(item.exact for item in left) else "about "
    words += f": {about}{sum(amounts):,} image-epochs" if amounts else ": image-epochs unknown before the data are here"
    if 0 < len(amounts) < len(left):
        words += f", and those of {len(left) - len(amounts)} cells that nobody can tell yet"
    if not times:
        return f"{words}; no estimate of the time: nothing like it was measured here yet"
    missing = f", and {len(left) - len(times)} cells without an estimate" if len(times) < len(left) else ""
    return f"{words}; about {duration(sum(times))}{missing}"
