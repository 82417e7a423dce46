"""Images to the bytes of their exemplars, and back, in batches.

Raw parts are bound by memory: every byte is read once and written once, straight into its place in the buffer. On a CPU
each image is a handful of array copies; on a GPU one kernel does the batch (kernels.py).
Large arrays are NumPy's, which asks for large pages: fresh memory then costs a third of what torch's does on a CPU.
Coded parts are bound by their codec, which runs on the CPU, on torch's threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.acceleration import has_kernels
from cimbench.methods.compression.exemplars.exemplar import (
    COLUMNS,
    FIELDS,
    HEADER_BYTES,
    HIDDEN,
    LONGEST_SIDE,
    Format,
    Headers,
    headers_for,
)
from cimbench.methods.compression.exemplars.hidden import flattened
from cimbench.methods.compression.exemplars.resampling import enlarge_into, shrink_into

Bytes = NDArray[np.uint8]
_NUMBERS = 2**32  # that a header's longer fields tell apart


class Packed(NamedTuple):
    """buffer: (n,) uint8, exemplar after exemplar. headers: of each."""

    buffer: Tensor
    headers: Headers


def pack(images: Tensor, boxes: Tensor, labels: Tensor, form: Format) -> Packed:
    """Images (B, 3, H, W) uint8 with boxes (B, 4) XYXY and labels (B,) -> their exemplars, on the images' device.

    Raises InputError for other shapes or types, and for a box that is inverted or outside its image.
    """
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise InputError(f"images are {images.dtype} {tuple(images.shape)}; give (B, 3, H, W) uint8")
    boxes = boxes.to(images.device)
    sizes = torch.tensor(images.shape[-2:]).expand(len(images), 2)
    _check(sizes, boxes, labels)
    headers = headers_for(sizes, boxes, labels, form)
    if _on_kernels(images.device, form):
        return _packed_on_kernels([(torch.arange(len(images), device=images.device), images)], headers)
    return _packed_on_host(list(images.cpu().numpy()), headers, form, images.device)


def pack_store(images: ImageStore, boxes: Tensor, form: Format, device: torch.device) -> Packed:
    """As `pack`, for images of any sizes: their exemplars in the store's order, on `device`; nothing is padded."""
    _check(images.sizes, boxes, images.labels)
    headers = headers_for(images.sizes, boxes, images.labels, form)
    if _on_kernels(device, form):
        groups = ((group.to(device), images.stacked(group).to(device)) for group in images.same_size_groups())
        return _packed_on_kernels(groups, Headers(headers.table.to(device)))
    return _packed_on_host([images.image(i).numpy() for i in range(len(images))], headers, form, device)


def unpack(buffer: Tensor, starts: Tensor, headers: Headers, form: Format) -> Tensor:
    """The reconstructions x~ (B, 3, H, W) uint8 of exemplars of one image size, on the buffer's device.

    starts: (B,) where each exemplar begins in `buffer`. The small image is enlarged, the crop pasted at its place.
    """
    if len(headers) == 0:
        return torch.empty(0, 3, 0, 0, dtype=torch.uint8, device=buffer.device)
    if not bool((headers.sizes == headers.sizes[0]).all()):
        sizes = torch.unique(headers.sizes, dim=0).tolist()
        raise InputError(f"exemplars of sizes {sizes}: decode those of one size at a time")
    height, width = headers.sizes[0].tolist()
    if _on_kernels(buffer.device, form):
        from cimbench.methods.compression.exemplars import kernels

        return kernels.unpack(buffer, starts, headers, height, width)
    if buffer.device.type != "cpu":  # bring these exemplars here, not the whole memory
        ends = (starts.cpu() + headers.lengths.cpu()).tolist()
        buffer = torch.cat([buffer[start:end] for start, end in zip(starts.tolist(), ends, strict=True)])
        starts = headers.starts[:-1]
    source, targets = buffer.cpu().numpy(), np.empty((len(headers), 3, height, width), dtype=np.uint8)
    begins, table = starts.tolist(), headers.table.tolist()
    _each(lambda i: _read(source, begins[i], _named(table[i]), form, targets[i]), len(begins), form)
    return torch.from_numpy(targets).to(buffer.device)


def reconstructed(images: Tensor, boxes: Tensor, form: Format) -> Tensor:
    """What replay sees of images (B, 3, H, W) uint8 with boxes (B, 4): x~ = M_B x + (1 - M_B) up(down(x, eta))."""
    packed = pack(images, boxes, torch.zeros(len(images), dtype=torch.int64), form)
    return unpack(packed.buffer, packed.headers.starts[:-1], packed.headers, form)


