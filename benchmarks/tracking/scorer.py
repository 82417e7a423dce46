"""The script of a logged model, run where the model is loaded; cim-bench has to be installed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel

from cimbench.benchmarks.cell.kept_model import load_model


class Scorer(PythonModel):  # type: ignore[misc]
    """Scores images with every head that the method learnt; the nearest-mean head would need the exemplars."""

    def load_context(self, context: Any) -> None:
        """Build the network from the file of weights."""
        self._method, _ = load_model(Path(context.artifacts["model"]))

    # MLflow takes a type of model_input for a signature of its own, which has no arrays
    def predict(self, context, model_input, params=None):  # type: ignore[no-untyped-def]  # noqa: ARG002
        """Scores (N, classes) by head, arrays; model_input: images (N, 3, S, S) uint8, which the signature checks."""
        scores = self._method.scores(torch.from_numpy(np.ascontiguousarray(model_input)))
        return {head: value.numpy() for head, value in scores.items()}


set_model(Scorer())
