"""The GPU kernels give what the CPU gives. Without one: Triton's interpreter, and a compilation."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch

pytest.importorskip("triton", reason="Triton is not installed here")

from cimbench.methods.compression.boxes import kernels as box_kernels
from cimbench.methods.compression.boxes.activation import activation_boxes
from cimbench.methods.compression.exemplars import kernels
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.compression.exemplars.packing import pack, unpack
from tests.conftest import textured_images

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # there by the interpreter, see conftest.py
pytestmark = [pytest.mark.gpu] if DEVICE == "cuda" else []
CORNERS = [[0, 0, 0, 0], [0, 0, -1, -1], [5, 3, 20, 17], [2, 4, 3, 5], [0, 0, -1, 1], [7, 0, 9, -1], [4, 4, 4, 9]]
SIZES = [(22, 31), (1, 9), (9, 1), (5, 140)]


def boxes_within(height: int, width: int) -> torch.Tensor:
    """Boxes of every kind that fit, -1 meaning the far edge."""
    boxes = torch.tensor(CORNERS)
    far = torch.tensor([0, 0, width, height])
    boxes = torch.where((boxes < 0) & (torch.arange(4) > 1), far, boxes)
    return torch.minimum(boxes, torch.tensor([width, height, width, height]))


@pytest.mark.parametrize("ratio", [1.5, 16.0])
@pytest.mark.parametrize("size", SIZES)
def test_packing_and_unpacking(size: tuple[int, int], ratio: float) -> None:
    boxes = boxes_within(*size)
    images = textured_images(len(boxes), *size, 0)
    if ratio > 2:
        images = images.to(memory_format=torch.channels_last)
    expected = pack(images, boxes, torch.arange(len(boxes)), Format(ratio=ratio))
    headers = type(expected.headers)(expected.headers.table.to(DEVICE))
    buffer = torch.empty(int(headers.starts[-1]), dtype=torch.uint8, device=DEVICE)
    kernels.pack_into(buffer, headers.starts[:-1], images.to(DEVICE), headers)
    assert torch.equal(buffer.cpu(), expected.buffer)
    order = torch.randperm(len(boxes), generator=torch.Generator().manual_seed(1))
    shown = kernels.unpack(buffer, headers.starts[:-1][order], headers[order], *size)
    plain = unpack(expected.buffer, expected.headers.starts[:-1], expected.headers, Format(ratio=ratio))
    assert torch.equal(shown.cpu(), plain[order])


@pytest.mark.parametrize("cells", [(7, 7), (4, 9)])
@pytest.mark.parametrize("size", SIZES)
def test_boxes(size: tuple[int, int], cells: tuple[int, int]) -> None:
    cam = torch.randn(12, *cells, generator=torch.Generator().manual_seed(2))
    cam[3] = 0.7
    for threshold in (0.4, 0.8):
        expected = activation_boxes(cam, torch.tensor(size).expand(12, 2), threshold)
        found = box_kernels.activation_boxes(cam.to(DEVICE), *size, threshold)
        assert torch.equal(found.xyxy.cpu(), expected.xyxy)
        assert found.stored_whole.tolist() == expected.stored_whole.tolist() == [i == 3 for i in range(12)]


def test_empty_batches() -> None:
    headers = pack(
        textured_images(1, 4, 4, 0), torch.zeros(1, 4).long(), torch.zeros(1).long(), Format(ratio=4.0)
    ).headers
    nothing = headers[torch.tensor([], dtype=torch.int64)]
    kernels.pack_into(torch.empty(0, dtype=torch.uint8), torch.empty(0), torch.empty(0, 3, 4, 4), nothing)
    assert kernels.unpack(torch.empty(0, dtype=torch.uint8), torch.empty(0).long(), nothing, 4, 4).shape == (0, 3, 4, 4)
    assert len(box_kernels.activation_boxes(torch.empty(0, 7, 7), 4, 4, 0.5).xyxy) == 0


COMPILE = """
import triton
from triton.compiler import ASTSource
from triton.backends.compiler import GPUTarget
from cimbench.methods.compression.boxes.kernels import boxes_kernel
from cimbench.methods.compression.exemplars import kernels
names = {"images": "*u8", "buffer": "*u8", "fields": "*i64", "starts": "*i64", "row_index": "*i32",
         "column_index": "*i32", "cams": "*fp32", "boxes": "*i64", "constants": "*i8", "threshold": "fp32",
         "row_low": "*i32", "column_low": "*i32", "row_extreme": "*i32", "column_extreme": "*i32",
         "row_weight": "*fp32", "column_weight": "*fp32"}
blocks = {"block_rows": 8, "block_columns": 128, "block_cells": 64, "block": 128}
for kernel in (kernels.pack_kernel, kernels.unpack_kernel, boxes_kernel):
    constants = {name: blocks[name] for name in kernel.arg_names if name in blocks}
    signature = {name: "constexpr" if name in blocks else names.get(name, "i32") for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    print(kernel.__name__, len(made.asm["cubin"]))
"""


def test_they_compile_for_a_gpu_that_is_not_here() -> None:
    """The interpreter takes what the compiler does not: sm_90 code is made of each kernel."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    done = subprocess.run([sys.executable, "-c", COMPILE], env=environment, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = dict(line.split() for line in done.stdout.splitlines())
    assert set(lines) == {"pack_kernel", "unpack_kernel", "boxes_kernel"}
    assert all(int(size) > 1000 for size in lines.values())
