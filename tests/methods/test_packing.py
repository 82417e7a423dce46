"""Images to bytes and back, over sizes, boxes, ratios and codecs: properties, against Pillow and bytes read by hand."""

from __future__ import annotations

import io
import struct
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch.nn import functional

from cimbench.datasets.errors import InputError
from cimbench.datasets.preparing.decode import decode_rgb
from cimbench.methods.compression.boxes.boxes import area_shares, whole_image_boxes
from cimbench.methods.compression.exemplars.codecs import Codec
from cimbench.methods.compression.exemplars.exemplar import HEADER_BYTES, Format, costs_in_paper_units, headers_for
from cimbench.methods.compression.exemplars.packing import pack, reconstructed
from cimbench.methods.compression.exemplars.store import ExemplarStore
from tests.conftest import textured_images
from tests.methods.box_cases import RATIOS, cases, small_side


def by_pillow(image: torch.Tensor, box: list[int], ratio: float, inner_ratio: float = 1.0) -> torch.Tensor:
    """The same by Pillow's own NEAREST."""
    picture = Image.fromarray(image.permute(1, 2, 0).numpy())
    width, height = picture.size
    small = picture.resize((small_side(width, ratio), small_side(height, ratio)), Image.Resampling.NEAREST)
    shown = small.resize((width, height), Image.Resampling.NEAREST)
    x0, y0, x1, y1 = box
    if x1 > x0 and y1 > y0:
        crop = picture.crop((x0, y0, x1, y1))
        inner = (small_side(x1 - x0, inner_ratio), small_side(y1 - y0, inner_ratio))
        crop = crop.resize(inner, Image.Resampling.NEAREST).resize((x1 - x0, y1 - y0), Image.Resampling.NEAREST)
        shown.paste(crop, (x0, y0))
    return torch.from_numpy(np.array(shown)).permute(2, 0, 1)


@settings(max_examples=600, deadline=None)
@given(case=cases(), ratio=RATIOS, inner=st.sampled_from([1.0, 1.5, 4.0]), seed=st.integers(0, 9))
def test_raw_bytes_are_pillows_pixels(
    case: tuple[tuple[int, int], list[int]], ratio: float, inner: float, seed: int
) -> None:
    (height, width), box = case
    image = textured_images(1, height, width, seed)
    form = Format(ratio=ratio, inner_ratio=inner)
    packed = pack(image, torch.tensor([box]), torch.tensor([70000 + seed]), form)
    store = ExemplarStore.from_packed(packed, form)
    assert torch.equal(store.images().image(0), by_pillow(image[0], box, ratio, inner))
    content = packed.buffer.numpy().tobytes()
    fields = struct.unpack("<10H3I", content[:32])
    assert fields[:2] == (height, width)
    assert list(fields[6:10]) == box
    assert fields[10] == 70000 + seed
    assert len(content) == 32 + fields[11] + fields[12]
    assert store.labels.tolist() == [70000 + seed]


@settings(max_examples=100, deadline=None)
@given(case=cases(), ratio=RATIOS)
def test_the_better_resampling_is_smooth_outside_and_exact_inside(
    case: tuple[tuple[int, int], list[int]], ratio: float
) -> None:
    (height, width), (x0, y0, x1, y1) = case
    image = textured_images(1, height, width, 0)
    form = Format(ratio=ratio, resampling="area_bilinear")
    shown = reconstructed(image, torch.tensor([[x0, y0, x1, y1]]), form)[0]
    assert torch.equal(shown[:, y0:y1, x0:x1], image[0, :, y0:y1, x0:x1])
    flat = torch.full_like(image, 137)
    assert torch.equal(reconstructed(flat, torch.tensor([[x0, y0, x1, y1]]), form), flat)


def test_area_and_bilinear_by_hand() -> None:
    """4 x 4 to 2 x 2 by means, and back by thirds and quarters: (3 a + b) / 4 at the inner pixels."""
    image = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    image[:, :, :, 2:] = 200
    image[:, :, 0, 2:] = 100  # the mean of its block is 150
    shown = reconstructed(image, torch.zeros(1, 4, dtype=torch.int64), Format(ratio=4.0, resampling="area_bilinear"))
    assert shown[0, 0, 0].tolist() == [0, 38, 112, 150]
    assert shown[0, 0, 3].tolist() == [0, 50, 150, 200]
    assert shown[0, 0, 1].tolist() == [0, 41, 122, 162]  # rows 0 and 1 of the small image, 3 to 1


