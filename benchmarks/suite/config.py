"""params.yaml -> a suite and its cells. The only reader of params.yaml; the one way to configure."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from cimbench.benchmarks import registry
from cimbench.benchmarks.records.metrics import check_metrics
from cimbench.benchmarks.records.places import cell_folder
from cimbench.benchmarks.suite.parameter_file import read_parameters
from cimbench.benchmarks.suite.parameters import build
from cimbench.benchmarks.suite.sections import DatasetParameters, MatrixParameters, MemoryParameters, RecipeParameters
from cimbench.datasets.errors import InputError, check_at_least, check_choice, check_file_name, check_seed
from cimbench.datasets.stream.augment import AugmentParameters
from cimbench.datasets.stream.feed import FeedParameters
from cimbench.datasets.stream.split import ProtocolParameters
from cimbench.methods.memory.budget import BudgetParameters
from cimbench.methods.networks.network import NetworkParameters
from cimbench.methods.training.recipe import TrainingParameters

RECIPES = ("shared", "paper")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """Everything in params.yaml, checked.

    recipe: "shared" trains every method by `training` and `augment`; "paper" each by its own in `recipes`.
    metrics: columns of the comparison table beside its own, see records/metrics.py. They change no cell.
    checkpoint_epochs: epochs after which the state within a phase is saved as well, so that a stopped cell goes on from
    there; None saves after phases alone. checkpoint_batches: the same within epochs, for epochs of minutes. Neither
    changes a number.
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
    feed: FeedParameters = field(default_factory=FeedParameters)
    recipe: str = "shared"
    recipes: dict[str, RecipeParameters] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    checkpoint_epochs: int | None = None
    checkpoint_batches: int | None = None

    def __post_init__(self) -> None:
        check_choice("device", self.device, ("auto", "cpu", "cuda"))
        check_file_name("suite", self.suite)
        for name in ("checkpoint_epochs", "checkpoint_batches"):
            if getattr(self, name) is not None:
                check_at_least(name, getattr(self, name), 1)
        check_choice("recipe", self.recipe, RECIPES)
        check_metrics(self.metrics)
        for name in self.recipes:
            registry.load("recipes: method", registry.METHODS, name)
        for name in self.methods:
            registry.load("methods: method", registry.METHODS, name)
        for name in self.compressors:
            registry.load("compressors: compressor", registry.COMPRESSORS, name)
        named = {(method, compressor) for method in self.methods for compressor in self.compressors}
        wanted = {(method, compressor) for method in self.matrix.methods for compressor in self.matrix.compressors}
        wanted |= {(bound, "none") for bound in self.matrix.bounds}
        for method, compressor in sorted(named | wanted):
            cell = find_cell(self, method, compressor, self.matrix.seeds[0])
            if (method, compressor) in wanted:
                check_artifacts(cell)
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
        return Path("data/stores") / self.dataset.name

    @property
    def receipt(self) -> Path:
        """What was fetched for it."""
        return Path("data/archives") / f"{self.dataset.name}.json"

    def split_path(self, seed: int) -> Path:
        """The manifest of the phases for a seed."""
        return self.results / "splits" / f"{seed}.json"

    def cells(self) -> Iterator[Cell]:
        """All cells, in the order of the matrix."""
        matrix = self.matrix
        for method, compressor, seed in itertools.product(matrix.methods, matrix.compressors, matrix.seeds):
            yield Cell(suite=self, method=method, compressor=compressor, seed=seed)
        for bound, seed in itertools.product(matrix.bounds, matrix.seeds):
            yield Cell(suite=self, method=bound, compressor="none", seed=seed)


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
        return f"{registry.file_name(self.method)}-{registry.file_name(self.compressor)}-{self.seed}"

    @property
    def title(self) -> str:
        """The cell as a person would say it."""
        return f"{self.method} + {self.compressor}, seed {self.seed}"

    @property
    def folder(self) -> Path:
        """Where the cell's results are."""
        return cell_folder(self.suite.results, self.name)

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
        given = self.suite.methods.get(self.method, {})
        if self.suite.recipe == "paper":
            build(parameters, self._own_recipe.parameters, f"recipes.{self.method}.parameters")
            given = given | self._own_recipe.parameters
        return cls, build(parameters, given, f"methods.{self.method}")

    def build_compressor_parameters(self) -> tuple[Any, Any]:
        """The compressor's class and its checked parameters."""
        cls, parameters = registry.load("compressor", registry.COMPRESSORS, self.compressor)
        section = f"compressors.{self.compressor}"
        return cls, build(parameters, self.suite.compressors.get(self.compressor, {}), section)

    @property
    def training(self) -> TrainingParameters:
        """How the cell trains, by the suite's recipe."""
        shared = self.suite.training
        if self.suite.recipe == "shared":
            return shared
        own = asdict(shared) | self._own_recipe.training
        return build(TrainingParameters, own, f"recipes.{self.method}.training")

    @property
    def augment(self) -> AugmentParameters:
        """What its training images undergo, by the suite's recipe."""
        own = self._own_recipe.augment if self.suite.recipe == "paper" else None
        return own or self.suite.augment

    @property
    def _own_recipe(self) -> RecipeParameters:
        if self.method not in self.suite.recipes:
            raise InputError(
                f"recipe is paper, but recipes.{self.method} is missing; give it one ({{}} for the shared)"
            )
        return self.suite.recipes[self.method]

    def resolved(self) -> dict[str, Any]:
        """Everything that defines the cell's numbers, as plain JSON-able values."""
        suite = self.suite
        sections = ("dataset", "protocol", "budget", "memory", "network")
        resolved: dict[str, Any] = {name: asdict(getattr(suite, name)) for name in sections}
        resolved |= {"recipe": suite.recipe, "training": asdict(self.training), "augment": asdict(self.augment)}
        resolved["method"] = {"name": self.method, **asdict(self.build_method_parameters()[1])}
        resolved["compressor"] = {"name": self.compressor, **asdict(self.build_compressor_parameters()[1])}
        resolved |= {"seed": self.seed, "device": suite.device}
        resolved |= {"decoder": "device"} if suite.feed.decoder == "device" else {}  # it changes pixels, by rounding
        plain: dict[str, Any] = json.loads(json.dumps(resolved))
        return plain