def _on_kernels(device: torch.device, form: Format) -> bool:
    """Whether the kernels do this: nearest neighbours, the box's pixels as they are."""
    return has_kernels(device) and form.codec.is_raw and form.resampling == "nearest" and form.inner_ratio == 1


def _check(sizes: Tensor, boxes: Tensor, labels: Tensor) -> None:
    count = len(sizes)
    if boxes.shape != (count, 4) or boxes.is_floating_point():
        raise InputError(f"boxes are {boxes.dtype} {tuple(boxes.shape)}; give ({count}, 4) whole numbers, XYXY")
    if labels.shape != (count,) or labels.is_floating_point():
        raise InputError(f"labels are {labels.dtype} {tuple(labels.shape)}; give ({count},) whole numbers")
    height, width = sizes.unbind(1)
    if count and int(sizes.max()) > LONGEST_SIDE:
        raise InputError(f"an image has a side of {int(sizes.max())} pixels: at most {LONGEST_SIDE}; reduce it first")
    if count and 3 * int((height * width).max()) >= _NUMBERS:
        raise InputError(f"an image has {int((height * width).max())} pixels: too many for a header; reduce it first")
    if count and not 0 <= int(labels.min()) <= int(labels.max()) < _NUMBERS:
        raise InputError(f"labels are {int(labels.min())} to {int(labels.max())}; give 0 to {_NUMBERS - 1}")
    x0, y0, x1, y1 = boxes.unbind(1)
    good = (x0 >= 0) & (x0 <= x1) & (x1 <= width) & (y0 >= 0) & (y0 <= y1) & (y1 <= height)
    if not bool(good.all()):
        index = int((~good).long().argmax())
        raise InputError(
            f"box {tuple(boxes[index].tolist())} of image {index} does not lie in the image of {int(width[index])} x "
            f"{int(height[index])} pixels; give XYXY in it, ends exclusive"
        )


def _named(row: list[int]) -> dict[str, int]:
    return dict(zip(COLUMNS, row, strict=True))


def _packed_on_kernels(groups: Iterable[tuple[Tensor, Tensor]], headers: Headers) -> Packed:
    """Indices and images (B, 3, H, W) of each size, all into one buffer on their device."""
    from cimbench.methods.compression.exemplars import kernels

    starts = headers.starts
    buffer = torch.empty(int(starts[-1]), dtype=torch.uint8, device=starts.device)
    for indices, images in groups:
        kernels.pack_into(buffer, starts[indices], images, headers[indices])
    return Packed(buffer, headers)


def _packed_on_host(images: list[Bytes], headers: Headers, form: Format, device: torch.device) -> Packed:
    """Images (3, H, W), each of its header's size."""
    packed = _packed_raw(images, headers, form) if form.codec.is_raw else _packed_coded(images, headers, form)
    return Packed(packed.buffer.to(device), Headers(packed.headers.table.to(device)))


def _packed_raw(images: list[Bytes], headers: Headers, form: Format) -> Packed:
    starts = headers.starts.tolist()
    target = np.empty(starts[-1], dtype=np.uint8)
    table, front = headers.table.tolist(), headers.to_bytes().cpu().numpy()

    def write(i: int) -> None:
        out, header = target[starts[i] : starts[i + 1]], _named(table[i])
        out[:HEADER_BYTES] = front[i]
        crop, planes = _parts(out[HEADER_BYTES:], header)
        if crop.size:
            shrink_into(_inside(images[i], header), crop, form.resampling)
        if planes.size:
            whole = np.empty((3, header["small_height"], header["small_width"]), dtype=np.uint8)
            shrink_into(images[i], whole, form.resampling)
            for stored, shown in _read_regions(planes, whole, header):
                stored[:] = shown

    _each(write, len(images), form)
    return Packed(torch.from_numpy(target), headers)


def _inside(image: Bytes, header: dict[str, int]) -> Bytes:
    """The pixels (3, h, w) of the image that lie in the box."""
    return image[:, header["y0"] : header["y1"], header["x0"] : header["x1"]]


def _parts(body: Bytes, header: dict[str, int]) -> tuple[Bytes, Bytes]:
    """The crop (3, h, w) and what is stored of the small image (3, n) in an exemplar's raw bytes after its header."""
    end = header["crop_bytes"]
    crop = body[:end].reshape(3, header["crop_height"], header["crop_width"])
    return crop, body[end : end + header["small_bytes"]].reshape(3, -1)


