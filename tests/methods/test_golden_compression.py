"""Compressed images, index maps and costs against the reference codes' own output: exact (golden README 1)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cimbench.methods.compression.boxes import area_shares
from cimbench.methods.compression.compressor import costs_in_paper_units, reconstructed
from cimbench.methods.compression.resampling import down_and_up, nearest_index, resized_nearest, small_side

Golden = Callable[[str], dict[str, np.ndarray]]


def xyxy(boxes: np.ndarray) -> torch.Tensor:
    """The golden files' (y0, y1, x0, x1) as XYXY."""
    return torch.from_numpy(np.atleast_2d(boxes)[:, [2, 0, 3, 1]])


def nchw(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None]


@pytest.mark.parametrize("name", ["compress_02", "compress_03", "compress_05"])
def test_images_and_costs(golden: Golden, name: str) -> None:
    data = golden(name)
    image, box = nchw(data["image"]), xyxy(data["bbox"])
    height, width = image.shape[-2:]
    for k, ratio in enumerate(data["etas"].tolist()):
        low = data[f"low_eta{int(ratio)}"]
        assert [small_side(height, ratio), small_side(width, ratio)] == data["low_size"][k].tolist()
        np.testing.assert_array_equal(resized_nearest(image, *low.shape[:2])[0].permute(1, 2, 0).numpy(), low)
        shown = reconstructed(image, box, ratio)[0].permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(shown, data[f"out_eta{int(ratio)}"])
        cost = costs_in_paper_units(box, height, width, ratio)
        np.testing.assert_allclose(cost.numpy(), data["compress_rate"][k], rtol=0, atol=1e-15)


def test_boxes_at_the_edges(golden: Golden) -> None:
    data = golden("compress_edge")
    boxes = xyxy(data["bboxes"])
    images = nchw(data["image"]).expand(len(boxes), -1, -1, -1)
    height, width = images.shape[-2:]
    for k, ratio in enumerate(data["etas"].tolist()):
        shown = reconstructed(images, boxes, ratio).permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(shown, data["out"][:, k])
        cost = costs_in_paper_units(boxes, height, width, ratio).numpy()
        np.testing.assert_allclose(cost, data["compress_rate"][:, k], rtol=0, atol=1e-15)


def test_nearest_indices_are_pillows(golden: Golden) -> None:
    data = golden("nearest_index")
    down, up = 0, 0
    for n, m in zip(data["n"].tolist(), data["m"].tolist(), strict=True):
        np.testing.assert_array_equal(nearest_index(n, m).numpy(), data["down_index"][down : down + m])
        np.testing.assert_array_equal(nearest_index(m, n).numpy(), data["up_index"][up : up + n])
        down, up = down + m, up + n
    assert down == len(data["down_index"])


def test_one_gather_equals_down_then_up() -> None:
    image = torch.randint(0, 256, (2, 3, 37, 50), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    small = resized_nearest(image, small_side(37, 7.3), small_side(50, 7.3))
    assert torch.equal(down_and_up(image, 7.3), resized_nearest(small, 37, 50))


def test_area_share_by_hand() -> None:
    assert area_shares(torch.tensor([[1, 2, 5, 4], [0, 0, 10, 8], [3, 3, 3, 3]]), 8, 10).tolist() == [0.1, 1.0, 0.0]
