"""Exemplars whose parts are pixels: into their bytes and back, on a CPU.

Every byte is read once and written once, straight into its place in the buffer: a handful of array copies an image.
Small images are resampled many at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from cimbench.methods.compression.exemplars.exemplar import COLUMNS, HEADER_BYTES, Format, Headers, Packed
from cimbench.methods.compression.exemplars.resampling import enlarge_into, shrink_into

Bytes = NDArray[np.uint8]
_TOGETHER = 2**18  # bytes of images that are resampled at once: they stay in the cache


def named(row: list[int]) -> dict[str, int]:
    """A header by its fields' names."""
    return dict(zip(COLUMNS, row, strict=True))


def packed_raw(images: Sequence[Bytes] | Bytes, headers: Headers, form: Format) -> Packed:
    """Images (3, H, W), each of its header's size, into one buffer."""
    starts = headers.starts.tolist()
    target = np.empty(starts[-1], dtype=np.uint8)
    table, front = headers.table.tolist(), headers.to_bytes().cpu().numpy()

    for first, last in _runs(images):
        of_run = [named(row) for row in table[first:last]]
        smalls = _shrunk_together(images[first:last], of_run, form)
        for i, header, small in zip(range(first, last), of_run, smalls, strict=True):
            out = target[starts[i] : starts[i + 1]]
            out[:HEADER_BYTES] = front[i]
            crop, planes = raw_parts(out[HEADER_BYTES:], header)
            if crop.size:
                shrink_into(inside(images[i], header), crop, form.resampling)
            if planes.size:
                for stored, shown in read_regions(planes, small, header):
                    stored[:] = shown
    return Packed(torch.from_numpy(target), headers)


def _runs(images: Sequence[Bytes] | Bytes) -> list[tuple[int, int]]:
    """First and end of images that are handled together: small ones of one array; one alone of a list."""
    together = max(1, _TOGETHER // max(1, images[0].size)) if isinstance(images, np.ndarray) and len(images) else 1
    return [(first, min(first + together, len(images))) for first in range(0, len(images), together)]


def _shrunk_together(images: Sequence[Bytes] | Bytes, of_run: list[dict[str, int]], form: Format) -> Bytes:
    """The whole small images (n, 3, h, w), of images of one size; nothing in those that have none."""
    size = [max(header[name] for header in of_run) for name in ("small_height", "small_width")]
    smalls = np.empty((len(images), 3, *size), dtype=np.uint8)
    if smalls.size:
        source = images[0] if len(images) == 1 else np.asarray(images).reshape(-1, *images[0].shape[1:])
        shrink_into(source, smalls.reshape(-1, *size), form.resampling)
    return smalls


def inside(image: Bytes, header: dict[str, int]) -> Bytes:
    """The pixels (3, h, w) of the image that lie in the box."""
    return image[:, header["y0"] : header["y1"], header["x0"] : header["x1"]]


def raw_parts(body: Bytes, header: dict[str, int]) -> tuple[Bytes, Bytes]:
    """The crop (3, h, w) and what is stored of the small image (3, n) in an exemplar's raw bytes after its header."""
    end = header["crop_bytes"]
    crop = body[:end].reshape(3, header["crop_height"], header["crop_width"])
    return crop, body[end : end + header["small_bytes"]].reshape(3, -1)


def read_regions(planes: Bytes, small: Bytes, header: dict[str, int]) -> list[tuple[Bytes, Bytes]]:
    """Regions of what is stored of a small image (3, n), each beside the same region of the image (3, h, w).

    A plane is stored row by row without the hidden pixels: what comes before the first of these, what lies between one
    row of them and the next, and what comes after the last.
    """
    x0, x1, whole = header["hidden_x0"], header["hidden_x1"], small.reshape(3, -1)
    if x0 == x1:
        return [(planes, whole)]
    y0, y1 = header["hidden_y0"], header["hidden_y1"]
    width, rows = small.shape[2], y1 - y0 - 1
    gap = width - (x1 - x0)
    first = y0 * width + x0
    regions = [(planes[:, :first], whole[:, :first])] if first else []
    if rows and gap:
        between = whole[:, first + x1 - x0 :][:, : rows * width].reshape(3, rows, width)[:, :, :gap]
        regions.append((planes[:, first : first + rows * gap].reshape(3, rows, gap), between))
    last = (y1 - 1) * width + x1
    if last < whole.shape[1]:
        regions.append((planes[:, first + rows * gap :], whole[:, last:]))
    return regions


def _read_together(buffer: Bytes, begins: list[int], of_run: list[dict[str, int]], form: Format, images: Bytes) -> None:
    """Decode the exemplars that begin there into `images` (n, 3, H, W); all small images are enlarged at once."""
    bodies = [buffer[begin + HEADER_BYTES :] for begin in begins]
    size = [max(header[name] for header in of_run) for name in ("small_height", "small_width")]
    smalls = np.empty((len(images), 3, *size), dtype=np.uint8)
    parts = [raw_parts(body, header) for body, header in zip(bodies, of_run, strict=True)]
    for (_, planes), header, small in zip(parts, of_run, smalls, strict=True):
        if planes.size:
            for stored, shown in read_regions(planes, small, header):
                shown[:] = stored
    if smalls.size:
        enlarge_into(smalls.reshape(-1, *size), images.reshape(-1, *images.shape[2:]), form.resampling)
    for (crop, _), header, image in zip(parts, of_run, images, strict=True):
        if crop.size:
            enlarge_into(crop, inside(image, header), form.resampling)


def read_raw(buffer: Bytes, begins: list[int], table: list[list[int]], form: Format, images: Bytes) -> None:
    """Decode the exemplars that begin there, with these headers, into `images` (n, 3, H, W)."""
    for first, last in _runs(images):
        of_run = [named(row) for row in table[first:last]]
        _read_together(buffer, begins[first:last], of_run, form, images[first:last])
