import numpy as np
import pytest
import torch

from cimbench.datasets.augment import (
    MEAN,
    STANDARD_DEVIATION,
    AugmentParameters,
    augment,
    mirrored,
    normalise,
    random_resized_crop,
    random_shift,
)
from cimbench.datasets.errors import InputError
from cimbench.datasets.loader import shuffled_batches
from cimbench.datasets.randomness import generator
from tests.conftest import textured_images


def test_normalisation_by_hand() -> None:
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(v / 255 - m) / s for v, m, s in zip((0, 128, 255), MEAN, STANDARD_DEVIATION, strict=True)]
    np.testing.assert_allclose(normalise(image).flatten().numpy(), expected, rtol=1e-5)


def test_shift_moves_whole_pixels_and_repeats_the_border() -> None:
    images = textured_images(20, 6, 8, 0)
    shifted = random_shift(images, 2, generator(0, "test"))
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (2, 2), (2, 2)), mode="edge")
    seen = set()
    for before, after in zip(padded, shifted.numpy(), strict=True):
        found = [(y, x) for y in range(5) for x in range(5) if np.array_equal(before[:, y : y + 6, x : x + 8], after)]
        assert found  # exactly one of the 25 shifts
        seen.add(found[0])
    assert len(seen) > 5


def test_full_size_crop_changes_nothing() -> None:
    images = textured_images(4, 12, 12, 0)
    random = torch.Generator().manual_seed(0)
    cropped = random_resized_crop(images, (1.0, 1.0), random)
    # area 1 with an aspect other than 1 is clamped at the border; at least one side is whole
    assert cropped.shape == images.shape
    constant = torch.full((4, 3, 12, 12), 77, dtype=torch.uint8)
    assert torch.allclose(random_resized_crop(constant, (0.3, 0.6), random), torch.tensor(77.0), atol=1e-3)


def test_crop_of_a_ramp_spans_its_area() -> None:
    side, scale = 64, 0.25
    ramp = torch.arange(side, dtype=torch.float32).expand(256, 3, side, side)
    cropped = random_resized_crop(ramp, (scale, scale), torch.Generator().manual_seed(1))
    spans = (cropped[:, 0, 0, -1] - cropped[:, 0, 0, 0]) / side
    assert float(spans.min()) > 0.5 * (3 / 4) ** 0.5 - 0.03  # sqrt(area * aspect)
    assert float(spans.max()) < 0.5 * (4 / 3) ** 0.5 + 0.03


def test_flip_mirrors_about_half_of_the_images_and_no_pixels() -> None:
    images = textured_images(200, 4, 4, 0)
    out = augment(images, AugmentParameters(flip=True), generator(0, "test"))
    plain, mirror = normalise(images), normalise(mirrored(images))
    is_plain = (out == plain).flatten(1).all(1)
    assert bool((is_plain | (out == mirror).flatten(1).all(1)).all())
    assert 60 < int(is_plain.sum()) < 140


def test_same_generator_state_gives_the_same_bits_and_the_input_stays() -> None:
    parameters = AugmentParameters(resized_crop_scale=(0.5, 1.0), crop_padding=2, flip=True, brightness=0.2)
    images = textured_images(8, 16, 16, 0)
    before = images.clone()
    one, two = (augment(images, parameters, generator(5, "augment", 0)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, augment(images, parameters, generator(5, "augment", 1)))
    assert torch.equal(images, before)


def test_an_epoch_shows_every_image_once() -> None:
    batches = list(shuffled_batches(33, 8, generator(0, "order")))
    assert [len(batch) for batch in batches] == [8, 8, 8, 9]  # the odd one joins the batch before
    assert sorted(torch.cat(batches).tolist()) == list(range(33))
    assert torch.cat(batches).tolist() != list(range(33))


@pytest.mark.parametrize("values", [{"crop_padding": -1}, {"brightness": -0.1}, {"resized_crop_scale": (0.0, 1.0)}])
def test_bad_values_are_named(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"augment.{next(iter(values))}"):
        AugmentParameters(**values)  # type: ignore[arg-type]
