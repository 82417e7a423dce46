"""MLflow: one run a cell. The only importer of mlflow.

Everything logged is read from the cell's record and folder, so a live run and a later import are the same code: a run
is found again by its tags, and only what it lacks is added.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import mlflow
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.tracking import MlflowClient

from cimbench.benchmarks.metrics import headline
from cimbench.benchmarks.parameters import flatten
from cimbench.benchmarks.record import PhaseRecord, Record
from cimbench.benchmarks.report.curves import curve_figure
from cimbench.benchmarks.report.plots import confusion_figure
from cimbench.methods.optimisation import BatchReport, EpochReport

_MODEL_TRAINING = {"mlflow.experimentKind": "custom_model_development"}  # else the page opens for language models
_BATCH = 100  # parameters a call may log


def tracking_uri() -> str:
    """The server in MLFLOW_TRACKING_URI, else the file that `mlflow ui` opens without flags in this folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or "sqlite:///mlflow.db"


class Tracker:
    """Logs cells to one MLflow server or file; also a listener of a running cell."""

    def __init__(self, folder: Path | None = None) -> None:
        self._client = MlflowClient(tracking_uri())
        self._folder = folder

    def started(self, record: Record, resumed: int) -> None:  # noqa: ARG002
        """The run appears, with its parameters."""
        self.log(record)

    def epoch(self, report: EpochReport) -> None:
        """Epochs are logged with their phase."""

    def batch(self, report: BatchReport) -> None:
        """Batches are not."""

    def phase(self, record: Record) -> None:
        """Add the phase, and after the last one the final metrics and pictures."""
        self.log(record)

    def log(self, record: Record) -> str:
        """Bring the cell's run up to the record; returns the run's id. A run that has everything is left alone."""
        run = self._find(record) or self._create(record)
        run_id: str = run.info.run_id
        logged = int(run.data.tags["cimbench.phases"])
        for number in range(logged, len(record.phases)):
            metrics = _phase_metrics(record, record.phases[number], number)
            self._client.log_batch(run_id, metrics=metrics, tags=[RunTag("cimbench.phases", str(number + 1))])
        if record.complete and run.info.status != "FINISHED":
            self._finish(run_id, record)
        return run_id

    def _experiment(self, suite: str) -> str:
        name = f"cim-bench {suite}"
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found else self._client.create_experiment(name, tags=_MODEL_TRAINING))

    def _find(self, record: Record) -> Run | None:
        started = record.provenance["started"]
        query = f"tags.`cimbench.run_id` = '{record.run_id}' and tags.`cimbench.started` = '{started}'"
        runs = self._client.search_runs([self._experiment(record.suite)], query, max_results=1)
        return runs[0] if runs else None

    def _create(self, record: Record) -> Run:
        config, origin = record.config, record.provenance
        method, compressor, seed = config["method"]["name"], config["compressor"]["name"], config["seed"]
        tags = {
            "cimbench.run_id": record.run_id,
            "cimbench.started": origin["started"],
            "cimbench.phases": "0",
            "suite": record.suite,
            "commit": f"{origin['commit']}{' (changed)' if origin['sources_changed'] else ''}",
            "data_digest": record.data_digest[:16],
            "hardware": origin["hardware"]["processor"]
            if origin["hardware"]["device"] == "cpu"
            else origin["hardware"]["device"],
            "mlflow.source.git.commit": str(origin["commit"]),
        }
        run = self._client.create_run(
            self._experiment(record.suite), tags=tags, run_name=f"{method} + {compressor}, seed {seed}"
        )
        parameters = [Param(key, str(value)[:500]) for key, value in flatten(config).items()]
        for start in range(0, len(parameters), _BATCH):
            self._client.log_batch(run.info.run_id, params=parameters[start : start + _BATCH])
        return self._client.get_run(run.info.run_id)

    def _finish(self, run_id: str, record: Record) -> None:
        self._client.log_batch(run_id, metrics=_final_metrics(record))
        self._client.log_figure(run_id, curve_figure([record]), "accuracy-over-phases.png")
        if self._folder is not None:
            for head, figure in confusion_figure(self._folder, record):
                self._client.log_figure(run_id, figure, f"confusion-{head}.png")
            for picture in sorted(self._folder.glob("*-phase-*.png")):
                self._client.log_artifact(run_id, str(picture), "gallery")
        with tempfile.TemporaryDirectory() as temporary:
            record.save(Path(temporary))
            self._client.log_artifacts(run_id, temporary, "record")
        self._client.set_terminated(run_id, "FINISHED")


def _metric(name: str, value: float, step: int) -> Metric:
    return Metric(name, float(value), int(time.time() * 1000), step)


def _phase_metrics(record: Record, phase: PhaseRecord, number: int) -> list[Metric]:
    """Step = phase, the first being 1. Accuracies are over all classes seen."""
    values: dict[str, Any] = {
        "memory/exemplars": sum(phase.memory["exemplars"]),
        "memory/bytes_held": phase.memory["bytes_held"],
        "memory/spent": phase.memory["spent"],
        "memory/mean_box_area": phase.memory["mean_box_area"],
        "memory/box_overlap": phase.memory["box_overlap"],
        "memory/kept_whole": phase.memory["kept_whole"],
        "memory/exhausted_classes": phase.memory["exhausted_classes"],
        **{f"compressor/{name}": value for name, value in phase.memory["chosen"].items()},
        **{f"compressor/{name}": value for name, value in phase.memory["measured"].items()},
        "model/bytes": phase.model_bytes,
        "model/peak_memory_bytes": phase.peak_memory_bytes,
        "loss/last_epoch": phase.losses[-1],
        **{f"seconds/{step}": value for step, value in phase.seconds.items()},
    }
    for head, correct in phase.correct.items():
        values[f"accuracy/{head}"] = sum(correct) / sum(record.tested[: number + 1])
        values[f"top5_accuracy/{head}"] = sum(phase.correct_top5[head]) / sum(record.tested[: number + 1])
    return [_metric(name, value, number + 1) for name, value in values.items() if value is not None]


def _final_metrics(record: Record) -> list[Metric]:
    steps = len(record.phases)
    metrics = [
        _metric(f"final/{name}/{head}", value, steps)
        for head in record.heads
        for name, value in headline(record.counts(head)).items()
    ]
    return [*metrics, _metric("final/seconds", sum(sum(p.seconds.values()) for p in record.phases), steps)]


def configure_logging() -> None:
    """Keep MLflow's own chatter out of the progress."""
    import logging

    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    mlflow.set_tracking_uri(tracking_uri())
