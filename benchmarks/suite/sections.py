"""The sections of params.yaml that have no owner elsewhere: data set, matrix, memory, recipes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from cimbench.benchmarks import registry
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError, check_choice, check_file_name, check_seed
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.stream.augment import AugmentParameters
from cimbench.methods.memory.herding import SELECTIONS


@dataclass(frozen=True, kw_only=True)
class DatasetParameters:
    """name: of the prepared data, printed in tables. source: see registry.SOURCES, with its own parameters. prepare:
    how its pictures are kept; None keeps their pixels as they are.
    """

    name: str
    source: str
    parameters: dict[str, Any]
    prepare: PrepareParameters | None = None

    def __post_init__(self) -> None:
        check_file_name("dataset.name", self.name)
        called = self.name.replace("-", "_")
        if called in registry.SOURCES and called != self.source:
            raise InputError(
                f"dataset.name is '{self.name}', which is another source than dataset.source, '{self.source}'; tables "
                "would confuse the two: give another name"
            )

    def build_source(self) -> tuple[Any, Any]:
        """The source's `catalogue` function and its checked parameters."""
        catalogue, cls = registry.load("dataset.source", registry.SOURCES, self.source)
        return catalogue, build(cls, self.parameters, "dataset.parameters")


@dataclass(frozen=True, kw_only=True)
class MatrixParameters:
    """The suite's cells: every method with every compressor and seed; bounds, which have no memory, once a seed."""

    methods: list[str]
    compressors: list[str]
    seeds: list[int]
    bounds: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("methods", "compressors", "seeds"):
            if not getattr(self, name):
                raise InputError(f"matrix.{name} is empty; name at least one")
        for name in ("methods", "compressors", "seeds", "bounds"):
            values: list[Any] = getattr(self, name)
            if twice := [value for number, value in enumerate(values) if value in values[:number]]:
                raise InputError(f"matrix.{name} names {twice[0]} twice; name it once")
        for bound in self.bounds:
            if bound in self.methods:
                raise InputError(f"matrix.bounds names {bound}, which is in matrix.methods too; name it in one of them")
            if registry.load("matrix.bounds: method", registry.METHODS, bound)[0].uses_memory:
                raise InputError(f"matrix.bounds names {bound}, which has a memory; name it in matrix.methods")
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
class RecipeParameters:
    """A method's own recipe. training: what differs from the suite's. augment: instead of the suite's, or None.

    parameters: of the method itself, which differ from the suite's.
    """

    training: dict[str, Any] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    augment: AugmentParameters | None = None
