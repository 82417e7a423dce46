"""What is measured on: synthetic images of fixed shapes, and real photographs of many."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import Tensor

from cimbench.benchmarks.report.compressors.sample_photographs import read_photographs
from cimbench.datasets.images.image_store import ImageStore

RATIO, THRESHOLD, FEATURES, CELLS = 4.0, 0.6, 512, 7
ARCHIVE = "data/imagenet-samples-64.tar"
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU here")),
]


@dataclass(frozen=True)
class Shape:
    """Synthetic images of one size; more of them on a GPU, whose launches cost what copying some hundred does."""

    height: int
    width: int
    count: int
    count_on_gpu: int

    def __str__(self) -> str:
        return f"{self.width} x {self.height}"

    def images(self, device: str) -> Tensor:
        """(N, 3, H, W) uint8 noise."""
        random = torch.Generator().manual_seed(0)
        count = self.count if device == "cpu" else self.count_on_gpu
        size = (count, 3, self.height, self.width)
        return torch.randint(0, 256, size, generator=random, dtype=torch.uint8).to(device)

    def sizes(self, count: int) -> Tensor:
        """(count, 2): height and width of each."""
        return torch.tensor([self.height, self.width]).expand(count, 2)


WIDE = Shape(384, 512, 64, 512)  # the shape of the reference's own timing
SQUARE = Shape(224, 224, 64, 2048)


def peaked_maps(count: int, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Last maps (N, 512, 7, 7) and classifier rows (N, 512) whose activation has one peak; boxes of about a third."""
    random = torch.Generator().manual_seed(1)
    cells = torch.arange(CELLS).float()
    centre = 1.5 + 3 * torch.rand(count, 2, 1, generator=random)
    across, down = (torch.exp(-((cells - centre[:, side]) ** 2) / 8) for side in (0, 1))
    peak = down[:, None, :, None] * across[:, None, None, :]
    rows = torch.rand(count, FEATURES, generator=random)
    maps = peak * (0.5 + torch.rand(1, FEATURES, 1, 1, generator=random))
    maps = maps + 0.02 * torch.rand(count, FEATURES, CELLS, CELLS, generator=random)
    return maps.to(device), rows.to(device)


def photographs() -> ImageStore:
    """64 ImageNet photos of their own sizes; skipped with the reason where the archive is absent."""
    return read_photographs(archive_of_photographs())


def archive_of_photographs() -> Path:
    """Of the 64 ImageNet photos, which are copied with a project that leaves its shared folder behind."""
    root = Path(__file__).resolve().parents[2]
    archive = Path(os.environ.get("CIMBENCH_SHARED", str(root / "../shared"))) / ARCHIVE
    if not archive.is_file():
        pytest.skip(f"{archive} is absent; set CIMBENCH_SHARED to the folder that holds data/")
    return archive
