"""What each compressor keeps, against hand-worked boxes and a network whose maps are known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.class_activation import ClassActivation, ClassActivationParameters
from cimbench.methods.compression.compressor import costs_in_paper_units, reconstructed
from cimbench.methods.compression.full import Full, FullParameters
from cimbench.methods.compression.none import NoCompression, NoneParameters
from cimbench.methods.compression.resampling import down_and_up
from cimbench.methods.networks.network import Network, NetworkParameters, Output
from tests.conftest import textured_images


class BrightSpots(Network):
    """Two maps: where the picture is bright, which class 0 looks at, and where it is dark, which class 1 looks at."""

    def __init__(self) -> None:
        values = NetworkParameters(architecture="resnet8", stem="small", width=2, input_side=16)
        super().__init__(values, torch.Generator().manual_seed(0))

    def forward(self, images: Tensor) -> Output:
        bright = images.mean(1, keepdim=True)
        maps = torch.cat([bright, -bright], 1)
        return Output(maps.mean((2, 3)), maps.mean((2, 3)), maps)

    def class_rows(self, labels: Tensor) -> Tensor:
        return torch.eye(2)[labels]


def spot(x: int, y: int, colour: int, ground: int) -> Tensor:
    image = torch.full((3, 16, 16), ground, dtype=torch.uint8)
    image[:, y : y + 3, x : x + 4] = colour
    return image


def test_class_activation_boxes_what_the_labels_class_looks_at() -> None:
    images = torch.stack([spot(5, 2, 250, 10), spot(9, 12, 5, 240), torch.full((3, 16, 16), 99, dtype=torch.uint8)])
    compressor = ClassActivation(ClassActivationParameters(ratio=4.0, threshold=0.5))
    found = compressor.boxes(images, torch.tensor([0, 1, 0]), BrightSpots())
    assert found.xyxy.tolist() == [[5, 2, 9, 5], [9, 12, 13, 15], [0, 0, 16, 16]]
    assert found.constant.tolist() == [False, False, True]
    # asked for the other class, the same network keeps the ground
    assert compressor.boxes(images[:1], torch.tensor([1]), BrightSpots()).xyxy.tolist() == [[0, 0, 16, 16]]


def test_class_activation_boxes_are_in_the_images_own_pixels() -> None:
    """The forward sees 16 x 16; the box is on the original, here three times as wide and twice as high."""
    large = spot(5, 2, 250, 10).repeat_interleave(2, 1).repeat_interleave(3, 2)
    compressor = ClassActivation(ClassActivationParameters(ratio=4.0, threshold=0.5))
    (box,) = compressor.boxes(large[None], torch.tensor([0]), BrightSpots()).xyxy.tolist()
    assert box == pytest.approx([15, 4, 27, 10], abs=1)


def test_full_and_none_are_the_two_ends() -> None:
    images, labels = textured_images(4, 20, 30, 0), torch.zeros(4, dtype=torch.int64)
    full = Full(FullParameters(ratio=4.0)).boxes(images, labels, BrightSpots()).xyxy
    none = NoCompression(NoneParameters()).boxes(images, labels, BrightSpots()).xyxy
    assert costs_in_paper_units(full, 20, 30, 4.0).tolist() == [0.25] * 4
    assert costs_in_paper_units(none, 20, 30, 1.0).tolist() == [1.0] * 4
    assert torch.equal(reconstructed(images, full, 4.0), down_and_up(images, 4.0))
    assert torch.equal(reconstructed(images, none, 4.0), images)


@pytest.mark.parametrize("ratio", [1.0, 0.5, -4.0])
def test_ratios_that_do_not_shrink_are_refused(ratio: float) -> None:
    for parameters in (FullParameters, ClassActivationParameters):
        with pytest.raises(InputError, match=rf"ratio is {ratio}; give more than 1"):
            parameters(ratio=ratio)
