"""What is asked of a compressor, a method and a source, one line a requirement: `cimbench check`."""

from __future__ import annotations

import contextlib
import dataclasses
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cimbench.benchmarks import registry
from cimbench.benchmarks.contract import promises
from cimbench.benchmarks.contract.promises import UnmetError, require
from cimbench.benchmarks.contract.small_stream import SEEDS, coloured_store, place, small_suite
from cimbench.benchmarks.suite.config import Cell, find_cell
from cimbench.benchmarks.suite.parameters import build
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.preparing.parameters import PrepareParameters
from cimbench.datasets.preparing.prepare import prepare
from cimbench.datasets.progress import no_progress
from cimbench.datasets.reading.catalogue import Catalogue
from cimbench.datasets.stream.split import ProtocolParameters, make_split
from cimbench.methods.networks.network import Network, NetworkParameters

TABLES = {"method": registry.METHODS, "compressor": registry.COMPRESSORS, "source": registry.SOURCES}


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What is checked, by its name in a suite. given: its parameters, where not its defaults."""

    kind: str
    name: str
    given: dict[str, Any]

    def load(self) -> tuple[Any, Any]:
        """Its class (a source's function), and its checked parameters."""
        loaded, parameters = registry.load(self.kind, TABLES[self.kind], self.name)
        return loaded, build(parameters, self.given, f"{self.kind} {self.name}")


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A requirement, and why it is not met; None where it is."""

    requirement: str
    reason: str | None


Requirement = tuple[str, Callable[[Subject], object]]


def subject(name: str, given: dict[str, Any]) -> Subject:
    """What the name means; InputError where it is neither a method nor a compressor nor a source."""
    for kind, table in TABLES.items():
        if name in table:
            return Subject(kind=kind, name=name, given=given)
    if ":" not in name:
        raise registry.unknown(" or ".join(TABLES), name, [known for table in TABLES.values() for known in table])
    return Subject(kind=registry.kind_of(name, TABLES), name=name, given=given)


def outcomes(checked: Subject) -> Iterator[Outcome]:
    """Every requirement of its kind, one after another, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for words, check in REQUIREMENTS[checked.kind]:
            yield Outcome(requirement=words, reason=_reason(check, checked))


def _reason(check: Callable[[Subject], object], checked: Subject) -> str | None:
    try:
        check(checked)
    except (UnmetError, InputError) as error:
        return str(error)
    except Exception as error:  # whatever a stranger's class raises
        return f"{type(error).__name__}: {error}"
    return None


def _loads(checked: Subject) -> None:
    registry.load(checked.kind, TABLES[checked.kind], checked.name)


def _parameters(checked: Subject) -> None:
    _, parameters = checked.load()
    frozen = type(parameters).__dataclass_params__.frozen
    require(frozen, f"{type(parameters).__name__} can be changed; write @dataclass(frozen=True, kw_only=True)")


def _cells(checked: Subject) -> list[Cell]:
    """The subject's cells for two seeds on the small stream, beside replay or without compression."""
    _, parameters = checked.load()
    artifacts = getattr(parameters, "artifacts", None)
    own = {checked.name: dataclasses.asdict(parameters)}
    by_kind = {kind: own if kind == checked.kind else {} for kind in ("method", "compressor")}
    epochs = (
        1 if artifacts is None else artifacts.refresh_epochs + 2
    )  # so that something is shown; the last epoch makes none
    suite = small_suite(epochs, by_kind["method"], by_kind["compressor"])
    place(suite, coloured_store(), *SEEDS)
    names = {"method": "replay", "compressor": "none", checked.kind: checked.name}
    return [find_cell(suite, names["method"], names["compressor"], seed) for seed in SEEDS]


def _runs(checked: Subject) -> None:
    promises.check_cell(_cells(checked)[0])


def _repeats(checked: Subject) -> None:
    promises.check_repeatable(*_cells(checked))


def _learns(checked: Subject) -> None:
    promises.check_learning(_cells(checked)[0])


def _keeps_state(checked: Subject) -> None:
    promises.check_state(_cells(checked)[0])


def _images() -> tuple[ImageStore, Network]:
    """Pictures of unequal sizes with boxes, and a network that has a row for each of their classes."""
    stores = [coloured_store(train=2, test=1, side=side) for side in (16, 24)]
    images = [store.image(i)[:, : 16 + i % 5] for store in stores for i in range(len(store))]
    boxes, labels = torch.cat([store.boxes for store in stores]), torch.cat([store.labels for store in stores])
    boxes[:, 3].clamp_(max=16)
    values = NetworkParameters(architecture="resnet8", stem="strided", width=4, input_side=16)
    network = Network(values, torch.Generator().manual_seed(0), "linear", rational_activations=True)
    network.head.grow(len(stores[0].class_names), torch.Generator().manual_seed(1))
    return ImageStore.from_images(images, labels, boxes=boxes), network


def _boxes(checked: Subject) -> None:
    made, parameters = checked.load()
    promises.check_boxes(made(parameters), *_images())


def _stores(checked: Subject) -> None:
    made, parameters = checked.load()
    promises.check_storing(made(parameters), *_images())


def _catalogue(checked: Subject) -> Catalogue:
    catalogue, parameters = checked.load()
    made = catalogue(parameters, Path.cwd(), no_progress)
    require(isinstance(made, Catalogue), f"it gives {type(made).__name__}; give a Catalogue")
    assert isinstance(made, Catalogue)
    return made


def _same_catalogue(checked: Subject) -> None:
    one, two = _catalogue(checked), _catalogue(checked)
    for name in ("class_names", "names", "version"):
        require(getattr(one, name) == getattr(two, name), f"the second time it has other {name}")
    for name in ("labels", "is_test", "boxes"):
        require(torch.equal(getattr(one, name), getattr(two, name)), f"the second time it has other {name}")


def _prepares(checked: Subject) -> None:
    stores = [
        prepare(_catalogue(checked), PrepareParameters(), Path.cwd() / name, Path.cwd()) for name in ("one", "two")
    ]
    require(stores[0].digest == stores[1].digest, "the second time it has other pictures")
    protocol = ProtocolParameters(name="lfs", phases=min(2, len(stores[0].class_names)))
    make_split(stores[0], protocol, SEEDS[0])


_FIRST: tuple[Requirement, ...] = (
    ("is named as a suite names it, and is what it is taken for", _loads),
    ("its parameters are a frozen dataclass that takes what is given", _parameters),
)
REQUIREMENTS: dict[str, tuple[Requirement, ...]] = {
    "compressor": (
        *_FIRST,
        ("boxes lie inside the images and are drawn from the generator alone", _boxes),
        ("what is stored reads back in the images' sizes, with their labels", _stores),
        ("a cell of replay with it runs to its end, within the budget after every phase", _runs),
        ("two runs of a seed are equal to the bit, and one of another seed is not: no global random state", _repeats),
    ),
    "method": (
        *_FIRST,
        ("embeds all images and scores all classes seen, after every phase", _learns),
        ("its state_dict holds all that the next phase starts from", _keeps_state),
        ("a cell with it runs to its end, within the budget after every phase", _runs),
        ("two runs of a seed are equal to the bit, and one of another seed is not: no global random state", _repeats),
    ),
    "source": (
        *_FIRST,
        ("its catalogue is the same twice", _same_catalogue),
        ("its pictures are prepared to the same digest twice, and make phases", _prepares),
    ),
}
