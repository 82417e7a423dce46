"""Pictures of what the memory keeps: the image, the map, its box, and what is replayed. Needs torchvision alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.io import encode_png
from torchvision.utils import draw_bounding_boxes, make_grid

from cimbench.datasets.arrays import write_atomically
from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.stream.phases import Phase
from cimbench.methods.memory.memory import ExemplarMemory
from cimbench.methods.networks.network import Network

_SIDE = 128  # pixels of a tile
_CLASSES = 8  # rows at most


def write_gallery(path: Path, phase: Phase, memory: ExemplarMemory, network: Network) -> None:
    """One row for each of the phase's first classes: original, the map that its box was read from (where there is one),
    box, replayed exemplar; of the class's most important exemplar."""
    rows = [_row(one, memory, index, network) for one, index in _shown(phase, memory)]
    _write_grid(path, [tile for row in rows for tile in row], len(rows[0]) if rows else 0)


def _shown(phase: Phase, memory: ExemplarMemory) -> Iterator[tuple[ImageStore, int]]:
    """The most important exemplar of each of the phase's first classes: its image, its place in the memory."""
    labels = memory.store.labels if len(memory) else torch.empty(0)
    position = {name: i for i, name in enumerate(phase.train.names)}
    for label in phase.new_labels[:_CLASSES]:
        mine = torch.nonzero(labels == label).flatten()
        if len(mine):
            index = int(mine[0])
            yield phase.train.subset(torch.tensor([position[memory.names[index]]])), index


def _write_grid(path: Path, tiles: list[Tensor], columns: int) -> None:
    """The tiles as one PNG; nothing where there are none."""
    if tiles:
        content = encode_png(make_grid(torch.stack(tiles), nrow=columns, padding=4, pad_value=255)).numpy().tobytes()
        write_atomically(path, lambda file: file.write(content))


def write_boxes(path: Path, phase: Phase, memory: ExemplarMemory, network: Network) -> None:
    """The same exemplars without their pictures, which may not be passed on with every data set: the map (grey where
    there is none), the exemplar's box in white, people's box in black."""
    tiles = []
    for one, index in _shown(phase, memory):
        maps = memory.compressor.maps(one, network)
        drawn = torch.full_like(one.image(0), 128)
        if maps is not None:
            drawn = _heat(drawn, maps[0].float().cpu(), 1.0)
        drawn = _boxed(drawn, memory.store.headers.boxes[index], "white")
        tiles.append(_tile(_boxed(drawn, one.boxes[0], "black") if len(one.boxes) else drawn))
    _write_grid(path, tiles, _CLASSES)


def _tile(image: Tensor) -> Tensor:
    """The image in a square tile, its proportions kept."""
    scale = _SIDE / max(image.shape[-2:])
    size = [max(1, round(side * scale)) for side in image.shape[-2:]]
    enlarged = functional.interpolate(image[None].float(), size=size, mode="nearest-exact")[0].to(torch.uint8)
    return functional.pad(enlarged, (0, _SIDE - size[1], 0, _SIDE - size[0]), value=255)


def _boxed(image: Tensor, box: Tensor, colour: str) -> Tensor:
    """The image with an XYXY box drawn onto it; as it is where the box is empty."""
    x0, y0, x1, y1 = box.tolist()
    if x1 <= x0 or y1 <= y0:
        return image.contiguous()
    drawn: Tensor = draw_bounding_boxes(image.contiguous(), torch.tensor([[x0, y0, x1 - 1, y1 - 1]]), colors=colour)
    return drawn


def _heat(image: Tensor, map_: Tensor, opacity: float = 0.55) -> Tensor:
    """The map over the darkened image, from blue (lowest) to red; (3, H, W) uint8."""
    low, high = map_.min(), map_.max()
    scaled = (map_ - low) / (high - low) if high > low else torch.ones_like(map_)
    size = (int(image.shape[-2]), int(image.shape[-1]))
    heat = functional.interpolate(scaled[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    colours = 255 * torch.stack([heat, (1 - (2 * heat - 1).abs()) * 0.8, 1 - heat])
    return ((1 - opacity) * image.float() + opacity * colours).round().clamp(0, 255).to(torch.uint8)


def _row(one: ImageStore, memory: ExemplarMemory, index: int, network: Network) -> list[Tensor]:
    original = one.image(0)
    boxed = _boxed(original, memory.store.headers.boxes[index], "red")
    shown = memory.store.decoded(torch.tensor([index]))[0].cpu()
    maps = memory.compressor.maps(one, network)
    heat = [] if maps is None else [_tile(_heat(original, maps[0].float().cpu()))]
    return [_tile(original), *heat, _tile(boxed), _tile(shown)]
