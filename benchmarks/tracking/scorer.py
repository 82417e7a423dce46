"""The script of a logged model, run where the model is loaded; cim-bench has to be installed there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel
from numpy.typing import NDArray

from cimbench.benchmarks.model import load_model


class Scorer(PythonModel):  # type: ignore[misc]
    """Scores images with every head that the method learnt; the nearest-mean head would need the exemplars."""

    def load_context(self, context: Any) -> None:
        """Build the network from the file of weights."""
        self._method, _ = load_model(Path(context.artifacts["model"]))

    def predict(self, context: Any, model_input: NDArray[np.uint8], params: Any = None) -> dict[str, Any]:  # noqa: ARG002
        """Scores (N, classes) by head; model_input: images (N, 3, S, S) uint8."""
        scores = self._method.scores(torch.from_numpy(np.ascontiguousarray(model_input)))
        return {head: value.numpy() for head, value in scores.items()}


set_model(Scorer())
