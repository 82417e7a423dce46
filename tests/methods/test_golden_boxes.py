"""Class activation maps and boxes against the reference's own output (golden README 2)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch.nn import functional
from torchvision.ops import box_iou

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.boxes.activation import boxes_of_maps, class_activation_maps, normalised_maps
from cimbench.methods.compression.boxes.boxes import overlap
from cimbench.methods.compression.boxes.interpolation import interpolation_matrix
from tests.conftest import DEVICES

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", ["bbox_single", "bbox_multi", "bbox_negative"])
def test_maps_and_boxes(golden: Golden, name: str, device: str) -> None:
    data = golden(name)
    maps, rows = torch.from_numpy(data["fmaps"]), torch.from_numpy(data["fc_weight"])[data["targets"]]
    cam = class_activation_maps(maps.to(device), rows.to(device))
    np.testing.assert_allclose(cam.cpu().numpy(), data["cam_raw"], rtol=0, atol=5e-5)
    normalised = normalised_maps(cam).cpu()
    np.testing.assert_allclose(normalised.numpy(), data["cam_norm"], rtol=0, atol=1e-4)
    sizes = torch.from_numpy(data["original_sizes"])
    for i, (height, width) in enumerate(sizes.tolist()):
        resized = interpolation_matrix(7, height).T @ normalised[i] @ interpolation_matrix(7, width)
        if f"cam_resized_{i}" in data:
            np.testing.assert_allclose(resized.numpy(), data[f"cam_resized_{i}"], rtol=0, atol=1e-4)
        for k, threshold in enumerate(data["taus"].tolist()):
            assert abs(int((resized > threshold).sum()) - int(data["mask_area"][k, i])) <= 2
            found = boxes_of_maps(cam[i : i + 1], sizes[i : i + 1], threshold)
            y0, y1, x0, x1 = data["bbox"][k, i].tolist()
            assert found.xyxy[0].tolist() == [x0, y0, x1, y1]
            assert not bool(found.stored_whole[0])


@pytest.mark.parametrize("device", DEVICES)
def test_edge_maps_and_the_constant_one(golden: Golden, device: str) -> None:
    """The reference turns a constant map into 0/0 and an empty box; here it keeps the image and is counted (C21)."""
    data = golden("bbox_edge")
    maps, rows = torch.from_numpy(data["fmaps"]), torch.from_numpy(data["fc_weight"])[data["targets"]]
    cam = class_activation_maps(maps.to(device), rows.to(device))
    expected = torch.from_numpy(data["bbox"])[:, :, [2, 0, 3, 1]]
    sizes = torch.from_numpy(data["original_sizes"])
    for k, threshold in enumerate(data["taus"].tolist()):
        for i, (height, width) in enumerate(sizes.tolist()):
            found = boxes_of_maps(cam[i : i + 1], sizes[i : i + 1], threshold)
            if np.isnan(data["cam_norm"][i]).all():
                assert bool(found.stored_whole[0])
                assert found.xyxy[0].tolist() == [0, 0, width, height]
                assert expected[k, i].tolist() == [0, 0, 0, 0]
            else:
                assert found.xyxy[0].tolist() == expected[k, i].tolist()
                assert not bool(found.stored_whole[0])


def slow_box(cam: torch.Tensor, height: int, width: int, threshold: float) -> list[int]:
    """The paper word by word: the map at the image's size, the mask, the rectangle around it."""
    normalised = (cam - cam.min()) / (cam.max() - cam.min())
    enlarged = functional.interpolate(normalised[None, None], size=(height, width), mode="bilinear")[0, 0]
    ys, xs = np.nonzero((enlarged > threshold).numpy())
    return [int(v) for v in (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)] if len(ys) else [0, 0, 0, 0]


SIZES = [(224, 224), (64, 64), (97, 131), (7, 7), (3, 200), (200, 3), (1, 1), (5, 4)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("sizes", [*([size] for size in SIZES), SIZES], ids=str)
def test_boxes_without_a_mask_are_the_masks_boxes(sizes: list[tuple[int, int]], device: str) -> None:
    """One size, and all of them in one batch."""
    random = torch.Generator().manual_seed(sizes[0][0])
    each = [sizes[i % len(sizes)] for i in range(40)]
    for cells in ((7, 7), (2, 2), (4, 9), (1, 1)):
        cams = torch.randn(40, *cells, generator=random)
        for threshold in (0.3, 0.6, 0.95):
            found = boxes_of_maps(cams.to(device), torch.tensor(each), threshold)
            for cam, size, box, whole in zip(cams, each, found.xyxy.tolist(), found.stored_whole.tolist(), strict=True):
                assert whole == (cells == (1, 1))
                assert box == ([0, 0, size[1], size[0]] if whole else slow_box(cam, *size, threshold))


@pytest.mark.parametrize("threshold", [1.0, -0.2, float("nan")])
def test_thresholds_that_box_nothing_or_all_are_refused(threshold: float) -> None:
    with pytest.raises(InputError, match=r"threshold is .*; give 0 or more, less than 1"):
        boxes_of_maps(torch.rand(2, 7, 7), torch.tensor([[8, 8], [8, 8]]), threshold)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -3e38])
def test_maps_that_are_not_finite_are_no_constant_maps(value: float) -> None:
    cam = torch.rand(2, 7, 7)
    cam[1, 3, 3], cam[1, 0, 0] = value, 3e38  # -3e38 to 3e38 is more than a float32 holds
    with pytest.raises(InputError, match="class activation maps are not finite"):
        boxes_of_maps(cam, torch.tensor([[8, 8], [8, 8]]), 0.5)


def test_overlap_by_hand_and_by_torchvision() -> None:
    boxes = torch.tensor([[0, 0, 4, 4], [0, 0, 4, 4], [2, 1, 6, 9], [0, 0, 0, 0], [0, 0, 2, 2]])
    others = torch.tensor([[0, 0, 4, 4], [2, 2, 6, 6], [0, 0, 7, 5], [0, 0, 0, 0], [3, 3, 5, 5]])
    found = overlap(boxes, others)
    torch.testing.assert_close(found, torch.tensor([1.0, 4 / 28, 16 / 51, 0.0, 0.0]))
    expected = box_iou(boxes[:3].float(), others[:3].float()).diagonal()
    torch.testing.assert_close(found[:3], expected)
