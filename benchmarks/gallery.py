"""Pictures of what the memory keeps: the image, the map, its box, and what is replayed. Needs torchvision alone."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.io import encode_png
from torchvision.utils import draw_bounding_boxes, make_grid

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.image_store import ImageStore
from cimbench.datasets.stream import Phase
from cimbench.methods.memory import ExemplarMemory
from cimbench.methods.networks.network import Network

_SIDE = 128  # pixels of a tile
_CLASSES = 8  # rows at most


def write_gallery(path: Path, phase: Phase, memory: ExemplarMemory, network: Network) -> None:
    """One row for each of the phase's first classes: original, the map that its box was read from (where there is one),
    box, replayed exemplar; of the class's most important exemplar."""
    labels = memory.store.labels if len(memory) else torch.empty(0)
    position = {name: i for i, name in enumerate(phase.train.names)}
    rows: list[list[Tensor]] = []
    for label in phase.new_labels[:_CLASSES]:
        mine = torch.nonzero(labels == label).flatten()
        if len(mine):
            index = int(mine[0])
            one = phase.train.subset(torch.tensor([position[memory.names[index]]]))
            rows.append(_row(one, memory, index, network))
    if rows:
        tiles = [tile for row in rows for tile in row]
        grid = make_grid(torch.stack(tiles), nrow=len(rows[0]), padding=4, pad_value=255)
        content = encode_png(grid).numpy().tobytes()
        write_atomically(path, lambda file: file.write(content))


def _tile(image: Tensor) -> Tensor:
    """The image in a square tile, its proportions kept."""
    scale = _SIDE / max(image.shape[-2:])
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    enlarged = functional.interpolate(image[None].float(), size=size, mode="nearest-exact")[0].to(torch.uint8)
    return functional.pad(enlarged, (0, _SIDE - size[1], 0, _SIDE - size[0]), value=255)


def _heat(image: Tensor, map_: Tensor) -> Tensor:
    """The map over the darkened image, from blue (lowest) to red; (3, H, W) uint8."""
    low, high = map_.min(), map_.max()
    scaled = (map_ - low) / (high - low) if high > low else torch.ones_like(map_)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    heat = functional.interpolate(scaled[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    colours = 255 * torch.stack([heat, (1 - (2 * heat - 1).abs()) * 0.8, 1 - heat])
    return (0.45 * image.float() + 0.55 * colours).round().clamp(0, 255).to(torch.uint8)


def _row(one: ImageStore, memory: ExemplarMemory, index: int, network: Network) -> list[Tensor]:
    original = one.image(0)
    x0, y0, x1, y1 = memory.store.headers.boxes[index].tolist()
    boxed = original.contiguous()
    if x1 > x0 and y1 > y0:
        boxed = draw_bounding_boxes(boxed, torch.tensor([[x0, y0, x1 - 1, y1 - 1]]), colors="red", width=1)
    shown = memory.store.decoded(torch.tensor([index]))[0].cpu()
    maps = memory.compressor.maps(one, network)
    heat = [] if maps is None else [_tile(_heat(original, maps[0].float().cpu()))]
    return [_tile(original), *heat, _tile(boxed), _tile(shown)]