def load_suite(path: Path) -> Suite:
    """The suite that a parameter file describes; YAML, or JSON where no YAML reader is installed."""
    return build(Suite, read_parameters(path), str(path))


def find_cell(suite: Suite, method: str, compressor: str, seed: int) -> Cell:
    """A cell of the suite's matrix or beside it; unknown names fail with the nearest known one."""
    check_seed("seed", seed)
    cell = Cell(suite=suite, method=method, compressor=compressor, seed=seed)
    cell.build_method_parameters()
    cell.build_compressor_parameters()
    cell.training, cell.augment  # noqa: B018 - checked here, before anything runs
    return cell


def check_held_out(suite: Suite, compressor: str) -> None:
    """Raise InputError where a compressor chooses on held-out images and the protocol holds none out."""
    cls, _ = registry.load("compressor", registry.COMPRESSORS, compressor)
    if cls.needs_held_out and not suite.protocol.validation_share:
        raise InputError(
            f"compressor {compressor} chooses on held-out images, but protocol.validation_share is 0; set it, for "
            "instance to 0.1, or choose another compressor"
        )


def check_artifacts(cell: Cell) -> None:
    """Raise InputError where new images would be shown compressed only after the last epoch of every phase."""
    _, parameters = cell.build_compressor_parameters()
    artifacts, longest = getattr(parameters, "artifacts", None), max(cell.training.base_epochs, cell.training.epochs)
    if artifacts is not None and artifacts.refresh_epochs >= longest - 1:
        raise InputError(
            f"compressors.{cell.compressor}.artifacts.refresh_epochs is {artifacts.refresh_epochs}, but no phase has "
            f"more than {longest} epochs, of which the last makes none, so no compressed version would be shown; give "
            "less, or artifacts: null"
        )


def resolve_device(name: str) -> torch.device:
    """The torch device for "auto", "cpu" or "cuda"; InputError for a GPU that is not there."""
    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise InputError("device is 'cuda', but torch sees no GPU here; set device to auto or cpu, or check the driver")
    return torch.device("cuda" if available and name != "cpu" else "cpu")