def _read_regions(planes: Bytes, small: Bytes, header: dict[str, int]) -> list[tuple[Bytes, Bytes]]:
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


def _packed_coded(images: list[Bytes], headers: Headers, form: Format) -> Packed:
    table = headers.table.tolist()
    parts: list[tuple[Bytes, Bytes]] = [(np.empty(0, np.uint8),) * 2] * len(images)

    def shrunk(pixels: Bytes, height: int, width: int) -> Bytes:
        part = np.empty((3, height, width), dtype=np.uint8)
        if part.size:
            shrink_into(pixels, part, form.resampling)
        return part

    def encode(i: int) -> None:
        header = _named(table[i])
        crop = shrunk(_inside(images[i], header), header["crop_height"], header["crop_width"])
        small = shrunk(images[i], header["small_height"], header["small_width"])
        x0, y0, x1, y1 = (header[name] for name in HIDDEN)
        if x0 < x1:
            small = flattened(small, (x0, y0, x1, y1), form.codec.name)
        parts[i] = form.codec.encode(torch.from_numpy(crop)), form.codec.encode(torch.from_numpy(small))

    _each(encode, len(images), form)
    coded = headers.table.cpu().clone()
    for column, name in enumerate(("crop_bytes", "small_bytes")):
        lengths = [len(part[column]) for part in parts]
        coded[:, FIELDS.index(name)] = torch.tensor(lengths)
    headers = Headers(coded)
    front = headers.to_bytes().numpy()
    pieces = [piece for i, part in enumerate(parts) for piece in (front[i], *part)]
    buffer = torch.from_numpy(np.concatenate(pieces)) if pieces else torch.empty(0, dtype=torch.uint8)
    return Packed(buffer, headers)


def _read(buffer: Bytes, start: int, header: dict[str, int], form: Format, image: Bytes) -> None:
    """Decode the exemplar at `start` into `image` (3, H, W)."""
    body = buffer[start + HEADER_BYTES : start + HEADER_BYTES + header["crop_bytes"] + header["small_bytes"]]
    crop, small = _decoded(body, header, form)
    if small.size:
        enlarge_into(small, image, form.resampling)
    if crop.size:
        enlarge_into(crop, _inside(image, header), form.resampling)


def _decoded(body: Bytes, header: dict[str, int], form: Format) -> tuple[Bytes, Bytes]:
    """The crop and the small image, (3, h, w) each, empty where absent; hidden pixels are any numbers."""
    small_size = header["small_height"], header["small_width"]
    if not form.codec.is_raw:
        crop_size = header["crop_height"], header["crop_width"]
        end, empty = header["crop_bytes"], np.empty((3, 0, 0), np.uint8)
        crop = form.codec.decode(body[:end], *crop_size) if end else empty
        return crop, form.codec.decode(body[end:], *small_size) if len(body) > end else empty
    crop, planes = _parts(body, header)
    small = np.empty((3, *small_size), dtype=np.uint8)
    if planes.size:
        for stored, shown in _read_regions(planes, small, header):
            shown[:] = stored
    return crop, small


def stored_parts(content: Tensor, headers: Headers, form: Format) -> tuple[Tensor, Tensor]:
    """Crop and small image of one exemplar, (3, h, w) each, empty where absent; pixels that are not stored are white.

    content: its bytes. headers: its own.
    """
    header = _named(headers.table[0].tolist())
    crop, small = (part.copy() for part in _decoded(content[HEADER_BYTES:].cpu().numpy(), header, form))
    x0, y0, x1, y1 = (header[name] for name in HIDDEN)
    small[:, y0:y1, x0:x1] = 255
    return torch.from_numpy(crop), torch.from_numpy(small)


def _each(work: Callable[[int], None], count: int, form: Format) -> None:
    """work(0) .. work(count - 1). Codecs run on torch's threads; copies are too short for that to pay."""
    threads = min(torch.get_num_threads(), count)
    if threads < 2 or form.codec.is_raw:
        for i in range(count):
            work(i)
        return

    def share(first: int) -> None:
        for i in range(first, count, threads):
            work(i)

    list(_executor(threads).map(share, range(threads)))


@lru_cache(maxsize=4)
def _executor(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads)


os.register_at_fork(after_in_child=_executor.cache_clear)  # a forked process has none of the threads
