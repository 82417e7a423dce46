"""Class activation maps and boxes against the reference's own output (golden README 2)."""

from collections.abc import Callable

import numpy as np
import pytest
import torch

from cimbench.methods.compression.boxes import (
    cam_boxes,
    class_activation_maps,
    mask_boxes,
    normalised_maps,
    resized_maps,
)

Golden = Callable[[str], dict[str, np.ndarray]]


@pytest.mark.parametrize("name", ["bbox_single", "bbox_multi", "bbox_negative"])
def test_maps_and_boxes(golden: Golden, name: str) -> None:
    data = golden(name)
    maps, rows = torch.from_numpy(data["fmaps"]), torch.from_numpy(data["fc_weight"])[data["targets"]]
    cam = class_activation_maps(maps, rows)
    np.testing.assert_allclose(cam.numpy(), data["cam_raw"], rtol=0, atol=5e-5)
    np.testing.assert_allclose(normalised_maps(cam).numpy(), data["cam_norm"], rtol=0, atol=1e-4)
    for i, (height, width) in enumerate(data["original_sizes"].tolist()):
        resized = resized_maps(normalised_maps(cam[i : i + 1]), height, width)
        if f"cam_resized_{i}" in data:
            np.testing.assert_allclose(resized[0].numpy(), data[f"cam_resized_{i}"], rtol=0, atol=1e-4)
        for k, threshold in enumerate(data["taus"].tolist()):
            assert abs(int((resized > threshold).sum()) - int(data["mask_area"][k, i])) <= 2
            boxes, constant = cam_boxes(maps[i : i + 1], rows[i : i + 1], height, width, threshold)
            y0, y1, x0, x1 = data["bbox"][k, i].tolist()
            assert boxes[0].tolist() == [x0, y0, x1, y1]
            assert not bool(constant[0])


def test_edge_maps_and_the_constant_one(golden: Golden) -> None:
    """The reference turns a constant map into 0/0 and an empty box; here it keeps the image and is counted (C21)."""
    data = golden("bbox_edge")
    maps, rows = torch.from_numpy(data["fmaps"]), torch.from_numpy(data["fc_weight"])[data["targets"]]
    expected = torch.from_numpy(data["bbox"])[:, :, [2, 0, 3, 1]]
    for k, threshold in enumerate(data["taus"].tolist()):
        for i, (height, width) in enumerate(data["original_sizes"].tolist()):
            boxes, constant = cam_boxes(maps[i : i + 1], rows[i : i + 1], height, width, threshold)
            if np.isnan(data["cam_norm"][i]).all():
                assert bool(constant[0])
                assert boxes[0].tolist() == [0, 0, width, height]
                assert expected[k, i].tolist() == [0, 0, 0, 0]
            else:
                assert boxes[0].tolist() == expected[k, i].tolist()
                assert not bool(constant[0])


def test_tight_boxes_against_a_slow_search() -> None:
    masks = torch.rand(200, 7, 9, generator=torch.Generator().manual_seed(0)) > 0.93
    for mask, box in zip(masks.numpy(), mask_boxes(masks).tolist(), strict=True):
        ys, xs = np.nonzero(mask)
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(ys) else [0, 0, 0, 0]
        assert box == expected
