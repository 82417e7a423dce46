"""The data set as an input of a run: what MLflow shows beside it and filters by."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.types import Schema, TensorSpec

from cimbench.benchmarks.records.record import Record
from cimbench.benchmarks.tracking.server import without_secrets

_DIGEST = 36  # characters that MLflow keeps


def dataset_inputs(record: Record) -> list[DatasetInput]:
    """The data set twice, for training and for testing: name, digest of the prepared data, source, schema, sizes.

    MLflow keeps one context for a name and digest, so the two differ in the name.
    """
    side = record.config["network"]["input_side"]
    images = Schema([TensorSpec(np.dtype("uint8"), (-1, 3, side, side), "images")])
    labels = Schema([TensorSpec(np.dtype("int64"), (-1,), "labels")])
    schema = {"mlflow_tensorspec": {"features": images.to_json(), "targets": labels.to_json()}}
    sizes = {"classes": len(record.class_names), "classes_by_phase": record.group_sizes}
    kind, source = _source(record.config["dataset"], str(record.provenance["commit"]))

    def used(context: str, profile: dict[str, Any]) -> DatasetInput:
        return DatasetInput(
            dataset=Dataset(
                name=f"{record.config['dataset']['name']} ({context})",
                digest=record.data_digest[:_DIGEST],
                source_type=kind,
                source=json.dumps(source),
                schema=json.dumps(schema),
                profile=json.dumps(profile),
            ),
            tags=[InputTag("mlflow.data.context", context)],
        )

    return [used("training", sizes), used("testing", {**sizes, "images": sum(record.tested)})]


def _source(dataset: dict[str, Any], commit: str) -> tuple[str, dict[str, Any]]:
    """The first address of its archive, else the code that draws or reads it; kinds that mlflow.data knows."""
    archive = dataset["parameters"].get("archive") or {}
    addresses = [mirror for mirror in archive.get("mirrors", ()) if mirror.startswith(("http://", "https://"))]
    if addresses:
        return "http", {"url": without_secrets(addresses[0])}
    file = f"datasets/sources/{dataset['source']}.py"
    return "code", {"tags": {"mlflow.source.name": file, "mlflow.source.git.commit": commit}}
