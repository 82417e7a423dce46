"""Pixels of the small image under the box: which they are, by Pillow; none is stored; what they cost coded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cimbench.datasets.errors import InputError
from cimbench.methods.compression.exemplars import raw
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import Format, costs_in_paper_units
from cimbench.methods.compression.exemplars.hidden import flattened
from cimbench.methods.compression.exemplars.packing import pack, reconstructed
from cimbench.methods.compression.exemplars.store import ExemplarStore
from tests.conftest import textured_images
from tests.methods.box_cases import RATIOS, cases, read_by_pillow, small_side

Case = tuple[tuple[int, int], list[int]]


@settings(max_examples=1000, deadline=None)
@given(case=cases(), ratio=RATIOS)
def test_what_is_stored_is_what_pillow_shows_outside_the_box(case: Case, ratio: float) -> None:
    size, (x0, y0, x1, y1) = case
    image = textured_images(1, *size, 0)
    packed = pack(image, torch.tensor([[x0, y0, x1, y1]]), torch.tensor([0]), Format(ratio=ratio))
    small = small_side(size[0], ratio), small_side(size[1], ratio)
    picture = Image.fromarray(image[0].permute(1, 2, 0).numpy()).resize(small[::-1], Image.Resampling.NEAREST)
    read = read_by_pillow(size, small, [x0, y0, x1, y1])
    expected = np.array(picture).transpose(2, 0, 1)[:, read].tobytes()
    crop = image[0, :, y0:y1, x0:x1].numpy().tobytes()
    assert packed.buffer.numpy().tobytes()[32:] == crop + expected


class Garbage:
    """Stands in for NumPy: fresh memory is full of other numbers each time."""

    def __init__(self) -> None:
        self.random = np.random.RandomState(0)

    def empty(self, shape: Any, dtype: Any) -> Any:
        return self.random.randint(0, 256, shape).astype(dtype)

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)


@pytest.fixture(scope="module")
def garbage() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(raw, "np", Garbage())
        yield


@settings(max_examples=1000, deadline=None)
@given(
    case=cases(),
    ratio=RATIOS,
    resampling=st.sampled_from(["nearest", "area_bilinear"]),
    inner=st.sampled_from([1.0, 2.0]),
)
def test_decoding_uses_no_pixel_that_was_not_stored(
    garbage: None,  # noqa: ARG001
    case: Case,
    ratio: float,
    resampling: str,
    inner: float,
) -> None:
    size, box = case
    form = Format(ratio=ratio, resampling=resampling, inner_ratio=inner)
    packed = pack(textured_images(1, *size, 3), torch.tensor([box]), torch.tensor([0]), form)
    store = ExemplarStore.from_packed(packed, form)
    first, second = (store.decoded(torch.tensor([0])) for _ in range(2))
    assert torch.equal(first, second)


@settings(max_examples=300, deadline=None)
@given(case=cases(), ratio=RATIOS)
def test_smooth_pixels_are_those_of_the_whole_small_image(case: Case, ratio: float) -> None:
    """By torch, from a small image that is stored whole: an empty box."""
    size, (x0, y0, x1, y1) = case
    image, form = textured_images(1, *size, 5), Format(ratio=ratio, resampling="area_bilinear")
    shown = reconstructed(image, torch.tensor([[x0, y0, x1, y1]]), form)
    expected = reconstructed(image, torch.zeros(1, 4, dtype=torch.int64), form)
    expected[:, :, y0:y1, x0:x1] = image[:, :, y0:y1, x0:x1]
    assert torch.equal(shown, expected)


def test_raw_bytes_are_paper_units_but_for_the_header() -> None:
    """Boxes on the small image's grid: (|B| + (1 - |B|) / eta) H W 3 and the header."""
    boxes = torch.tensor([[0, 0, 32, 32], [8, 4, 40, 60], [0, 0, 64, 64], [0, 0, 0, 0], [2, 2, 4, 64]])
    form = Format(ratio=4.0)
    packed = pack(textured_images(5, 64, 64, 0), boxes, torch.arange(5), form)
    units = costs_in_paper_units(boxes, torch.tensor([[64, 64]]).expand(5, 2), form)
    assert packed.headers.lengths.tolist() == [32 + round(64 * 64 * 3 * unit) for unit in units.tolist()]


