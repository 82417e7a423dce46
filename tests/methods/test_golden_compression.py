"""Compressed images, index maps and costs against the reference codes' own output: exact (golden README 1)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cimbench.methods.compression.boxes.boxes import area_shares
from cimbench.methods.compression.exemplars.exemplar import Format, costs_in_paper_units
from cimbench.methods.compression.exemplars.packing import pack, reconstructed
from cimbench.methods.compression.exemplars.resampling import nearest_index
from cimbench.methods.compression.exemplars.store import ExemplarStore
from tests.conftest import DEVICES

Golden = Callable[[str], dict[str, np.ndarray]]


def xyxy(boxes: np.ndarray) -> torch.Tensor:
    """The golden files' (y0, y1, x0, x1) as XYXY."""
    return torch.from_numpy(np.atleast_2d(boxes)[:, [2, 0, 3, 1]])


def nchw(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)[None].contiguous()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("memory", ["planar", "channels last"])
@pytest.mark.parametrize("name", [f"compress_0{number}" for number in range(6)])
def test_images_parts_and_costs(golden: Golden, name: str, memory: str, device: str) -> None:
    data = golden(name)
    image, box = nchw(data["image"]).to(device), xyxy(data["bbox"])
    if memory == "channels last":
        image = image.to(memory_format=torch.channels_last)
    sizes = torch.tensor([image.shape[-2:]])
    x0, y0, x1, y1 = box[0].tolist()
    for k, ratio in enumerate(data["etas"].tolist()):
        form = Format(ratio=ratio)
        low = data[f"low_eta{int(ratio)}"]
        assert low.shape[:2] == tuple(data["low_size"][k].tolist())
        packed = pack(image, box, torch.tensor([7]), form)
        crop = data["image"][y0:y1, x0:x1].transpose(2, 0, 1).tobytes()
        hx0, hy0, hx1, hy1 = (int(packed.headers.field(f"hidden_{corner}")) for corner in ("x0", "y0", "x1", "y1"))
        read = np.ones(low.shape[:2], dtype=bool)
        read[hy0:hy1, hx0:hx1] = False  # which pixels these are: test_hidden_pixels.py
        assert packed.buffer.cpu().numpy().tobytes()[32:] == crop + low.transpose(2, 0, 1)[:, read].tobytes()
        shown = ExemplarStore.from_packed(packed, form).decoded(torch.tensor([0]))[0]
        np.testing.assert_array_equal(shown.cpu().permute(1, 2, 0).numpy(), data[f"out_eta{int(ratio)}"])
        cost = costs_in_paper_units(box, sizes, form)
        np.testing.assert_allclose(cost.numpy(), data["compress_rate"][k], rtol=0, atol=1e-15)


@pytest.mark.parametrize("device", DEVICES)
def test_boxes_at_the_edges(golden: Golden, device: str) -> None:
    data = golden("compress_edge")
    boxes = xyxy(data["bboxes"])
    images = nchw(data["image"]).to(device).expand(len(boxes), -1, -1, -1)
    sizes = torch.tensor([images.shape[-2:]]).expand(len(boxes), 2)
    for k, ratio in enumerate(data["etas"].tolist()):
        shown = reconstructed(images, boxes, Format(ratio=ratio)).cpu().permute(0, 2, 3, 1).numpy()
        np.testing.assert_array_equal(shown, data["out"][:, k])
        cost = costs_in_paper_units(boxes, sizes, Format(ratio=ratio)).numpy()
        np.testing.assert_allclose(cost, data["compress_rate"][:, k], rtol=0, atol=1e-15)


def test_nearest_indices_are_pillows(golden: Golden) -> None:
    data = golden("nearest_index")
    down, up = 0, 0
    for n, m in zip(data["n"].tolist(), data["m"].tolist(), strict=True):
        np.testing.assert_array_equal(nearest_index(n, m), data["down_index"][down : down + m])
        np.testing.assert_array_equal(nearest_index(m, n), data["up_index"][up : up + n])
        down, up = down + m, up + n
    assert down == len(data["down_index"])


def test_area_share_by_hand() -> None:
    sizes = torch.tensor([[8, 10]]).expand(3, 2)
    assert area_shares(torch.tensor([[1, 2, 5, 4], [0, 0, 10, 8], [3, 3, 3, 3]]), sizes).tolist() == [0.1, 1.0, 0.0]


def test_costs_with_a_compressed_inside_by_hand() -> None:
    box, sizes = torch.tensor([[0, 0, 5, 4]]), torch.tensor([[8, 10]])  # a quarter of the image
    cost = costs_in_paper_units(box, sizes, Format(ratio=4.0, inner_ratio=1.5))
    assert cost.tolist() == pytest.approx([0.25 / 1.5 + 0.75 / 4])
