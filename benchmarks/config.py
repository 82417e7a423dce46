"""params.yaml -> a suite and its cells. The only reader of params.yaml; the one way to configure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cimbench.benchmarks import registry
from cimbench.benchmarks.parameters import build
from cimbench.datasets.augment import AugmentParameters
from cimbench.datasets.errors import InputError, check_at_least, check_choice, check_file_name, check_seed
from cimbench.datasets.split import ProtocolParameters
from cimbench.methods.budget import BudgetParameters
from cimbench.methods.herding import SELECTIONS
from cimbench.methods.networks.network import NetworkParameters
from cimbench.methods.recipe import TrainingParameters

PARAMETERS_FILE = Path("params.yaml")


@dataclass(frozen=True, kw_only=True)
class DatasetParameters:
    """name: of the prepared data, printed in tables. source: see registry.SOURCES, with its own parameters."""

    name: str
    source: str
    parameters: dict[str, Any]

    def __post_init__(self) -> None:
        check_file_name("dataset.name", self.name)

    def build_source(self) -> tuple[Any, Any]:
        """The source's `prepare` function and its checked parameters."""
        prepare, cls = registry.load("dataset.source", registry.SOURCES, self.source)
        return prepare, build(cls, self.parameters, "dataset.parameters")


@dataclass(frozen=True, kw_only=True)
class MatrixParameters:
    """The suite's cells: every method with every compressor and seed."""

    methods: list[str]
    compressors: list[str]
    seeds: list[int]

    def __post_init__(self) -> None:
        for name in ("methods", "compressors", "seeds"):
            if not getattr(self, name):
                raise InputError(f"matrix.{name} is empty; name at least one")
        for seed in self.seeds:
            check_seed("matrix.seeds", seed)


@dataclass(frozen=True, kw_only=True)
class MemoryParameters:
    """selection: which images become exemplars. mirrored_means: nearest means also of the exemplars' mirror images."""

    selection: str = "herding"
    mirrored_means: bool = True

    def __post_init__(self) -> None:
        check_choice("memory.selection", self.selection, SELECTIONS)


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Everything in params.yaml, checked.

    checkpoint_epochs: epochs after which the state within a phase is saved as well, so that a stopped cell goes on from
    there; None saves after phases alone. It changes no number.
    """

    suite: str
    device: str
    matrix: MatrixParameters
    dataset: DatasetParameters
    protocol: ProtocolParameters
    budget: BudgetParameters
    memory: MemoryParameters
    network: NetworkParameters
    training: TrainingParameters
    augment: AugmentParameters
    methods: dict[str, dict[str, Any]]
    compressors: dict[str, dict[str, Any]]
    checkpoint_epochs: int | None = None

    def __post_init__(self) -> None:
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_file_name("suite", self.suite)
        if self.checkpoint_epochs is not None:
            check_at_least("checkpoint_epochs", self.checkpoint_epochs, 1)
        for name in self.methods:
            registry.load("methods: method", registry.METHODS, name)
        for name in self.compressors:
            registry.load("compressors: compressor", registry.COMPRESSORS, name)
        named = {(method, compressor) for method in self.methods for compressor in self.compressors}
        wanted = {(method, compressor) for method in self.matrix.methods for compressor in self.matrix.compressors}
        for method, compressor in sorted(named | wanted):
            find_cell(self, method, compressor, self.matrix.seeds[0])
        for compressor in sorted({compressor for _, compressor in named | wanted}):
            check_artifacts(self, compressor)
        if any(registry.load("method", registry.METHODS, name)[0].uses_memory for name in self.matrix.methods):
            for compressor in self.matrix.compressors:
                check_held_out(self, compressor)

    @property
    def results(self) -> Path:
        """The suite's folder in results/."""
        return Path("results") / self.suite

    @property
    def store(self) -> Path:
        """The prepared data."""
        return Path("data/stores") / f"{self.dataset.name}.npz"

    def split_path(self, seed: int) -> Path:
        """The manifest of the phases for a seed."""
        return self.results / "splits" / f"{seed}.json"

    def cells(self) -> Iterator[Cell]:
        """All cells, in the order of the matrix."""
        matrix = self.matrix
        for method, compressor, seed in itertools.product(matrix.methods, matrix.compressors, matrix.seeds):
            yield Cell(suite=self, method=method, compressor=compressor, seed=seed)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One method with one compressor and one seed."""

    suite: Suite
    method: str
    compressor: str
    seed: int

    @property
    def name(self) -> str:
        """For instance replay-none-1993; also the folder's name."""
        return f"{self.method}-{self.compressor}-{self.seed}"

    @property
    def title(self) -> str:
        """The cell as a person would say it."""
        return f"{self.method} + {self.compressor}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where the cell's results are."""
        return self.suite.results / "cells" / self.name

    @property
    def checkpoint(self) -> Path:
        """The cell's unfinished state."""
        return Path("data/checkpoints") / self.suite.suite / f"{self.name}.npz"

    @property
    def phase_checkpoint(self) -> Path:
        """The unfinished state of the phase after the checkpoint."""
        return self.checkpoint.with_suffix(".phase.npz")

    def build_method_parameters(self) -> tuple[Any, Any]:
        """The method's class and its checked parameters."""
        cls, parameters = registry.load("method", registry.METHODS, self.method)
        section = f"methods.{self.method}"
        return cls, build(parameters, self.suite.methods.get(self.method, {}), section)

    def build_compressor_parameters(self) -> tuple[Any, Any]:
        """The compressor's class and its checked parameters."""
        cls, parameters = registry.load("compressor", registry.COMPRESSORS, self.compressor)
        section = f"compressors.{self.compressor}"
        return cls, build(parameters, self.suite.compressors.get(self.compressor, {}), section)

    def resolved(self) -> dict[str, Any]:
        """Everything that defines the cell's numbers, as plain JSON-able values."""
        suite = self.suite
        sections = ("dataset", "protocol", "budget", "memory", "network", "training", "augment")
        resolved: dict[str, Any] = {name: asdict(getattr(suite, name)) for name in sections}
        resolved["method"] = {"name": self.method, **asdict(self.build_method_parameters()[1])}
        resolved["compressor"] = {"name": self.compressor, **asdict(self.build_compressor_parameters()[1])}
        resolved |= {"seed": self.seed, "device": suite.device}
        plain: dict[str, Any] = json.loads(json.dumps(resolved))
        return plain


