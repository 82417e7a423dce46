"""A kept model answers as the cell's record says, here and as an MLflow model, and nothing in it is pickled."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cimbench.benchmarks.cell.kept_model import load_model, model_of, model_path
from cimbench.benchmarks.cli import main
from cimbench.benchmarks.records.record import Record, load_record
from cimbench.benchmarks.suite.config import Suite, find_cell
from cimbench.datasets.images.packed_store import open_store
from cimbench.datasets.stream.phases import ClassStream
from cimbench.datasets.stream.split import load_split
from tests.benchmarks.workplace import cell_arguments, furnish

pytestmark = [pytest.mark.xdist_group("tracking"), pytest.mark.slow]


def last_test(suite: Suite) -> tuple[torch.Tensor, torch.Tensor]:
    """All images of the last test, and their labels."""
    store = open_store(suite.store)
    stream = ClassStream(store, load_split(suite.split_path(3), store, suite.protocol, 3))
    shown = stream.test_so_far(len(stream) - 1)
    return shown.resized(suite.network.input_side), shown.labels


def right_answers(scores: np.ndarray, labels: torch.Tensor) -> int:
    return int((scores.argmax(1) == labels.numpy()).sum())


def recorded(record: Record, head: str) -> int:
    return sum(record.phases[-1].correct[head])


@pytest.mark.parametrize("method", ["replay", "lucir", "der", "foster"])
def test_a_kept_model_answers_as_recorded(workspace: Path, method: str) -> None:
    suite = furnish(workspace)
    arguments = cell_arguments(method, "class_activation")
    assert main(["--params", "params.json", *arguments, "--keep-model"]) == 0
    record = load_record(find_cell(suite, method, "class_activation", 3).folder)
    path = model_of(record)
    assert path == Path(f"data/models/test/{method}-class_activation-3.npz")
    learner, kept = load_model(path)
    assert kept == record
    images, labels = last_test(suite)
    scores = learner.scores(images)
    assert set(scores) == set(record.heads) - {"nme"}
    for head, value in scores.items():
        assert right_answers(value.numpy(), labels) == recorded(record, head)


def test_a_model_of_an_earlier_run_is_not_this_ones(workspace: Path) -> None:
    suite = furnish(workspace)
    assert main(["--params", "params.json", *cell_arguments(), "--keep-model"]) == 0
    folder = find_cell(suite, "replay", "none", 3).folder
    shutil.rmtree(folder)
    assert main(["--params", "params.json", *cell_arguments()]) == 0
    record = load_record(folder)
    assert model_path(record).is_file()
    assert model_of(record) is None


def test_the_logged_model_has_a_signature_and_no_pickle(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import cloudpickle
    import mlflow
    from mlflow.tracking import MlflowClient

    from tests.benchmarks.tracked import by_name

    address = f"sqlite:///{workspace}/mlflow.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    suite = furnish(workspace)
    assert main(["--params", "params.json", *cell_arguments("replay", "none"), "--keep-model"]) == 0
    assert main(["--params", "params.json", "track"]) == 0
    client = MlflowClient(address)
    run = by_name(client, "test")["replay + none, seed 3"]
    assert main(["--params", "params.json", "track"]) == 0
    (output,) = client.get_run(run.info.run_id).outputs.model_outputs
    folder = Path(mlflow.artifacts.download_artifacts(f"models:/{output.model_id}"))
    names = {path.name for path in folder.rglob("*") if path.is_file()}
    assert names >= {"MLmodel", "scorer.py", "replay-none-3.npz"}
    assert not [name for name in names if name.endswith((".pkl", ".pickle", ".pt", ".pth", ".joblib"))]
    np.load(next(folder.rglob("*.npz")), allow_pickle=False)["network.head.weight"]

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was unpickled")

    for name in ("load", "loads"):
        monkeypatch.setattr(cloudpickle, name, refuse)
        monkeypatch.setattr(f"pickle.{name}", refuse)
    loaded = mlflow.pyfunc.load_model(str(folder))
    assert loaded.metadata.signature.inputs.inputs[0].shape == (-1, 3, 16, 16)
    (outputs,) = loaded.metadata.signature.outputs.inputs
    assert (outputs.name, outputs.shape) == ("linear", (-1, 4))
    images, labels = last_test(suite)
    record = load_record(find_cell(suite, "replay", "none", 3).folder)
    assert right_answers(loaded.predict(images.numpy())["linear"], labels) == recorded(record, "linear")
    with pytest.raises(mlflow.exceptions.MlflowException):
        loaded.predict(images.numpy().astype(np.float32))
