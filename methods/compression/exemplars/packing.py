"""Images to the bytes of their exemplars, and back, in batches.

Raw parts are bound by memory: every byte is read once and written once, straight into its place in the buffer. On a CPU
each image is a handful of array copies, and small images are resampled many at once; on a GPU one kernel does the
batch (kernels.py).
Large arrays are NumPy's, which asks for large pages: fresh memory then costs a third of what torch's does on a CPU.
Coded parts are bound by their codec, which runs on the CPU, on torch's threads.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from cimbench.datasets.errors import InputError
from cimbench.datasets.images.image_store import ImageStore
from cimbench.methods.compression.acceleration import has_kernels
from cimbench.methods.compression.exemplars.exemplar import (
    FIELDS,
    HEADER_BYTES,
    HIDDEN,
    LONGEST_SIDE,
    Format,
    Headers,
    Packed,
    headers_for,
)
from cimbench.methods.compression.exemplars.hidden import flattened
from cimbench.methods.compression.exemplars.raw import (
    Bytes,
    inside,
    named,
    packed_raw,
    raw_parts,
    read_raw,
    read_regions,
)
from cimbench.methods.compression.exemplars.resampling import enlarge_into, shrink_into

_NUMBERS = 2**32  # that a header's longer fields tell apart


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
    return _packed_on_host(images.cpu().numpy(), headers, form, images.device)


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
    if form.codec.is_raw:
        read_raw(source, begins, table, form, targets)
    else:
        _each(lambda i: _read_coded(source, begins[i], named(table[i]), form, targets[i]), len(begins), form)
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


def _packed_on_kernels(groups: Iterable[tuple[Tensor, Tensor]], headers: Headers) -> Packed:
    """Indices and images (B, 3, H, W) of each size, all into one buffer on their device."""
    from cimbench.methods.compression.exemplars import kernels

    starts = headers.starts
    buffer = torch.empty(int(starts[-1]), dtype=torch.uint8, device=starts.device)
    for indices, images in groups:
        kernels.pack_into(buffer, starts[indices], images, headers[indices])
    return Packed(buffer, headers)


def _packed_on_host(images: Sequence[Bytes] | Bytes, headers: Headers, form: Format, device: torch.device) -> Packed:
    """Images (3, H, W), each of its header's size; as one array where they are of one size."""
    packed = packed_raw(images, headers, form) if form.codec.is_raw else _packed_coded(images, headers, form)
    return Packed(packed.buffer.to(device), Headers(packed.headers.table.to(device)))


def _packed_coded(images: Sequence[Bytes] | Bytes, headers: Headers, form: Format) -> Packed:
    table = headers.table.tolist()
    parts: list[tuple[Bytes, Bytes]] = [(np.empty(0, np.uint8),) * 2] * len(images)

    def shrunk(pixels: Bytes, height: int, width: int) -> Bytes:
        part = np.empty((3, height, width), dtype=np.uint8)
        if part.size:
            shrink_into(pixels, part, form.resampling)
        return part

    def encode(i: int) -> None:
        header = named(table[i])
        crop = shrunk(inside(images[i], header), header["crop_height"], header["crop_width"])
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


def _read_coded(buffer: Bytes, start: int, header: dict[str, int], form: Format, image: Bytes) -> None:
    """Decode the exemplar at `start` into `image` (3, H, W)."""
    crop, small = _decoded(buffer[start + HEADER_BYTES :], header, form)
    if small.size:
        enlarge_into(small, image, form.resampling)
    if crop.size:
        enlarge_into(crop, inside(image, header), form.resampling)


def _decoded(body: Bytes, header: dict[str, int], form: Format) -> tuple[Bytes, Bytes]:
    """The coded crop and small image, (3, h, w) each, empty where absent."""
    end, empty = header["crop_bytes"], np.empty((3, 0, 0), np.uint8)
    crop, small = body[:end], body[end : end + header["small_bytes"]]
    decode = form.codec.decode
    return (
        decode(crop, header["crop_height"], header["crop_width"]) if len(crop) else empty,
        decode(small, header["small_height"], header["small_width"]) if len(small) else empty,
    )


def stored_parts(content: Tensor, headers: Headers, form: Format) -> tuple[Tensor, Tensor]:
    """Crop and small image of one exemplar, (3, h, w) each, empty where absent; pixels that are not stored are white.

    Of a coded small image, hidden pixels have the colour they are stored with.

    content: its bytes. headers: its own.
    """
    header, body = named(headers.table[0].tolist()), content[HEADER_BYTES:].cpu().numpy()
    if not form.codec.is_raw:
        crop, small = (torch.from_numpy(part.copy()) for part in _decoded(body, header, form))
        return crop, small
    own, planes = raw_parts(body, header)
    white = np.full((3, header["small_height"], header["small_width"]), 255, dtype=np.uint8)
    if planes.size:
        for stored, shown in read_regions(planes, white, header):
            shown[:] = stored
    return torch.from_numpy(own.copy()), torch.from_numpy(white)


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
