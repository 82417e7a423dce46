"""What each compressor keeps, against hand-worked boxes and a network whose maps are known."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from cimbench.benchmarks.contract.requirements import REQUIREMENTS, subject
from cimbench.benchmarks.registry import COMPRESSORS, load
from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.compressor import Compressor, compressed
from cimbench.methods.compression.exemplars.codecs import RAW, Codec
from cimbench.methods.compression.exemplars.exemplar import costs_in_paper_units
from cimbench.methods.networks.network import Network, NetworkParameters, Output
from cimbench.methods.training.artifacts import Artifacts
from tests.conftest import textured_images


class BrightSpots(Network):
    """Two maps: where the picture is bright, which class 0 looks at, and where it is dark, which class 1 looks at."""

    def __init__(self) -> None:
        values = NetworkParameters(architecture="resnet8", stem="small", width=2, input_side=16)
        super().__init__(values, torch.Generator().manual_seed(0))

    def forward(self, images: Tensor, activation: str = "relu") -> Output:  # noqa: ARG002
        bright = images.mean(1, keepdim=True)
        maps = torch.cat([bright, -bright], 1)
        return Output(maps.mean((2, 3)), maps.mean((2, 3)), maps)

    def class_rows(self, labels: Tensor) -> Tensor:
        return torch.eye(2)[labels]


def spot(x: int, y: int, colour: int, ground: int) -> Tensor:
    image = torch.full((3, 16, 16), ground, dtype=torch.uint8)
    image[:, y : y + 3, x : x + 4] = colour
    return image


def made(name: str, **parameters: Any) -> Compressor:
    cls, values = load("compressor", COMPRESSORS, name)
    compressor: Compressor = cls(values(**parameters))
    return compressor


def boxes(compressor: Compressor, images: ImageStore, seed: int = 0) -> list[list[int]]:
    found: list[list[int]] = compressor.boxes(images, BrightSpots(), torch.Generator().manual_seed(seed)).xyxy.tolist()
    return found


BRIGHT, DARK, FLAT = spot(5, 2, 250, 10), spot(9, 12, 5, 240), torch.full((3, 16, 16), 99, dtype=torch.uint8)
SPOTS = ImageStore.from_images([BRIGHT, DARK, FLAT], [0, 1, 0])


def test_class_activation_boxes_what_the_labels_class_looks_at() -> None:
    compressor = made("class_activation", threshold=0.5)
    found = compressor.boxes(SPOTS, BrightSpots(), torch.Generator())
    assert found.xyxy.tolist() == [[5, 2, 9, 5], [9, 12, 13, 15], [0, 0, 16, 16]]
    assert found.stored_whole.tolist() == [False, False, True]
    # asked for the other class, the same network keeps the ground
    assert boxes(compressor, ImageStore.from_images([BRIGHT], [1])) == [[0, 0, 16, 16]]


def test_class_activation_boxes_are_in_the_images_own_pixels() -> None:
    """The forward sees 16 x 16; the box is on the original, here three times as wide and twice as high."""
    large = BRIGHT.repeat_interleave(2, 1).repeat_interleave(3, 2)
    store = ImageStore.from_images([DARK, large], [1, 0])
    small, box = boxes(made("class_activation", threshold=0.5), store)
    assert small == [9, 12, 13, 15]
    assert box == pytest.approx([15, 4, 27, 10], abs=1)


def test_full_and_none_are_the_two_ends() -> None:
    store = ImageStore.from_images(list(textured_images(4, 20, 30, 0)), [0] * 4)
    for name, cost in (("full", 0.25), ("none", 1.0)):
        compressor = made(name)
        found = compressed(store, compressor, BrightSpots(), compressor.format(RAW), torch.Generator())
        headers = found.exemplars.headers
        assert costs_in_paper_units(headers.boxes, headers.sizes, compressor.format(RAW)).tolist() == [cost] * 4
        lengths = {"full": 32 + 3 * 10 * 15, "none": 32 + 3 * 20 * 30}
        assert found.exemplars.lengths.tolist() == [lengths[name]] * 4
    assert (
        found.exemplars.images().digest == ImageStore.from_images(list(textured_images(4, 20, 30, 0)), [0] * 4).digest
    )


def test_center_and_random_boxes_have_the_activations_size() -> None:
    assert boxes(made("center_box", threshold=0.5), SPOTS) == [[6, 6, 10, 9], [6, 6, 10, 9], [0, 0, 16, 16]]
    compressor = made("random_box", threshold=0.5)
    found = torch.tensor([boxes(compressor, SPOTS, seed) for seed in range(200)])
    extents = found[..., 2:] - found[..., :2]
    assert torch.equal(extents, torch.tensor([[4, 3], [4, 3], [16, 16]]).expand(200, 3, 2))
    corners = found[:, :2, :2].reshape(-1, 2)
    assert corners.amin(0).tolist() == [0, 0]
    assert corners.amax(0).tolist() == [12, 13]  # 16 - 4 and 16 - 3: every place is reached
    assert found[0].tolist() == boxes(compressor, SPOTS, 0)
    assert found[0].tolist() != found[1].tolist()


def test_boxes_of_a_given_area() -> None:
    images = ImageStore.from_images([torch.zeros(3, 20, 40, dtype=torch.uint8)], [0])
    assert boxes(made("center_box", area=0.25), images) == [[10, 5, 30, 15]]
    ((x0, y0, x1, y1),) = boxes(made("random_box", area=0.25), images)
    assert (x1 - x0, y1 - y0) == (20, 10)
    assert boxes(made("center_box", area=1.0), images) == [[0, 0, 40, 20]]


def test_object_boxes_are_peoples() -> None:
    people = torch.tensor([[1, 2, 5, 7], [-1, -1, -1, -1], [0, 0, 16, 16]])
    store = ImageStore.from_images([BRIGHT, DARK, FLAT], [0, 1, 0], boxes=people)
    found = made("object_box").boxes(store, BrightSpots(), torch.Generator())
    assert found.xyxy.tolist() == [[1, 2, 5, 7], [0, 0, 16, 16], [0, 0, 16, 16]]
    assert found.stored_whole.tolist() == [False, True, False]
    with pytest.raises(InputError, match="no object boxes"):
        made("object_box").boxes(SPOTS, BrightSpots(), torch.Generator())


def test_foreground_shrinks_the_inside_less() -> None:
    compressor = made("foreground", threshold=0.5, ratio=4.0, inner_ratio=2.25)
    found = compressed(SPOTS, compressor, BrightSpots(), compressor.format(RAW), torch.Generator()).exemplars
    assert found.headers.boxes[0].tolist() == [5, 2, 9, 5]
    # 4 x 3 pixels become int(4 / 1.5) x int(3 / 1.5), the whole image 8 x 8 less a hidden pixel; a kept image 10 x 10
    assert found.lengths.tolist() == [32 + 3 * (2 * 2 + 63), 32 + 3 * (2 * 2 + 63), 32 + 3 * 100]
    shown = found.images().image(0)
    assert shown[:, 2:5, 5:9].unique().tolist() == [250]


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_codecs_keep_whole_images_coarsely(name: str) -> None:
    ramp = torch.linspace(20, 220, 48)
    image = torch.stack([ramp.expand(40, 48), ramp.flip(0).expand(40, 48), ramp[:40, None].expand(40, 48)])
    store = ImageStore.from_images([image.to(torch.uint8)], [0])
    sizes = []
    for quality in (10, 90):
        # its own codec, whatever the budget's
        compressor = made(name, quality=quality)
        form = compressor.format(Codec(name="jpeg", quality=1))
        found = compressed(store, compressor, BrightSpots(), form, torch.Generator())
        sizes.append(int(found.exemplars.lengths))
        assert found.exemplars.headers.boxes.tolist() == [[0, 0, 48, 40]]
        assert int(found.exemplars.headers.field("small_bytes")) == 0
    assert sizes[0] < sizes[1] < 32 + 3 * 40 * 48
    error = (found.exemplars.images().image(0).float() - store.image(0).float()).abs().mean()
    assert 0 < float(error) < 4


class Spotter(BrightSpots):
    """Calls it class 0 where the spot at (5, 2) is as bright as it was, and class 1 where it was washed out."""

    def forward(self, images: Tensor, activation: str = "relu") -> Output:  # noqa: ARG002
        seen = super().forward(images)
        inside = images[:, 0, 2:5, 5:9].mean((1, 2))
        logits = torch.stack([inside, torch.full_like(inside, 1.0)], 1)
        return Output(logits, seen.features, seen.maps)


def test_phase_tau_takes_the_highest_threshold_that_is_recognised_best() -> None:
    """Half the spot is brighter: a high tau boxes that half, and the other is washed out."""
    image = torch.full((3, 16, 16), 10, dtype=torch.uint8)
    image[:, 2:5, 5:9] = 190
    image[:, 3, 6] = 255
    held_out = ImageStore.from_images([image, image], [0, 0])
    compressor = made("phase_tau", ratio=256.0, thresholds=(0.3, 0.6, 0.9))
    assert compressor.report() == {"threshold": 0.6}
    compressor.tune(held_out, Spotter(), compressor.format(RAW))
    assert compressor.report() == {"threshold": 0.6}  # 0.9 keeps one pixel of twelve, 0.3 the same box as 0.6
    again = made("phase_tau", ratio=256.0, thresholds=(0.3, 0.6, 0.9))
    again.tune(held_out.subset(torch.tensor([0])), BrightSpots(), again.format(RAW))
    assert again.report() == {"threshold": 0.9}  # equally well recognised at each: what stores least
    again.load_state_dict({name: value.clone() for name, value in compressor.state_dict().items()})
    assert again.report() == {"threshold": 0.6}
    with pytest.raises(InputError, match=r"set protocol\.validation_share"):
        compressor.tune(held_out.subset(torch.tensor([], dtype=torch.int64)), Spotter(), compressor.format(RAW))


def test_maps_that_are_not_finite_are_refused() -> None:
    network = BrightSpots()
    network.class_rows = lambda labels: torch.full((len(labels), 2), float("nan"))  # type: ignore[method-assign]
    with pytest.raises(InputError, match="class activation maps are not finite"):
        made("class_activation").boxes(SPOTS, network, torch.Generator())


def test_artifacts_are_worn_more_often_with_every_refresh() -> None:
    from cimbench.methods.compression.compressor import ArtifactParameters

    images = ImageStore.from_images(list(textured_images(400, 16, 16, 0)), [0] * 400)
    compressor = made("full", artifacts=ArtifactParameters(step=0.25, refresh_epochs=2))
    artifacts = Artifacts(images, compressor, compressor.augmentation_compressor.format(RAW), torch.Generator(), 16)
    found = compressed(images, compressor, BrightSpots(), compressor.format(RAW), torch.Generator())
    shown = found.exemplars.images().resized(16)
    plain, order = images.resized(16), torch.randperm(400, generator=torch.Generator().manual_seed(0))
    shares = []
    for epoch in range(6):
        artifacts.before_epoch(epoch, BrightSpots())
        artifacts.draw_augmented(torch.Generator().manual_seed(epoch))
        dressed = artifacts.apply(plain[order], order)
        worn = (dressed == shown[order]).flatten(1).all(1)
        assert torch.equal(dressed[~worn], plain[order][~worn])
        shares.append(float(worn.float().mean()))
    assert shares[:2] == [0, 0]
    assert shares[2:] == pytest.approx([0.25, 0.25, 0.5, 0.5], abs=0.08)


def test_artifacts_alone_are_worn_and_not_stored() -> None:
    """Row 2: exemplars are the images; what new images are shown as is what class activation would leave of them."""
    images = ImageStore.from_images([spot(5, 2, 250, 10), spot(9, 7, 240, 20)], [0, 0])
    given = {"ratio": 4.0, "threshold": 0.5}
    alone, network = made("artifacts_only", **given), BrightSpots()
    stored = compressed(images, alone, network, alone.format(RAW), torch.Generator()).exemplars
    assert torch.equal(stored.images().pixels.bytes, images.pixels.bytes)
    plain = made("class_activation", **given)
    expected = compressed(images, plain, network, plain.format(RAW), torch.Generator()).exemplars
    worn = Artifacts(images, alone, alone.augmentation_compressor.format(RAW), torch.Generator(), 16)
    worn.before_epoch(alone.artifacts.refresh_epochs, network)
    worn.chosen = torch.ones(2, dtype=torch.bool)
    both = torch.arange(2)
    assert torch.equal(worn.apply(images.resized(16), both), expected.batch(both, 16))
    assert not torch.equal(worn.compressed_pixels, stored.batch(both, 16))


@pytest.mark.usefixtures("workspace")
@pytest.mark.parametrize("name", COMPRESSORS)
def test_every_compressor_keeps_its_promises_on_pictures_of_unequal_sizes(name: str) -> None:
    """The requirements of `cimbench check` that need no cell; test_contract.py has those of cells."""
    checked = subject(name, {})
    for words, requirement in REQUIREMENTS["compressor"][:4]:
        requirement(checked)
        assert words
