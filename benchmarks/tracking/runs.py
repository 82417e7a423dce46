"""Cells and their summaries as MLflow runs.

Everything logged is read from the cell's record and folder, so a live run and a later import are the same code: a run
is found again by its tags, and only what it lacks is added.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.cell.kept_model import model_of
from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.report.tables import caption
from cimbench.benchmarks.tracking import content
from cimbench.benchmarks.tracking.inputs import dataset_inputs
from cimbench.benchmarks.tracking.model import log_model
from cimbench.benchmarks.tracking.server import tracking_uri
from cimbench.datasets.errors import InputError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BATCH = 100  # parameters a call may log
_METRICS = 1000  # metrics likewise
_PARENT = "mlflow.parentRunId"
_NOTE = "mlflow.note.content"
_EXPERIMENT = {
    "mlflow.experimentKind": "custom_model_development",  # else the page opens for language models
    _NOTE: "One run a method and compressor: the mean over its seeds, which are the runs below it. To compare, tick "
    "runs and press Compare. The step of a metric is the phase. `accuracy/<head>` is over all classes seen so far; "
    "`final/...` is after the last phase; `seed_deviation/...` is the sample deviation over seeds.",
}


class Tracker:
    """Logs cells to one MLflow server or file."""

    def __init__(self) -> None:
        self._client = MlflowClient(tracking_uri())

    def log(self, record: Record, folder: Path, *, grouped: bool = True) -> str:
        """Bring the cell's run up to the record; returns the run's id. A run that has everything is left alone.

        folder: the cell's pictures. grouped: whether the run belongs below a summary.
        """
        run = self._find(record) or self._create(record, grouped)
        run_id: str = run.info.run_id
        told = run.data.tags
        if "cimbench.phases" not in told:
            self._describe(run_id, content.parameters(record.config), record)
            self._client.set_tag(run_id, "cimbench.phases", "0")
        for number in range(int(told.get("cimbench.phases", 0)), len(record.phases)):
            metrics = _metrics(content.phase_values(record, number))
            self._client.log_batch(run_id, metrics=metrics, tags=[RunTag("cimbench.phases", str(number + 1))])
        model = model_of(record) if record.complete and "cimbench.model" not in told else None
        if model is not None:
            self._client.set_tag(run_id, "cimbench.model", log_model(run_id, model))
        if record.complete and run.info.status != "FINISHED":
            self._finish(run_id, record, folder)
        elif not record.complete and run.info.status != "RUNNING":
            self._client.update_run(run_id, status="RUNNING")
        return run_id

    def stopped(self, run_id: str) -> None:
        """Say that the run ended before its cell did; when the cell goes on, the run does."""
        self._client.set_terminated(run_id, "KILLED")

    def summarise(self, records: Sequence[Record]) -> str:
        """Make the run above a group's logged cells, in place of one of other cells; returns its id."""
        members, first = content.members_of(records), records[0]
        known = self._summaries(first)
        same = [run for run in known if run.data.tags.get("cimbench.members") == members]
        empty = [run for run in known if "cimbench.members" not in run.data.tags]
        summary = next(iter([*same, *empty]), None) or self._new_summary(first)
        run_id: str = summary.info.run_id
        if summary.info.status != "FINISHED":
            self._fill(run_id, records, members)
        runs = [run for run in map(self._find, records) if run is not None]
        self._adopt(first.suite, run_id, runs, {run.info.run_id for run in known})
        return run_id

    def _adopt(self, suite: str, summary: str, runs: Sequence[Run], known: set[str]) -> None:
        """Put the runs below the summary. The one that they were below goes, and what else was below it is set free."""
        left = {run.data.tags.get(_PARENT) for run in runs} - {summary}
        for run in runs:
            if run.data.tags.get(_PARENT) != summary:
                self._client.set_tag(run.info.run_id, _PARENT, summary)
        for old in left & known:
            for run in self._search(suite, f"tags.`{_PARENT}` = '{old}'"):
                self._client.delete_tag(run.info.run_id, _PARENT)
            self._client.delete_run(old)

    def _experiment(self, suite: str) -> str:
        name = f"cim-bench {suite}"
        found = self._client.get_experiment_by_name(name)
        if found is not None and found.lifecycle_stage == "deleted":
            raise InputError(f"experiment '{name}' is deleted; restore it, or remove it for good with mlflow gc")
        return str(found.experiment_id if found else self._client.create_experiment(name, tags=_EXPERIMENT))

    def _search(self, suite: str, query: str) -> list[Run]:
        return list(self._client.search_runs([self._experiment(suite)], query, order_by=["attributes.status ASC"]))

    def _find(self, record: Record) -> Run | None:
        started = record.provenance["started"]
        query = f"tags.`cimbench.run_id` = '{record.run_id}' and tags.`cimbench.started` = '{started}'"
        return next(iter(self._search(record.suite, query)), None)

    def _summaries(self, record: Record) -> list[Run]:
        return self._search(record.suite, f"tags.`cimbench.summary_of` = '{content.group_of(record)}'")

    def _create(self, record: Record, grouped: bool) -> Run:
        """The cell's run; below a summary that is open, which is there at once, so that a list of runs is in order."""
        own = {
            "seed": str(record.config["seed"]),
            "cimbench.run_id": record.run_id,
            "cimbench.started": record.provenance["started"],
            **({"mlflow.source.git.commit": commit} if (commit := record.provenance["commit"]) else {}),
            _NOTE: caption([record]) if record.phases else "",
        }
        if grouped:
            empty = [run for run in self._summaries(record) if "cimbench.members" not in run.data.tags]
            own[_PARENT] = (next(iter(empty), None) or self._new_summary(record)).info.run_id
        return self._new_run(record, content.cell_name(record), own)

    def _new_summary(self, record: Record) -> Run:
        """A summary that has no numbers yet."""
        return self._new_run(record, content.title(record), {"cimbench.summary_of": content.group_of(record)})

    def _new_run(self, record: Record, name: str, own: Mapping[str, str]) -> Run:
        experiment, tags = self._experiment(record.suite), {**content.tags(record), **own}
        return self._client.create_run(experiment, start_time=content.begun(record), tags=tags, run_name=name)

    def _describe(self, run_id: str, parameters: Mapping[str, str], record: Record) -> None:
        """Log parameters and the data set; what is there already stays."""
        listed = [Param(key, value) for key, value in parameters.items()]
        for start in range(0, len(listed), _BATCH):
            self._client.log_batch(run_id, params=listed[start : start + _BATCH])
        self._client.log_inputs(run_id, dataset_inputs(record))

    def _finish(self, run_id: str, record: Record, folder: Path) -> None:
        self._client.log_batch(run_id, metrics=_metrics(content.final_values(record)))
        self._client.log_figure(run_id, _curves([record]), "accuracy-over-phases.png")
        for head, figure in _confusions(folder, record):
            self._client.log_figure(run_id, figure, f"confusion-{head}.png")
        for picture in sorted(folder.glob("*-phase-*.png")):
            self._client.log_artifact(run_id, str(picture), "gallery")
        with tempfile.TemporaryDirectory() as temporary:
            record.save(Path(temporary))
            self._client.log_artifacts(run_id, temporary, "record")
        self._client.set_terminated(run_id, "FINISHED", content.reached(record, len(record.phases)))

    def _fill(self, run_id: str, records: Sequence[Record], members: str) -> None:
        """Give a summary its numbers; from now on it is of these cells."""
        self._client.set_tag(run_id, "cimbench.members", members)
        self._client.set_tag(run_id, _NOTE, caption(records))
        self._client.update_run(run_id, name=content.summary_name(records))
        self._describe(run_id, content.summary_parameters(records), records[0])
        metrics = _metrics(content.summary_values(records))
        for start in range(0, len(metrics), _METRICS):
            self._client.log_batch(run_id, metrics=metrics[start : start + _METRICS])
        self._client.log_figure(run_id, _curves(records), "accuracy-over-phases.png")
        end = max(content.reached(record, len(record.phases)) for record in records)
        self._client.set_terminated(run_id, "FINISHED", end)


def _metrics(values: Sequence[content.Value]) -> list[Metric]:
    return [Metric(value.name, value.value, value.when, value.step) for value in values]


# drawing takes a second of imports, which a cell's first phases need not wait for


def _curves(records: Sequence[Record]) -> Figure:
    from cimbench.benchmarks.report.figures.curves import curve_figure

    return curve_figure(records)


def _confusions(folder: Path, record: Record) -> Iterator[tuple[str, Figure]]:
    from cimbench.benchmarks.report.figures.plots import confusion_figure

    return confusion_figure(folder, record)
