"""What the Triton kernels do, by slices on the values: the interpreter takes seconds for a batch."""

from __future__ import annotations

from typing import Any

import torch

from tests.pretended.tensors import SEEN, OnCuda, line, unwrap


def on_kernel(kernel: Any) -> Any:
    """A Triton kernel through its interpreter, on the values; a CPU tensor is refused as on CUDA."""

    class Launcher:
        def __getitem__(self, grid: Any) -> Any:
            def launch(*args: Any, **kwargs: Any) -> None:
                for place, value in enumerate(args):
                    if isinstance(value, torch.Tensor) and not isinstance(value, OnCuda):
                        raise ValueError(f"Pointer argument (at {place}) cannot be accessed from Triton (cpu tensor?)")
                assert all(0 < size <= (2**31 - 1 if axis == 0 else 65535) for axis, size in enumerate(grid)), grid
                SEEN.operations += 1
                SEEN.launches[line()] += 1
                with torch.utils._python_dispatch._disable_current_modes():
                    kernel[grid](*unwrap(args), **unwrap(kwargs))

            return launch

    return Launcher()


class Plain:
    """Stands in for a kernel: any grid is the whole."""

    def __init__(self, function: Any) -> None:
        self.function = function

    def __getitem__(self, _grid: Any) -> Any:
        return self.function


def plain_kernels() -> dict[str, Plain]:
    """What the Triton kernels do, by slices on the values: the interpreter takes seconds for a batch."""
    from cimbench.methods.compression.boxes.activation import activation_boxes
    from cimbench.methods.compression.exemplars.exemplar import COLUMNS, HEADER_BYTES

    def rows(fields: Any) -> list[dict[str, int]]:
        return [dict(zip(COLUMNS, row, strict=True)) for row in fields.tolist()]

    def stored(f: dict[str, int]) -> Any:
        """Which pixels of the small image are stored, (h, w)."""
        mask = torch.ones(f["small_height"], f["small_width"], dtype=torch.bool)
        mask[f["hidden_y0"] : f["hidden_y1"], f["hidden_x0"] : f["hidden_x1"]] = False
        return mask

    def pack(images: Any, fields: Any, starts: Any, buffer: Any, row: Any, column: Any, *_: Any, **__: Any) -> None:
        for image, f, start in zip(images, rows(fields), starts.tolist(), strict=True):
            crop = image[:, f["y0"] : f["y0"] + f["crop_height"], f["x0"] : f["x0"] + f["crop_width"]].reshape(-1)
            r, c = row[: f["small_height"]].long(), column[: f["small_width"]].long()
            body = torch.cat([crop, image[:, r][:, :, c][:, stored(f)].reshape(-1)])
            buffer[start + HEADER_BYTES : start + HEADER_BYTES + len(body)] = body

    def unpack(buffer: Any, fields: Any, starts: Any, images: Any, row: Any, column: Any, *_: Any, **__: Any) -> None:
        for image, f, start in zip(images, rows(fields), starts.tolist(), strict=True):
            at = start + HEADER_BYTES
            if f["small_height"]:
                small = buffer[at + f["crop_bytes"] : at + f["crop_bytes"] + f["small_bytes"]]
                whole = small.new_zeros(3, f["small_height"], f["small_width"])
                whole[:, stored(f)] = small.view(3, -1)
                image[:] = whole[:, row.long()][:, :, column.long()]
            crop = buffer[at : at + f["crop_bytes"]].view(3, f["crop_height"], f["crop_width"])
            image[:, f["y0"] : f["y0"] + f["crop_height"], f["x0"] : f["x0"] + f["crop_width"]] = crop

    def boxes(
        cams: Any, out: Any, constants: Any, threshold: float, r: int, c: int, h: int, w: int, *_: Any, **__: Any
    ):
        found = activation_boxes(cams.view(-1, r, c), torch.tensor([[h, w]]).expand(len(out), 2), threshold)
        out[:], constants[:] = found.xyxy, found.stored_whole

    return {
        "pack_kernel": Plain(pack),
        "unpack_kernel": Plain(unpack),
        "boxes_kernel": Plain(boxes),
        **rational_kernels(),
    }


def rational_kernels() -> dict[str, Plain]:
    """The activation's, by torch's operations."""
    from cimbench.methods.networks import rational

    of = rational.Flat.of

    def value(x: Any, c: Any, out: Any, *_: Any, **__: Any) -> None:
        out[...] = rational.flat_value(x.reshape(-1), of(c)).view(out.shape)

    def gradient(x: Any, g: Any, c: Any, along: Any, sums: Any, *_: Any, **__: Any) -> None:
        found, total = rational.flat_gradient(x.reshape(-1), g.reshape(-1), of(c))
        along[...] = found.view(along.shape)
        sums.zero_()
        sums[0] = total

    def second(x: Any, g: Any, h: Any, c: Any, hc: Any, for_g: Any, for_x: Any, sums: Any, *_: Any, **__: Any) -> None:
        *found, total = rational.flat_second(*(array.reshape(-1) for array in (x, g, h)), of(c), hc)
        for_g[...], for_x[...] = (array.view(for_g.shape) for array in found)
        sums.zero_()
        sums[0] = total

    return {"value_kernel": Plain(value), "gradient_kernel": Plain(gradient), "second_kernel": Plain(second)}
