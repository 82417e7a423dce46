"""Pictures of what the memory keeps: the image, its box, and what is replayed of it. Needs torchvision alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.io import encode_png
from torchvision.utils import draw_bounding_boxes, make_grid

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.stream import Phase
from cimbench.methods.memory import ExemplarMemory

_SIDE = 128  # pixels of a tile
_CLASSES = 8  # rows at most


def write_gallery(path: Path, phase: Phase, memory: ExemplarMemory) -> None:
    """One row for each of the phase's first classes: original, box, replayed exemplar (the class's most important)."""
    labels = memory.store.labels if len(memory) else torch.empty(0)
    position = {name: i for i, name in enumerate(phase.train.names)}
    tiles: list[Tensor] = []
    for label in phase.new_labels[:_CLASSES]:
        mine = torch.nonzero(labels == label).flatten()
        if len(mine):
            index = int(mine[0])
            original = phase.train.image(position[memory.names[index]])
            tiles += _row(original, memory, index)
    if tiles:
        grid = make_grid(torch.stack(tiles), nrow=3, padding=4, pad_value=255)
        content = encode_png(grid).numpy().tobytes()
        write_atomically(path, lambda file: file.write(content))


def _tile(image: Tensor) -> Tensor:
    """The image in a square tile, its proportions kept."""
    scale = _SIDE / max(image.shape[-2:])
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    enlarged = functional.interpolate(image[None].float(), size=size, mode="nearest-exact")[0].to(torch.uint8)
    return functional.pad(enlarged, (0, _SIDE - size[1], 0, _SIDE - size[0]), value=255)


def _row(original: Tensor, memory: ExemplarMemory, index: int) -> list[Tensor]:
    x0, y0, x1, y1 = memory.store.headers.boxes[index].tolist()
    boxed = original.contiguous()
    if x1 > x0 and y1 > y0:
        boxed = draw_bounding_boxes(boxed, torch.tensor([[x0, y0, x1 - 1, y1 - 1]]), colors="red", width=1)
    shown = memory.store.decoded(torch.tensor([index]))[0].cpu()
    return [_tile(original), _tile(boxed), _tile(shown)]
