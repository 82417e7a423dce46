"""What is in an MLflow store, as plain values that two stores can be compared by."""

from __future__ import annotations

from typing import Any

from mlflow.entities import Run
from mlflow.tracking import MlflowClient

PARENT = "mlflow.parentRunId"


def runs(client: MlflowClient, suite: str) -> list[Run]:
    """All runs of a suite's experiment; none where there is no experiment."""
    experiment = client.get_experiment_by_name(f"cim-bench {suite}")
    return [] if experiment is None else list(client.search_runs([experiment.experiment_id]))


def by_name(client: MlflowClient, suite: str) -> dict[str, Run]:
    """The runs by their names, each name once."""
    found = runs(client, suite)
    named = {run.info.run_name: run for run in found}
    assert len(named) == len(found)
    return named


def files(client: MlflowClient, run_id: str, folder: str | None = None) -> dict[str, int | None]:
    """A run's artifacts, with their sizes, folders looked into."""
    found: dict[str, int | None] = {}
    for item in client.list_artifacts(run_id, folder):
        found |= files(client, run_id, item.path) if item.is_dir else {item.path: item.file_size}
    return found


def contents(client: MlflowClient, suite: str) -> dict[str, Any]:
    """Everything that a store knows of a suite but ids: by the runs' names, a parent by its name."""
    named = by_name(client, suite)
    names = {run.info.run_id: name for name, run in named.items()}
    experiment = client.get_experiment_by_name(f"cim-bench {suite}")
    assert experiment is not None
    told: dict[str, Any] = {"experiment": dict(experiment.tags)}
    for name, run in named.items():
        tags = {key: value for key, value in run.data.tags.items() if key != PARENT}
        history = {
            key: sorted((m.step, m.value, m.timestamp) for m in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        }
        told[name] = {
            "status": run.info.status,
            "times": (run.info.start_time, run.info.end_time),
            "parameters": dict(run.data.params),
            "tags": tags,
            "parent": names.get(run.data.tags.get(PARENT, "")),
            "metrics": history,
            "artifacts": files(client, run.info.run_id),
            "inputs": sorted(
                (
                    i.dataset.name,
                    i.dataset.digest,
                    i.dataset.source,
                    i.dataset.schema,
                    i.dataset.profile,
                    i.tags[0].value,
                )
                for i in run.inputs.dataset_inputs
            ),
        }
    return told