def plainly_flattened(small: np.ndarray, hidden: tuple[int, int, int, int], block: int) -> np.ndarray:
    """Block after block, of those that hold the rectangle and a pixel on each side of it."""
    filled, (_, height, width) = small.copy(), small.shape
    read = np.ones((height, width), dtype=bool)
    read[hidden[1] : hidden[3], hidden[0] : hidden[2]] = False
    waiting, colour = [], None
    for top in range(max(0, hidden[1] - 1) // block * block, min(height, hidden[3] + 1), block):
        for left in range(max(0, hidden[0] - 1) // block * block, min(width, hidden[2] + 1), block):
            part = np.s_[:, top : top + block, left : left + block]
            inside = read[part[1:]]
            if inside.any():
                colour = np.rint(small[part][:, inside].mean(1)).astype(np.uint8)
            if colour is None:
                waiting.append(part)
                continue
            for each in [*waiting, part]:
                filled[each][:, ~read[each[1:]]] = colour[:, None]
            waiting = []
    return filled


@settings(max_examples=200, deadline=None)
@given(data=st.data(), height=st.integers(1, 40), width=st.integers(1, 40), codec=st.sampled_from(["jpeg", "avif"]))
def test_hidden_pixels_have_the_colour_of_their_block(data: st.DataObject, height: int, width: int, codec: str) -> None:
    x0, x1 = sorted((data.draw(st.integers(0, width)), data.draw(st.integers(0, width))))
    y0, y1 = sorted((data.draw(st.integers(0, height)), data.draw(st.integers(0, height))))
    if (x1 - x0) * (y1 - y0) in (0, height * width):
        return
    small = textured_images(1, height, width, 1)[0].numpy()
    expected = plainly_flattened(small, (x0, y0, x1, y1), 8 if codec == "jpeg" else 40)
    np.testing.assert_array_equal(flattened(small, (x0, y0, x1, y1), codec), expected)


@pytest.mark.parametrize("name", ["jpeg", "webp", "avif"])
def test_a_hidden_part_costs_nearly_nothing_when_coded(name: str) -> None:
    """A small image of noise, half of it hidden, takes little more than half of its bytes."""
    noise = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    form = Format(ratio=4.0, codec=Codec(name=name))
    boxes = torch.tensor([[[0, 0, 0, 0]], [[0, 0, 128, 256]]])
    whole, half = (int(pack(noise, box, torch.tensor([0]), form).headers.field("small_bytes")) for box in boxes)
    assert half < 0.53 * whole


def test_a_part_that_is_none_is_told() -> None:
    codec = Codec(name="avif")
    for part in (torch.zeros(3, 8, 8), torch.full((3, 8, 8), float("nan")), torch.zeros(1, 8, 8, dtype=torch.uint8)):
        with pytest.raises(InputError, match=r"a part is torch.* 8, 8\); give \(3, h, w\) uint8"):
            codec.encode(part)
    for name in ("raw", "jpeg", "webp", "avif"):
        with pytest.raises(InputError, match=f"0 bytes are no {name} picture of 8 x 9 pixels"):
            Codec(name=name).decode(np.empty(0, dtype=np.uint8), 8, 9)
    with pytest.raises(InputError, match="7 bytes are no raw picture of 1 x 2 pixels"):
        Codec().decode(np.zeros(7, dtype=np.uint8), 1, 2)
    with pytest.raises(InputError, match="all 4 x 8 pixels of a small image are hidden"):
        flattened(np.zeros((3, 8, 4), dtype=np.uint8), (0, 0, 4, 8), "jpeg")
