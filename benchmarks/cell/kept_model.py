"""The network of a cell's last phase, kept on request: weights in NumPy's npz and what to build them into."""

from __future__ import annotations

from pathlib import Path

import torch

from cimbench.benchmarks import registry
from cimbench.benchmarks.cell.checkpoint import load_checkpoint
from cimbench.benchmarks.records.record import Record, record_from_json
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.arrays import load_arrays, save_arrays
from cimbench.datasets.stream.augment import AugmentParameters
from cimbench.methods.method import Method, Setup
from cimbench.methods.networks.network import NetworkParameters
from cimbench.methods.training.recipe import TrainingParameters
from cimbench.methods.training.task import BatchReport, EpochReport

MODELS = Path("data/models")


class ModelKeeper:
    """A listener that keeps the state of the last phase, out of its checkpoint, before that is removed."""

    def __init__(self, checkpoint: Path) -> None:
        self._checkpoint = checkpoint

    def started(self, record: Record, resumed: int) -> None:
        """Nothing yet."""

    def epoch(self, report: EpochReport) -> None:
        """Nothing yet."""

    def batch(self, report: BatchReport) -> None:
        """Nothing yet."""

    def phase(self, record: Record) -> None:
        """After the last phase, the model's file."""
        found = load_checkpoint(self._checkpoint, record) if record.complete else None
        if found is not None:
            weights = {name: value.numpy() for name, value in found.states["method"].items()}
            save_arrays(model_path(record), weights, {"record": record.as_json()})


def model_path(record: Record) -> Path:
    """Where a cell's model is kept."""
    return MODELS / record.suite / f"{record.cell}.npz"


def model_of(record: Record) -> Path | None:
    """The file of this very cell's model; None where none was kept, or one of an earlier run."""
    path = model_path(record)
    if not path.is_file():
        return None
    kept = record_from_json(load_arrays(path)[1]["record"])
    same = (kept.run_id, kept.provenance["started"]) == (record.run_id, record.provenance["started"])
    return path if same else None


def load_model(path: Path) -> tuple[Method, Record]:
    """A kept model, on the CPU and ready to embed and score images, and the record of its cell.

    InputError where the file is absent or damaged, or its parameters are no longer known.
    """
    arrays, description = load_arrays(path)
    record = record_from_json(description["record"])
    config = record.config
    method_class, parameters = registry.load("method", registry.METHODS, config["method"]["name"])
    compressor_class, _ = registry.load("compressor", registry.COMPRESSORS, config["compressor"]["name"])
    setup = Setup(
        network=build(NetworkParameters, config["network"], f"{path}: network"),
        training=build(TrainingParameters, config["training"], f"{path}: training"),
        augmentation=build(AugmentParameters, config["augment"], f"{path}: augment"),
        seed=config["seed"],
        device=torch.device("cpu"),
        rational_activations=compressor_class.rational_activations and method_class.uses_memory,
    )
    own = {name: value for name, value in config["method"].items() if name != "name"}
    method: Method = method_class(setup, build(parameters, own, f"{path}: method"))
    method.load_state_dict({name: torch.from_numpy(array) for name, array in arrays.items()})
    return method, record
