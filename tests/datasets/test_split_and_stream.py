import json
from pathlib import Path

import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.stream.phases import ClassStream
from cimbench.datasets.stream.split import (
    ProtocolParameters,
    class_order,
    load_split,
    make_split,
    phase_sizes,
    save_split,
)
from tests.conftest import GOLDEN, coloured_store


@pytest.mark.parametrize("classes", [100, 101, 1000])
def test_class_orders_are_the_references(classes: int) -> None:
    golden = json.loads((GOLDEN / "class_orders.json").read_text())
    assert class_order(classes, golden["seed"]) == golden["orders"][str(classes)]


@pytest.mark.parametrize(
    ("name", "phases", "classes", "expected"),
    [
        ("lfs", 5, 101, [21] + [20] * 4),  # Food-101
        ("lfs", 10, 101, [11] + [10] * 9),
        ("lfs", 20, 101, [6] + [5] * 19),
        ("lfh", 5, 101, [51] + [10] * 5),
        ("lfh", 10, 101, [51] + [5] * 10),
        ("lfh", 25, 101, [51] + [2] * 25),
        ("lfs", 10, 100, [10] * 10),
        ("lfh", 10, 1000, [500] + [50] * 10),
        ("lfs", 3, 3, [1, 1, 1]),
    ],
)
def test_phase_sizes_of_the_protocols(name: str, phases: int, classes: int, expected: list[int]) -> None:
    assert phase_sizes(ProtocolParameters(name=name, phases=phases), classes) == expected


@pytest.mark.parametrize(("name", "phases"), [("lfs", 5), ("lfh", 3)])
def test_more_phases_than_classes_is_refused(name: str, phases: int) -> None:
    with pytest.raises(InputError, match=f"protocol.phases is {phases}, but only"):
        phase_sizes(ProtocolParameters(name=name, phases=phases), 4)


def test_every_image_is_in_exactly_one_place() -> None:
    store = coloured_store(classes=5)
    split = make_split(store, ProtocolParameters(name="lfs", phases=2, validation_share=0.25), seed=7)
    placed = [i for p in split.phases for part in (p.train, p.validation, p.test) for i in part]
    assert sorted(placed) == list(range(len(store)))
    stream = ClassStream(store, split)
    for index, phase in enumerate(split.phases):
        assert stream.validation(index).names == tuple(store.names[i] for i in phase.validation)
        for part, test in ((phase.train, False), (phase.validation, False), (phase.test, True)):
            assert set(store.labels[list(part)].tolist()) == set(phase.classes)
            assert bool((store.is_test[list(part)] == test).all())
        assert len(phase.validation) == 3 * len(phase.classes)  # a quarter of 12
    assert split.order == class_order(5, 1993)


def test_fixed_order_seed_is_independent_of_the_run() -> None:
    store, protocol = coloured_store(), ProtocolParameters(name="lfs", phases=2)
    assert make_split(store, protocol, 1) == make_split(store, protocol, 2)
    assert make_split(store, protocol, 1).order == class_order(4, 1993)
    follows = ProtocolParameters(name="lfs", phases=2, order_seed=None)
    assert make_split(store, follows, 1).order != make_split(store, follows, 5).order


TWO = ProtocolParameters(name="lfs", phases=2)


def manifest(folder: Path) -> Path:
    """A written manifest of the coloured store."""
    store = coloured_store()
    save_split(make_split(store, TWO, 3), store, folder / "split.json")
    return folder / "split.json"


def test_manifest_round_trip_and_names(tmp_path: Path) -> None:
    store, path = coloured_store(), manifest(tmp_path)
    split = make_split(store, TWO, seed=3)
    assert load_split(path, store, TWO, 3) == split
    written = json.loads(path.read_text())["phases"][0]
    assert written["train"] == [store.names[i] for i in split.phases[0].train]


def test_manifest_of_other_data_or_another_protocol_is_refused(tmp_path: Path) -> None:
    path = manifest(tmp_path)
    with pytest.raises(InputError, match=r"data_digest is .*, here it is .*run `cimbench split` again"):
        load_split(path, coloured_store(seed=1), TWO, 3)
    for other in (
        ProtocolParameters(name="lfs", phases=4),
        ProtocolParameters(name="lfs", phases=2, order_seed=None),
        ProtocolParameters(name="lfs", phases=2, validation_share=0.1),
    ):
        with pytest.raises(InputError, match=r"protocol is .*, here it is"):
            load_split(path, coloured_store(), other, 3)


def test_an_edited_manifest_is_refused(tmp_path: Path) -> None:
    """Above all one that puts test images into training."""
    path = manifest(tmp_path)
    content = json.loads(path.read_text())
    content["phases"][0]["train"] += content["phases"][0]["test"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match="was changed after it was made"):
        load_split(path, coloured_store(), TWO, 3)
    del content["data_digest"]
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"data_digest is None"):
        load_split(path, coloured_store(), TWO, 3)


def test_class_without_images_is_named() -> None:
    store = coloured_store(classes=3)
    without = store.subset(torch.nonzero((store.labels != 1) | store.is_test).flatten())
    with pytest.raises(InputError, match="no train images are left for class 1"):
        make_split(without, ProtocolParameters(name="lfs", phases=3), 0)


def test_labels_are_numbered_by_arrival() -> None:
    store = coloured_store(classes=5)
    split = make_split(store, ProtocolParameters(name="lfs", phases=2), seed=7)
    stream = ClassStream(store, split)
    assert stream.group_sizes == [3, 2]
    second = stream.phase(1)
    assert (second.old_classes, second.total_classes, list(second.new_labels)) == (3, 5, [3, 4])
    assert set(second.train.labels.tolist()) == {3, 4}
    for index, name in enumerate(second.train.names):
        original = int(name.split("/")[1])
        assert split.order[int(second.train.labels[index])] == original
    assert len(stream.test_so_far(0)) == 3 * 6
    assert set(stream.test_so_far(1).labels.tolist()) == {0, 1, 2, 3, 4}
    assert len(stream.train_so_far(1)) == 5 * 12


@pytest.mark.parametrize(
    ("parameter", "value", "words"),
    [
        ("name", "lsf", "did you mean 'lfs'"),
        ("phases", 0, "protocol.phases is 0; give 1 or more"),
        ("validation_share", 1.0, "validation_share is 1.0"),
    ],
)
def test_bad_protocols(parameter: str, value: object, words: str) -> None:
    with pytest.raises(InputError, match=words):
        ProtocolParameters(**{"name": "lfs", "phases": 2, parameter: value})  # type: ignore[arg-type]
