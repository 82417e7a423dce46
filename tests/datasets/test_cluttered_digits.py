from pathlib import Path

import pytest
import torch

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.progress import no_progress
from cimbench.datasets.sources.cluttered_digits import ClutteredDigitsParameters, catalogue

VALUES = {
    "side": 48,
    "digit_side": (16, 20),
    "fragments": 3,
    "fragment_side": (6, 8),
    "background_contrast": 0.4,
    "train_per_class": 3,
    "test_per_class": 2,
    "seed": 0,
}


def make(**changes: object) -> ImageStore:
    made = catalogue(ClutteredDigitsParameters(**{**VALUES, **changes}), Path(), no_progress)  # type: ignore[arg-type]
    images = [torch.as_tensor(made.content(index)) for index in range(len(made))]
    rest = {name: getattr(made, name) for name in ("class_names", "names", "is_test", "boxes")}
    return ImageStore.from_images(images, made.labels, **rest)


def test_counts_names_and_determinism() -> None:
    store = make()
    assert store.uniform_size == (48, 48)
    assert store.labels.bincount().tolist() == [5] * 10
    assert int(store.is_test.sum()) == 20
    assert len(set(store.names)) == 50
    assert store.digest == make().digest
    assert store.digest != make(seed=1).digest


def test_the_true_box_holds_the_digit() -> None:
    """Without fragments and background, everything bright lies inside the box."""
    store = make(fragments=0, background_contrast=0.0)
    sides = store.boxes[:, 2:] - store.boxes[:, :2]
    assert bool((sides[:, 0] == sides[:, 1]).all())
    assert 16 <= int(sides.min()) <= int(sides.max()) <= 20
    for index in range(len(store)):
        x0, y0, x1, y1 = store.boxes[index].tolist()
        image = store.image(index).clone()
        assert int(image[:, y0:y1, x0:x1].max()) > 100
        image[:, y0:y1, x0:x1] = 0
        assert int(image.max()) == 0


def test_places_vary() -> None:
    corners = make(train_per_class=10).boxes[:, :2]
    assert len(torch.unique(corners, dim=0)) > 80


@pytest.mark.parametrize(
    "change", [{"digit_side": (20, 16)}, {"digit_side": (16, 60)}, {"fragment_side": (0, 8)}, {"train_per_class": 0}]
)
def test_bad_parameters_are_named(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"dataset.parameters.{next(iter(change))}"):
        make(**change)
