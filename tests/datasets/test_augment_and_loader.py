import itertools

import numpy as np
import pytest
import torch
from torchvision import transforms
from torchvision.transforms.autoaugment import _apply_op

from cimbench.datasets.errors import InputError
from cimbench.datasets.randomness import generator
from cimbench.datasets.stream.augment import (
    AUTO_AUGMENT,
    MEAN,
    STANDARD_DEVIATION,
    AugmentParameters,
    augment,
    cut_out,
    mirrored,
    normalise,
    random_resized_crop,
    random_shift,
)
from cimbench.datasets.stream.auto_augment import auto_augment
from cimbench.datasets.stream.epoch_order import EpochSampler
from tests.conftest import textured_images


def test_normalisation_by_hand() -> None:
    image = torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1)
    expected = [(v / 255 - m) / s for v, m, s in zip((0, 128, 255), MEAN, STANDARD_DEVIATION, strict=True)]
    np.testing.assert_allclose(normalise(image).flatten().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_shift_looks_up_every_pixel_and_leaves_the_images_alone(layout: torch.memory_format) -> None:
    """Pixel by pixel, by the same draws; and so does the norm."""
    images = textured_images(5, 6, 9, seed=4).contiguous(memory_format=layout)
    before = images.clone()
    shifts = torch.randint(-3, 4, (2, 5, 1), generator=generator(7, "shift"))
    shifted = random_shift(images, 3, generator(7, "shift"))
    for number, row, column in itertools.product(range(5), range(6), range(9)):
        down, right = int(shifts[0, number]), int(shifts[1, number])
        source = before[number, :, min(max(row + down, 0), 5), min(max(column + right, 0), 8)]
        assert torch.equal(shifted[number, :, row, column], source)
    floats = images.float()
    assert torch.equal(normalise(floats), normalise(images))
    assert torch.equal(images, before) and torch.equal(floats, before.float())


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


@pytest.mark.parametrize("policy", AUTO_AUGMENT)
def test_auto_augment_is_torchvisions_first_version_image_by_image(policy: str) -> None:
    """The same draws through `torchvision.transforms` (v1, written apart from v2), one image after another."""
    images = textured_images(150, 20, 24, 1)
    batch = auto_augment(policy).of_batch(images, generator(4, "test"))
    random = generator(4, "test")
    table = transforms.AutoAugment(transforms.AutoAugmentPolicy(policy))
    chosen = torch.randint(25, (150,), generator=random)
    draws = torch.rand(150, 2, 2, generator=random)
    strengths = table._augmentation_space(10, (20, 24))
    used = set()
    for number, image in enumerate(images):
        for step, (name, probability, level) in enumerate(table.policies[chosen[number]]):
            happens, sign = draws[number, step].tolist()
            if happens >= probability:
                continue
            values, signed = strengths[name]
            strength = 0.0 if level is None else float(values[level])
            strength = -strength if signed and sign < 0.5 else strength
            image = _apply_op(image, name, strength, transforms.InterpolationMode.NEAREST, None)
            used.add((name, np.sign(strength)))
        difference = (image.int() - batch[number].int()).abs().double()
        # the versions round differently; a second operation can make a level of difference a few
        assert float(difference.mean()) < 0.5, (number, table.policies[chosen[number]])
    assert len(used) > 12
    assert not torch.equal(batch, images)


def test_a_cutout_is_a_square_at_a_random_place() -> None:
    images = torch.ones(400, 3, 10, 12)
    holes = cut_out(images, 4, generator(1, "test")) == 0
    assert bool((holes == holes[:, :1]).all())  # the same in every channel
    rows, columns = holes[:, 0].any(2), holes[:, 0].any(1)
    assert torch.equal(holes[:, 0], rows[:, :, None] & columns[:, None, :])
    for sides, places in ((rows, 10), (columns, 12)):
        lengths = sides.sum(1)
        assert set(lengths.tolist()) == {2, 3, 4}  # whole, or cut by the border
        first = torch.where(lengths == 4, sides.float().argmax(1), -1)
        assert set(first.tolist()) >= set(range(places - 4 + 1))
        assert bool((sides.float().diff(dim=1).abs().sum(1) <= 2).all())  # in one piece


def test_auto_augment_and_cutout_are_part_of_the_augmentation() -> None:
    images = textured_images(40, 16, 16, 0)
    plain = augment(images, AugmentParameters(flip=False), generator(0, "test"))
    assert torch.equal(plain, normalise(images))
    policy = AugmentParameters(flip=False, auto_augment="imagenet")
    expected = normalise(auto_augment("imagenet").of_batch(images, generator(0, "test")))
    assert torch.equal(augment(images, policy, generator(0, "test")), expected)
    cut = augment(images, AugmentParameters(flip=False, cutout=6), generator(0, "test"))
    assert torch.equal(cut, cut_out(plain, 6, generator(0, "test")))
    shaken = AugmentParameters(resized_crop_scale=(0.3, 1.0), brightness=0.2, auto_augment="cifar10", cutout=4)
    assert bool(torch.isfinite(augment(images, shaken, generator(0, "test"))).all())


def test_same_generator_state_gives_the_same_bits_and_the_input_stays() -> None:
    parameters = AugmentParameters(
        resized_crop_scale=(0.5, 1.0), crop_padding=2, brightness=0.2, auto_augment="imagenet", cutout=5
    )
    images = textured_images(8, 16, 16, 0)
    before = images.clone()
    one, two = (augment(images, parameters, generator(5, "augment", 0)) for _ in range(2))
    assert torch.equal(one, two)
    assert not torch.equal(one, augment(images, parameters, generator(5, "augment", 1)))
    assert torch.equal(images, before)


def test_an_epoch_shows_every_image_once() -> None:
    batches = EpochSampler(count=33, batch_size=8, seed=0, purpose=("order", 0)).batches(0)
    assert [len(batch) for batch in batches] == [8, 8, 8, 9]  # the odd one joins the batch before
    assert sorted(torch.cat(batches).tolist()) == list(range(33))
    assert torch.cat(batches).tolist() != list(range(33))


def test_an_epochs_order_follows_from_seed_phase_and_epoch_alone() -> None:
    """Asked for in any order, and by the permutation that the named generator draws."""
    sampler = EpochSampler(count=20, batch_size=6, seed=7, purpose=("order", 2))
    orders = {epoch: torch.cat(sampler.batches(epoch)).tolist() for epoch in (3, 0, 3, 1)}
    for epoch, order in orders.items():
        assert order == torch.randperm(20, generator=generator(7, "order", 2, epoch)).tolist()
    assert len({tuple(order) for order in orders.values()}) == 3


@pytest.mark.parametrize(
    "values",
    [
        {"crop_padding": -1},
        {"brightness": -0.1},
        {"resized_crop_scale": (0.0, 1.0)},
        {"auto_augment": "imagnet"},
        {"cutout": -2},
    ],
)
def test_bad_values_are_named(values: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"augment.{next(iter(values))}"):
        AugmentParameters(**values)  # type: ignore[arg-type]
