"""The memory-bound steps as Triton kernels, for CUDA; the same results as packing.py and boxes.py give on a CPU.

Imported only where a CUDA tensor is handled, or by the tests, which run them through Triton's interpreter.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from cimbench.datasets.stream.feed import sent
from cimbench.methods.compression.exemplars.exemplar import COLUMNS, FIELDS, HEADER_BYTES, HIDDEN, Headers
from cimbench.methods.compression.exemplars.resampling import nearest_index

_COLUMNS = 128
_ROWS = 8
FIELD_COUNT = tl.constexpr(len(COLUMNS))
HEADER = tl.constexpr(HEADER_BYTES)
CROP_HEIGHT = tl.constexpr(FIELDS.index("crop_height"))
CROP_WIDTH = tl.constexpr(FIELDS.index("crop_width"))
SMALL_HEIGHT = tl.constexpr(FIELDS.index("small_height"))
SMALL_WIDTH = tl.constexpr(FIELDS.index("small_width"))
CROP_BYTES = tl.constexpr(FIELDS.index("crop_bytes"))
X0 = tl.constexpr(FIELDS.index("x0"))
Y0 = tl.constexpr(FIELDS.index("y0"))
HIDDEN_X0 = tl.constexpr(COLUMNS.index(HIDDEN[0]))


@triton.jit
def hidden_rectangle(header):  # type: ignore[no-untyped-def]
    """x0, y0, x1, y1 of the pixels of the small image that are not stored."""
    x0 = tl.load(header + HIDDEN_X0).to(tl.int32)
    y0 = tl.load(header + HIDDEN_X0 + 1).to(tl.int32)
    x1 = tl.load(header + HIDDEN_X0 + 2).to(tl.int32)
    y1 = tl.load(header + HIDDEN_X0 + 3).to(tl.int32)
    return x0, y0, x1, y1


@triton.jit
def place_in_plane(row, column, width, x0, y0, x1, y1):  # type: ignore[no-untyped-def]
    """Where a pixel of the small image is stored: row by row, less the hidden ones before it."""
    gap = x1 - x0
    above = tl.minimum(tl.maximum(row - y0, 0), y1 - y0) * gap
    beside = tl.where((row >= y0) & (row < y1) & (column >= x1), gap, 0)
    return row * width + column - above - beside


@triton.jit
def pack_kernel(  # type: ignore[no-untyped-def]
    images, fields, starts, buffer, row_index, column_index, stride_image, stride_plane, stride_row, stride_column,
    block_rows: tl.constexpr, block_columns: tl.constexpr,
):  # fmt: skip
    """Program (image, block of rows): copies rows of the crop, then rows of the small image, of all three planes."""
    image = tl.program_id(0).to(tl.int64)
    line = tl.program_id(1) * block_rows + tl.arange(0, block_rows)[:, None]
    header = fields + image * FIELD_COUNT
    source = images + image * stride_image
    body = buffer + tl.load(starts + image) + HEADER
    height = tl.load(header + CROP_HEIGHT).to(tl.int32)
    width = tl.load(header + CROP_WIDTH).to(tl.int32)
    first_row = tl.load(header + Y0).to(tl.int32)
    first_column = tl.load(header + X0).to(tl.int32)
    crop_bytes = tl.load(header + CROP_BYTES)
    rows = tl.maximum(height, 1)
    start = source + (line // rows) * stride_plane + (first_row + line % rows) * stride_row
    for left in range(0, width, block_columns):
        column = left + tl.arange(0, block_columns)[None, :]
        inside = (line < 3 * height) & (column < width)
        pixel = tl.load(start + (first_column + column) * stride_column, mask=inside, other=0)
        tl.store(body + line * width + column, pixel, mask=inside)
    height = tl.load(header + SMALL_HEIGHT).to(tl.int32)
    width = tl.load(header + SMALL_WIDTH).to(tl.int32)
    x0, y0, x1, y1 = hidden_rectangle(header)
    rows = tl.maximum(height, 1)
    plane, here = line // rows, line % rows
    row = tl.load(row_index + here, mask=line < 3 * height, other=0)
    start = source + plane * stride_plane + row * stride_row
    target = body + crop_bytes + plane * (height * width - (y1 - y0) * (x1 - x0))
    for left in range(0, width, block_columns):
        column = left + tl.arange(0, block_columns)[None, :]
        hidden = (here >= y0) & (here < y1) & (column >= x0) & (column < x1)
        wanted = (line < 3 * height) & (column < width) & ~hidden
        picked = tl.load(column_index + column, mask=column < width, other=0)
        pixel = tl.load(start + picked * stride_column, mask=wanted, other=0)
        tl.store(target + place_in_plane(here, column, width, x0, y0, x1, y1), pixel, mask=wanted)


@triton.jit
def unpack_kernel(  # type: ignore[no-untyped-def]
    buffer,
    fields,
    starts,
    images,
    row_index,
    column_index,
    image_height,
    image_width,
    block_rows: tl.constexpr,
    block_columns: tl.constexpr,
):
    """Program (image, block of rows): a pixel inside the box is the crop's, any other the small image's."""
    image = tl.program_id(0).to(tl.int64)
    line = tl.program_id(1) * block_rows + tl.arange(0, block_rows)[:, None]
    plane = line // image_height
    y = line % image_height
    header = fields + image * FIELD_COUNT
    crop_height = tl.load(header + CROP_HEIGHT).to(tl.int32)
    crop_width = tl.load(header + CROP_WIDTH).to(tl.int32)
    small_height = tl.load(header + SMALL_HEIGHT).to(tl.int32)
    small_width = tl.load(header + SMALL_WIDTH).to(tl.int32)
    y0 = tl.load(header + Y0).to(tl.int32)
    x0 = tl.load(header + X0).to(tl.int32)
    crop = buffer + tl.load(starts + image) + HEADER
    small = crop + tl.load(header + CROP_BYTES)
    row = tl.load(row_index + y, mask=line < 3 * image_height, other=0)
    hidden_x0, hidden_y0, hidden_x1, hidden_y1 = hidden_rectangle(header)
    stored = small_height * small_width - (hidden_y1 - hidden_y0) * (hidden_x1 - hidden_x0)
    for left in range(0, image_width, block_columns):
        x = left + tl.arange(0, block_columns)[None, :]
        wanted = (line < 3 * image_height) & (x < image_width)
        inside = (y >= y0) & (y < y0 + crop_height) & (x >= x0) & (x < x0 + crop_width)
        column = tl.load(column_index + x, mask=x < image_width, other=0)
        kept = tl.load(crop + (plane * crop_height + y - y0) * crop_width + x - x0, mask=wanted & inside, other=0)
        at = place_in_plane(row, column, small_width, hidden_x0, hidden_y0, hidden_x1, hidden_y1)
        rest = tl.load(small + plane * stored + at, mask=wanted & ~inside, other=0)
        pixel = tl.where(inside, kept, rest)
        tl.store(images + (image * 3 * image_height + line) * image_width + x, pixel, mask=wanted)


@lru_cache(maxsize=4096)
def _index(source: int, target: int, device: torch.device) -> Tensor:
    return torch.from_numpy(nearest_index(source, target).copy()).int().to(device)


def _small_indices(headers: Headers, size: tuple[int, int], device: torch.device, shrink: bool) -> list[Tensor]:
    """Rows and columns between an image of `size` and its small one; of one size, since the images are."""
    smalls = headers.table[:, FIELDS.index("small_height") : FIELDS.index("small_width") + 1].amax(0).tolist()
    pairs = [(side, max(1, int(small))) for side, small in zip(size, smalls, strict=True)]
    return [_index(*(pair if shrink else pair[::-1]), device) for pair in pairs]


def pack_into(buffer: Tensor, starts: Tensor, images: Tensor, headers: Headers) -> None:
    """Write the raw exemplars of images (B, 3, H, W) uint8, resampled by nearest neighbours, at `starts` (B,)."""
    if len(images) == 0:
        return
    device, (height, width) = images.device, images.shape[-2:]
    fronts = starts[:, None] + torch.arange(HEADER_BYTES, device=device)
    buffer[fronts] = headers.to_bytes()
    indices = _small_indices(headers, (height, width), device, shrink=True)
    grid = (len(images), triton.cdiv(3 * height, _ROWS))
    fields: Tensor = headers.table.contiguous()
    kernel: Any = pack_kernel
    kernel[grid](
        images, fields, starts.contiguous(), buffer, *indices, *images.stride(),
        block_rows=_ROWS, block_columns=_COLUMNS,
    )  # fmt: skip


def unpack(buffer: Tensor, starts: Tensor, headers: Headers, height: int, width: int) -> Tensor:
    """The reconstructions (B, 3, height, width) uint8 of raw exemplars, enlarged by nearest neighbours."""
    device = buffer.device
    images = torch.empty(len(headers), 3, height, width, dtype=torch.uint8, device=device)
    if len(images) == 0:
        return images
    indices = _small_indices(headers, (height, width), device, shrink=False)
    grid = (len(images), triton.cdiv(3 * height, _ROWS))
    fields, begins = sent(headers.table.contiguous(), device), sent(starts, device)
    kernel: Any = unpack_kernel
    kernel[grid](buffer, fields, begins, images, *indices, height, width, block_rows=_ROWS, block_columns=_COLUMNS)
    return images