@settings(max_examples=150, deadline=None)
@given(case=cases(), ratio=RATIOS, name=st.sampled_from(["jpeg", "webp", "avif"]), quality=st.integers(1, 100))
def test_coded_parts_are_ordinary_pictures(
    case: tuple[tuple[int, int], list[int]], ratio: float, name: str, quality: int
) -> None:
    (height, width), box = case
    image = textured_images(1, height, width, 0)
    form = Format(ratio=ratio, codec=Codec(name=name, quality=quality))
    packed = pack(image, torch.tensor([box]), torch.tensor([3]), form)
    content = packed.buffer.numpy().tobytes()
    fields = struct.unpack("<10H3I", content[:32])
    crop, small = content[32 : 32 + fields[11]], content[32 + fields[11] :]
    assert len(small) == fields[12]
    x0, y0, x1, y1 = box
    whole, empty = (x1 - x0) * (y1 - y0) == height * width, x0 == x1 or y0 == y1
    assert (len(small) == 0, len(crop) == 0) == (whole, empty)
    shown = ExemplarStore.from_packed(packed, form).images().image(0)
    if small:
        picture = Image.open(io.BytesIO(form.codec.picture(np.frombuffer(small, np.uint8), *fields[2:4])))
        assert picture.format == name.upper()
        assert picture.size == (small_side(width, ratio), small_side(height, ratio)) == fields[3:1:-1]
    if crop:
        content_of_file = form.codec.picture(np.frombuffer(crop, np.uint8), *fields[4:6])
        picture = Image.open(io.BytesIO(content_of_file)).convert("RGB")
        inside = torch.from_numpy(np.array(picture)).permute(2, 0, 1)
        assert (
            int((shown[:, y0:y1, x0:x1].int() - inside.int()).abs().max()) <= 2
        )  # decoders round chroma alike, nearly


@settings(max_examples=300, deadline=None)
@given(case=cases(), ratio=RATIOS, more=st.floats(1.01, 20))
def test_cost_falls_as_eta_grows(case: tuple[tuple[int, int], list[int]], ratio: float, more: float) -> None:
    size, box = case
    sizes, boxes = torch.tensor([size]), torch.tensor([box])
    one, other = Format(ratio=ratio), Format(ratio=ratio * more)
    whole = float(area_shares(boxes, sizes)) == 1
    paper = [float(costs_in_paper_units(boxes, sizes, form)) for form in (one, other)]
    assert paper[0] == paper[1] == 1 if whole else paper[0] > paper[1]
    raw = [int(headers_for(sizes, boxes, torch.tensor([0]), form).lengths) for form in (one, other)]
    nothing_kept = float(area_shares(boxes, sizes)) == 0  # beside a box a coarser grid may have more pixels at its edge
    smaller = any(small_side(side, ratio * more) < small_side(side, ratio) for side in size)
    assert raw[0] > raw[1] if smaller and nothing_kept else raw[0] == raw[1] or not whole
    assert float(costs_in_paper_units(whole_image_boxes(sizes), sizes, one)) == 1


