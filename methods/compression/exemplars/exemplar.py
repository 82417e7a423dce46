"""What one stored exemplar is: a header, the pixels of the box, and the small image, one after another in bytes.

Header (32 bytes, little endian): height and width of the image, of the small image, of the stored crop; box x0, y0, x1,
y1 (uint16 each); label, bytes of the crop, bytes of the small image (uint32 each). Parts are planar RGB ("raw") or by a
codec. A box over the whole image needs no small image, an empty box no crop: absent parts take no bytes. Of a raw small
image the pixels that the box hides are left out of every row, so that box and rest together cost what CIM counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.methods.compression.boxes.boxes import area_shares
from cimbench.methods.compression.exemplars.codecs import RAW, Codec
from cimbench.methods.compression.exemplars.hidden import hidden_parts
from cimbench.methods.compression.exemplars.resampling import RESAMPLINGS

LONGEST_SIDE = 0xFFFF
_SHORT = ("height", "width", "small_height", "small_width", "crop_height", "crop_width", "x0", "y0", "x1", "y1")
_LONG = ("label", "crop_bytes", "small_bytes")
FIELDS = (*_SHORT, *_LONG)  # as they are stored
HIDDEN = ("hidden_x0", "hidden_y0", "hidden_x1", "hidden_y1")  # of the small image; follows from the rest
COLUMNS = (*FIELDS, *HIDDEN)
HEADER_BYTES = 2 * len(_SHORT) + 4 * len(_LONG)


@dataclass(frozen=True, kw_only=True)
class Format:
    """How exemplars are stored. ratio: eta, area by which the whole image shrinks (1: only whole boxes make sense).

    inner_ratio: area by which the box's own pixels shrink; 1 keeps them. resampling: see resampling.RESAMPLINGS.
    """

    ratio: float
    inner_ratio: float = 1.0
    resampling: str = "nearest"
    codec: Codec = RAW

    def __post_init__(self) -> None:
        check_at_least("ratio", self.ratio, 1)
        check_at_least("inner_ratio", self.inner_ratio, 1)
        check_choice("resampling", self.resampling, RESAMPLINGS)


@dataclass(frozen=True)
class Headers:
    """The headers of n exemplars: table (n, 17) int64, one column for each of COLUMNS."""

    table: Tensor

    def __len__(self) -> int:
        return len(self.table)

    def __getitem__(self, indices: Tensor) -> Headers:
        return Headers(self.table[indices])

    def field(self, name: str) -> Tensor:
        """(n,) int64."""
        return self.table[:, COLUMNS.index(name)]

    @property
    def boxes(self) -> Tensor:
        """(n, 4) int64 XYXY pixels of the image."""
        return self.table[:, FIELDS.index("x0") : FIELDS.index("y1") + 1]

    @property
    def sizes(self) -> Tensor:
        """(n, 2) int64: height and width of the image."""
        return self.table[:, :2]

    @cached_property
    def lengths(self) -> Tensor:
        """(n,) int64: bytes of each exemplar, header included."""
        return HEADER_BYTES + self.field("crop_bytes") + self.field("small_bytes")

    @cached_property
    def starts(self) -> Tensor:
        """(n + 1,) int64: where each exemplar begins when they follow one another."""
        return torch.cat([self.lengths.new_zeros(1), self.lengths.cumsum(0)])

    def to_bytes(self) -> Tensor:
        """(n, 32) uint8."""
        shifts = torch.arange(0, 32, 8, device=self.table.device)
        split = (self.table[:, : len(FIELDS), None] >> shifts).to(torch.uint8)
        count = len(_SHORT)
        return torch.cat([split[:, :count, :2].flatten(1), split[:, count:].flatten(1)], 1)


class Packed(NamedTuple):
    """buffer: (n,) uint8, exemplar after exemplar. headers: of each."""

    buffer: Tensor
    headers: Headers


def headers_for(sizes: Tensor, boxes: Tensor, labels: Tensor, form: Format) -> Headers:
    """Headers of raw exemplars: sizes (n, 2) of the images, on the CPU, boxes (n, 4) XYXY in them, labels (n,).

    They are where the boxes are.
    """
    height, width = sizes.to(boxes.device).unbind(1)
    x0, y0, x1, y1 = boxes.unbind(1)
    area = (x1 - x0) * (y1 - y0)
    needs_small = area < height * width
    small = [_shrunk(side, form.ratio) * needs_small for side in (height, width)]
    crop = [_shrunk(side, form.inner_ratio) * (area > 0) for side in (y1 - y0, x1 - x0)]
    whole = [_shrunk(side, form.ratio) for side in sizes.unbind(1)]
    hidden = hidden_parts(sizes, (whole[0], whole[1]), boxes, form.resampling) * needs_small[:, None]
    pixels = small[0] * small[1] - (hidden[:, 2] - hidden[:, 0]) * (hidden[:, 3] - hidden[:, 1])
    parts = [3 * crop[0] * crop[1], 3 * pixels]
    stored = [height, width, *small, *crop, x0, y0, x1, y1, labels.to(boxes.device), *parts]
    return Headers(torch.cat([torch.stack(stored, 1), hidden], 1))


def read_headers(content: Tensor, form: Format) -> Headers:
    """(n, 32) uint8 on the CPU -> the headers; InputError where sizes, box and byte counts do not belong together."""
    count = len(_SHORT)
    weights = 256 ** torch.arange(4)
    short = content[:, : 2 * count].long().reshape(-1, count, 2) @ weights[:2]
    long = content[:, 2 * count :].long().reshape(-1, len(_LONG), 4) @ weights
    found = Headers(torch.cat([short, long], 1))
    height, width = found.sizes.unbind(1)
    x0, y0, x1, y1 = found.boxes.unbind(1)
    good = (x0 <= x1) & (x1 <= width) & (y0 <= y1) & (y1 <= height) & (height > 0) & (width > 0)
    _check_all(good, found, form)
    planned = headers_for(found.sizes, found.boxes, found.field("label"), form)
    parts = slice(0, FIELDS.index("x0"))
    good = (found.table[:, parts] == planned.table[:, parts]).all(1)
    for name in ("crop_bytes", "small_bytes"):
        mine, theirs = found.field(name), planned.field(name)
        good &= (mine == theirs) if form.codec.is_raw else ((mine > 0) == (theirs > 0))
    _check_all(good, found, form)
    return Headers(torch.cat([found.table, planned.table[:, len(FIELDS) :]], 1))


def _check_all(good: Tensor, headers: Headers, form: Format) -> None:
    if not bool(good.all()):
        index = int((~good).long().argmax())
        values = dict(zip(FIELDS, headers.table[index].tolist(), strict=False))
        raise InputError(f"exemplar {index} has an impossible header {values} for {form}; the memory is damaged")


def _shrunk(sides: Tensor, ratio: float) -> Tensor:
    """Pixels of downsampled sides: int(side / sqrt(ratio)), at least one (CIM, section 3)."""
    small: Tensor = (sides.double() / ratio**0.5).long().clamp(min=1)
    return small


def costs_in_paper_units(boxes: Tensor, sizes: Tensor, form: Format) -> Tensor:
    """m = 1 - (1 - 1/eta)(1 - |B| / (H W)) of CIM's section 3, (n,) float64; 1 is one original image.

    Where the inside is compressed too its share is divided by its own ratio (ablation row 11). A codec saves nothing in
    this unit: it counts area.
    """
    share = area_shares(boxes, sizes)
    return share / form.inner_ratio + (1 - share) / form.ratio
