"""A kept model as an MLflow model: weights as plain arrays and a script that reads them. Nothing in it is pickled."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch
import torchvision
from mlflow import pyfunc
from mlflow.models import Model, ModelSignature
from mlflow.types import Schema, TensorSpec

from cimbench.benchmarks.cell.kept_model import load_model

SCRIPT = Path(__file__).with_name("scorer.py")


def log_model(run_id: str, path: Path) -> str:
    """Log the model to its run; returns its address. It scores uint8 images (N, 3, S, S), an array a head."""
    method, record = load_model(path)
    side = record.config["network"]["input_side"]
    scores = method.scores(torch.zeros(1, 3, side, side, dtype=torch.uint8))
    classes = len(record.class_names)
    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, 3, side, side))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, classes), head) for head in scores]),
    )
    versions = {"numpy": np.__version__, "torch": torch.__version__, "torchvision": torchvision.__version__}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(input example|type hints)")  # the signature says it all
        logged = Model.log(
            artifact_path=None,
            name="model",
            flavor=pyfunc,
            run_id=run_id,
            step=len(record.phases),
            python_model=str(SCRIPT),
            artifacts={"model": str(path.absolute())},
            signature=signature,
            metadata={"class_names": record.class_names, "commit": record.provenance["commit"]},
            pip_requirements=[f"{name}=={version}" for name, version in versions.items()],
        )
    return str(logged.model_uri)
