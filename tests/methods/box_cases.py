"""Sizes, boxes and ratios of every kind, for properties of what is stored."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from PIL import Image

RATIOS = st.one_of(st.sampled_from([2.0, 4.0, 9.0, 16.0]), st.floats(1.01, 400))
SIDES = st.one_of(st.integers(1, 40), st.sampled_from([64, 97, 128]))
SIZES = st.one_of(st.tuples(SIDES, SIDES), st.sampled_from([(1, 1), (2000, 3), (3, 2000), (1, 300), (300, 1)]))


@st.composite
def cases(draw: st.DrawFn) -> tuple[tuple[int, int], list[int]]:
    """A size, and a box of any kind in it: empty, whole, one pixel, at an edge or anywhere; XYXY."""
    height, width = draw(SIZES)
    x0, x1 = sorted((draw(st.integers(0, width)), draw(st.integers(0, width))))
    y0, y1 = sorted((draw(st.integers(0, height)), draw(st.integers(0, height))))
    x, y = draw(st.integers(0, width - 1)), draw(st.integers(0, height - 1))
    kinds = [
        [x0, y0, x1, y1], [0, 0, 0, 0], [0, 0, width, height], [x, y, x + 1, y + 1],
        [0, y0, x1, y1], [x0, 0, x1, y1], [x0, y0, width, y1], [x0, y0, x1, height],
    ]  # fmt: skip
    return (height, width), draw(st.sampled_from(kinds))


def small_side(side: int, ratio: float) -> int:
    """CIM: int(side / sqrt(eta)); at least one pixel."""
    return max(1, int(side / ratio**0.5))


def read_by_pillow(size: tuple[int, int], small: tuple[int, int], box: list[int]) -> np.ndarray:
    """(h, w) bool: the pixels of the small image that are seen outside the box when Pillow enlarges it."""
    numbers = np.arange(small[0] * small[1], dtype=np.int32).reshape(small)
    shown = np.array(Image.fromarray(numbers, mode="I").resize(size[::-1], Image.Resampling.NEAREST))
    outside = np.ones(size, dtype=bool)
    outside[box[1] : box[3], box[0] : box[2]] = False
    return np.isin(numbers, shown[outside])