def load_suite(path: Path = PARAMETERS_FILE) -> Suite:
    """The suite that a parameter file describes; YAML, or JSON where no YAML reader is installed."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        raise InputError(
            f"{path}: is not there; run this in the project's root, or name a file with --params"
        ) from None
    if path.suffix == ".json":
        return build(Suite, json.loads(text), str(path))
    import yaml

    try:
        return build(Suite, yaml.safe_load(text), str(path))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: is not valid YAML: {error}") from error


def find_cell(suite: Suite, method: str, compressor: str, seed: int) -> Cell:
    """A cell of the suite's matrix or beside it; unknown names fail with the nearest known one."""
    check_seed("seed", seed)
    cell = Cell(suite=suite, method=method, compressor=compressor, seed=seed)
    cell.build_method_parameters()
    cell.build_compressor_parameters()
    return cell


def check_held_out(suite: Suite, compressor: str) -> None:
    """Raise InputError where a compressor chooses on held-out images and the protocol holds none out."""
    cls, _ = registry.load("compressor", registry.COMPRESSORS, compressor)
    if cls.needs_held_out and not suite.protocol.validation_share:
        raise InputError(
            f"compressor {compressor} chooses on held-out images, but protocol.validation_share is 0; set it, for "
            "instance to 0.1, or choose another compressor"
        )


def check_artifacts(suite: Suite, compressor: str) -> None:
    """Raise InputError where new images would wear compressed versions only after the last epoch of every phase."""
    _, parameters = find_cell(suite, suite.matrix.methods[0], compressor, 0).build_compressor_parameters()
    artifacts, longest = getattr(parameters, "artifacts", None), max(suite.training.base_epochs, suite.training.epochs)
    if artifacts is not None and artifacts.refresh_epochs >= longest:
        raise InputError(
            f"compressors.{compressor}.artifacts.refresh_epochs is {artifacts.refresh_epochs}, but no phase has more "
            f"than {longest} epochs, so nothing would be worn; give less, or artifacts: null"
        )


def resolve_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda"; InputError for a GPU that is not there."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device is 'cuda', but torch sees no GPU here; set device to auto or cpu, or check the driver")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
