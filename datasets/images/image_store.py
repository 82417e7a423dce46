"""The one data type: images of one or of varying size with labels, names, boxes and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError


def _no_boxes() -> Tensor:
    return torch.empty(0, 4, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class ImageStore:
    """N uint8 RGB images, one after another in one run of bytes, so that sizes may differ without padding.

    pixels: (Q,) uint8, each image as (3, H, W), in order. sizes: (N, 2) int64, height and width in pixels. labels: (N,)
    int64 into class_names. names: unique per image. is_test: (N,) bool. boxes: (N, 4) int64 XYXY pixels with
    exclusive ends, people's object boxes, -1 where an image has none; (0, 4) where the data set has none. damaged:
    pictures that were left out, with the reason.
    """

    pixels: Tensor
    sizes: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_test: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    boxes: Tensor = field(default_factory=_no_boxes)
    damaged: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.pixels.dtype != torch.uint8 or self.pixels.ndim != 1:
            raise InputError(f"pixels are {self.pixels.dtype} {tuple(self.pixels.shape)}; give (Q,) uint8 bytes")
        if int(self.starts[-1]) != len(self.pixels):
            raise InputError(f"sizes add up to {int(self.starts[-1])} bytes, the pixels have {len(self.pixels)}")
        if len(self.labels) != len(self.sizes):
            raise InputError(f"{len(self.labels)} labels for {len(self.sizes)} images; give one each")

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def from_images(cls, images: Sequence[Tensor], labels: Sequence[int] | Tensor, **rest: object) -> ImageStore:
        """A store of (3, H, W) uint8 images."""
        sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.int64).reshape(-1, 2)
        pixels = torch.cat([image.reshape(-1) for image in images]) if images else torch.empty(0, dtype=torch.uint8)
        return cls(pixels=pixels, sizes=sizes, labels=torch.as_tensor(labels, dtype=torch.int64), **rest)  # type: ignore[arg-type]

    @cached_property
    def starts(self) -> Tensor:
        """(N + 1,) int64: where each image's bytes begin."""
        return torch.cat([torch.zeros(1, dtype=torch.int64), 3 * self.sizes.prod(1).cumsum(0)])

    @cached_property
    def uniform_size(self) -> tuple[int, int] | None:
        """(height, width) where all images share it, else None."""
        same = len(self) > 0 and bool((self.sizes == self.sizes[0]).all())
        return (int(self.sizes[0, 0]), int(self.sizes[0, 1])) if same else None

    def image(self, index: int) -> Tensor:
        """Image `index` as (3, H, W) uint8."""
        height, width = self.sizes[index].tolist()
        return self.pixels[int(self.starts[index]) : int(self.starts[index + 1])].view(3, height, width)

    def subset(self, indices: Tensor) -> ImageStore:
        """The images at `indices`, in that order, with everything that belongs to them."""
        if self.uniform_size:
            height, width = self.uniform_size
            pixels = self.pixels.view(len(self), 3 * height * width)[indices].reshape(-1)
        else:
            parts = [self.pixels[int(self.starts[i]) : int(self.starts[i + 1])] for i in indices.tolist()]
            pixels = torch.cat(parts) if parts else self.pixels[:0]
        return replace(
            self,
            pixels=pixels,
            sizes=self.sizes[indices],
            labels=self.labels[indices],
            names=tuple(self.names[i] for i in indices.tolist()) if self.names else (),
            is_test=self.is_test[indices] if len(self.is_test) else self.is_test,
            boxes=self.boxes[indices] if len(self.boxes) else self.boxes,
        )

    def resized(self, side: int) -> Tensor:
        """All images squashed to (N, 3, side, side) uint8 (bilinear, antialiased; untouched where they fit).

        They lie channels-last in memory, the order in which small convolutions are fastest on a CPU.
        """
        resized = torch.empty(len(self), 3, side, side, dtype=torch.uint8).to(memory_format=torch.channels_last)
        if self.uniform_size == (side, side):
            return resized.copy_(self.pixels.view(len(self), 3, side, side))
        for i in range(len(self)):
            resized[i] = squashed(self.image(i), side)
        return resized

    def same_size_groups(self) -> list[Tensor]:
        """Indices grouped by image size, so that each group can be stacked and handled as one batch."""
        return groups_of_one_size(self.sizes)

    def stacked(self, indices: Tensor) -> Tensor:
        """Images of one size as (n, 3, H, W) uint8; not copied where they are all of a store of one size."""
        if self.uniform_size:
            images = self.pixels.view(len(self), 3, *self.uniform_size)
            return images if torch.equal(indices, torch.arange(len(self))) else images[indices]
        return torch.stack([self.image(i) for i in indices.tolist()])

    def _content(self) -> Iterable[Tensor]:
        """The images' bytes in their order, in pieces."""
        return (self.pixels,)

    def _content_kind(self) -> str:
        return f"{self.pixels.dtype}{tuple(self.pixels.shape)}"

    @cached_property
    def digest(self) -> str:
        """sha256 over everything in the store: two stores with one digest are the same data."""
        sha = hashlib.sha256(self._content_kind().encode())
        for piece in self._content():
            sha.update(piece.contiguous().numpy().data)
        for part in (self.sizes, self.labels, self.is_test, self.boxes):
            sha.update(f"{part.dtype}{tuple(part.shape)}".encode())
            sha.update(part.contiguous().numpy().tobytes())
        names = (name.replace("\n", "\0n") for name in (*self.class_names, "", *self.names))  # no name has a zero
        sha.update("\n".join(names).encode("utf-8", "surrogateescape"))
        return sha.hexdigest()


def squashed(image: Tensor, side: int) -> Tensor:
    """An image (3, H, W) uint8 as (3, side, side): bilinear, antialiased; as it is where it fits."""
    if image.shape[-2:] == (side, side):
        return image
    return resized(image, side)


def resized(images: Tensor, side: int) -> Tensor:
    """Images (..., H, W) as (..., side, side): bilinear, antialiased, whatever their proportions."""
    from torchvision.transforms.v2 import functional  # takes seconds to import, and much is done without it

    made: Tensor = functional.resize(images, [side, side], antialias=True)
    return made


def groups_of_one_size(sizes: Tensor) -> list[Tensor]:
    """Indices of equal rows of sizes (N, 2), one tensor a size."""
    if len(sizes) == 0:
        return []
    _, group = torch.unique(sizes, dim=0, return_inverse=True)
    return [torch.nonzero(group == g).flatten() for g in range(int(group.max()) + 1)]