@settings(max_examples=60, deadline=None)
@given(mode=st.sampled_from(["L", "CMYK", "1", "P", "RGBA"]), size=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_pictures_of_any_colour_model_are_stored_as_rgb(mode: str, size: tuple[int, int]) -> None:
    pixels = np.random.RandomState(size[0]).randint(0, 256, (*size, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    file = io.BytesIO()
    picture.save(file, "TIFF" if mode == "CMYK" else "PNG")
    image = decode_rgb(file.getvalue())
    expected = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
    whole = whole_image_boxes(torch.tensor([size]))
    assert torch.equal(reconstructed(image[None], whole, Format(ratio=4.0))[0], expected)


def test_lengths_by_hand() -> None:
    # 10 x 8 pixels: box of 4 x 3, whole, empty; small image of 5 x 4, of which the box hides one pixel, (1, 1)
    boxes = torch.tensor([[1, 2, 5, 5], [0, 0, 10, 8], [0, 0, 0, 0]])
    packed = pack(textured_images(3, 8, 10, 0), boxes, torch.arange(3), Format(ratio=4.0))
    assert packed.headers.lengths.tolist() == [32 + 3 * (12 + 19), 32 + 3 * 80, 32 + 3 * 20]
    assert len(packed.buffer) == 3 * 32 + 3 * (12 + 19 + 80 + 20)
    assert HEADER_BYTES == 32


def test_threads_do_not_change_the_bytes() -> None:
    images, labels = textured_images(40, 120, 130, 0), torch.arange(40)
    boxes = torch.tensor([[i, 2 * i, 60 + i, 90 + i // 2] for i in range(40)]).clamp(max=120)
    kinds = [Format(ratio=4.0), Format(ratio=3.0, inner_ratio=1.5), Format(ratio=4.0, codec=Codec(name="jpeg"))]
    for form in kinds:
        one = pack(images, boxes, labels, form).buffer, reconstructed(images, boxes, form)
        torch.set_num_threads(3)
        try:
            many = pack(images, boxes, labels, form).buffer, reconstructed(images, boxes, form)
        finally:
            torch.set_num_threads(1)
        assert torch.equal(one[0], many[0])
        assert torch.equal(one[1], many[1])


GOOD: dict[str, Any] = {
    "images": torch.zeros(2, 3, 8, 8, dtype=torch.uint8),
    "boxes": torch.zeros(2, 4, dtype=torch.int64),
    "labels": torch.zeros(2, dtype=torch.int64),
}
BAD = [
    ({"images": torch.zeros(2, 3, 8, 8)}, r"images are torch.float32 \(2, 3, 8, 8\); give \(B, 3, H, W\) uint8"),
    ({"images": torch.zeros(3, 8, 8, dtype=torch.uint8)}, r"images are torch.uint8 \(3, 8, 8\)"),
    ({"images": torch.zeros(2, 1, 8, 8, dtype=torch.uint8)}, r"\(2, 1, 8, 8\); give \(B, 3, H, W\)"),
    ({"images": torch.zeros(2, 3, 0, 8, dtype=torch.uint8)}, r"\(2, 3, 0, 8\); give \(B, 3, H, W\)"),
    (
        {"images": torch.zeros(2, 3, 1, 65536, dtype=torch.uint8)},
        "an image has a side of 65536 pixels: at most 65535; reduce it first",
    ),
    ({"boxes": torch.tensor([[0, 0, 1, 1], [4, 4, 12, 12]])}, r"box \(4, 4, 12, 12\) of image 1 does not lie in"),
    ({"boxes": torch.tensor([[-1, 0, 3, 3], [0, 0, 1, 1]])}, r"box \(-1, 0, 3, 3\) of image 0 does not lie in"),
    (
        {"boxes": torch.tensor([[5, 0, 3, 3], [0, 0, 1, 1]])},
        r"box \(5, 0, 3, 3\) of image 0 .* 8 x 8 pixels; give XYXY",
    ),
    ({"boxes": torch.zeros(2, 4)}, r"boxes are torch.float32 \(2, 4\); give \(2, 4\) whole numbers"),
    ({"boxes": torch.zeros(1, 4, dtype=torch.int64)}, r"boxes are torch.int64 \(1, 4\); give \(2, 4\)"),
    ({"labels": torch.tensor([0, -1])}, r"labels are -1 to 0; give 0 to 4294967295"),
    ({"labels": torch.tensor([0, 2**32])}, r"labels are 0 to 4294967296; give 0 to 4294967295"),
    ({"labels": torch.zeros(2)}, r"labels are torch.float32 \(2,\); give \(2,\) whole numbers"),
]


@pytest.mark.parametrize(("changes", "message"), BAD)
def test_wrong_input_is_named(changes: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(InputError, match=message):
        pack(**{**GOOD, **changes}, form=Format(ratio=4.0))


def test_a_compressed_inside_is_resampled_as_the_rest_is() -> None:
    image = textured_images(1, 40, 40, 0)
    form = Format(ratio=4.0, inner_ratio=4.0, resampling="area_bilinear")
    shown = reconstructed(image, torch.tensor([[4, 8, 24, 28]]), form)[0, :, 8:28, 4:24].float()
    small = functional.interpolate(image[:, :, 8:28, 4:24].float(), size=(10, 10), mode="area").round()
    expected = functional.interpolate(small, size=(20, 20), mode="bilinear", align_corners=False)[0]
    assert float((shown - expected).abs().max()) <= 0.5


def test_a_codec_that_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cimbench.methods.compression.exemplars.codecs.features.check", lambda _: False)
    with pytest.raises(InputError, match="webp is not in this machine's Pillow; install one with WebP, or choose jpeg"):
        Codec(name="webp")
    with pytest.raises(InputError, match="codec is 'gif'"):
        Codec(name="gif")


def test_webp_has_a_longest_side() -> None:
    image = torch.zeros(1, 3, 1, 16384, dtype=torch.uint8)
    with pytest.raises(InputError, match="webp takes sides up to 16383; reduce the images"):
        pack(image, torch.tensor([[0, 0, 16384, 1]]), torch.tensor([0]), Format(ratio=4.0, codec=Codec(name="webp")))
