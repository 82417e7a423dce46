"""The one data type: images of one or of varying size with labels, names, boxes and a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import InitVar, dataclass, field, replace
from functools import cached_property
from typing import TypeVar

import torch
from torch import Tensor

from cimbench.datasets.errors import InputError, printable
from cimbench.datasets.images.pixels import InMemory, Pixels
from cimbench.datasets.images.threads import readers, runs

Made = TypeVar("Made")


def _no_boxes() -> Tensor:
    return torch.empty(0, 4, dtype=torch.int64)


@dataclass(frozen=True, kw_only=True)
class ImageStore:
    """N uint8 RGB images, whose sizes may differ, with what is known of them.

    pixels: where they lie, in memory or on the disk. sizes: (N, 2) int64, height and width in pixels. labels: (N,)
    int64 into class_names. names: unique per image. is_test: (N,) bool. boxes: (N, 4) int64 XYXY pixels with
    exclusive ends, people's object boxes, -1 where an image has none; (0, 4) where the data set has none. damaged:
    pictures that were left out, with the reason. known_digest: the digest, where all bytes are too many to be read
    for it; of these images alone, so that a changed copy has its own.
    """

    pixels: Pixels
    sizes: Tensor
    labels: Tensor
    class_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    is_test: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    boxes: Tensor = field(default_factory=_no_boxes)
    damaged: tuple[str, ...] = ()
    known_digest: InitVar[str] = ""

    def __post_init__(self, known_digest: str) -> None:
        self.pixels.check(self.sizes)
        if len(self.labels) != len(self.sizes):
            raise InputError(f"{len(self.labels)} labels for {len(self.sizes)} images; give one each")
        if known_digest:
            self.__dict__["digest"] = known_digest  # the cached property's place

    def __len__(self) -> int:
        return len(self.sizes)

    @classmethod
    def from_images(cls, images: Sequence[Tensor], labels: Sequence[int] | Tensor, **rest: object) -> ImageStore:
        """A store of (3, H, W) uint8 images, in memory."""
        sizes = torch.tensor([image.shape[-2:] for image in images], dtype=torch.int64).reshape(-1, 2)
        content = torch.cat([image.reshape(-1) for image in images]) if images else torch.empty(0, dtype=torch.uint8)
        pixels = InMemory(content, 3 * sizes.prod(1))
        return cls(pixels=pixels, sizes=sizes, labels=torch.as_tensor(labels, dtype=torch.int64), **rest)  # type: ignore[arg-type]

    @cached_property
    def uniform_size(self) -> tuple[int, int] | None:
        """(height, width) where all images share it, else None."""
        same = len(self) > 0 and bool((self.sizes == self.sizes[0]).all())
        return (int(self.sizes[0, 0]), int(self.sizes[0, 1])) if same else None

    def image(self, index: int) -> Tensor:
        """Image `index` as (3, H, W) uint8; InputError where its bytes are not what was prepared."""
        height, width = self.sizes[index].tolist()
        try:
            return self.pixels.image(index, height, width)
        except RuntimeError as error:
            name = printable(self.names[index]) if self.names else f"image {index}"
            raise InputError(
                f"{self.pixels.origin}: {name} is damaged; see `cimbench verify`, and prepare the data again"
            ) from error

    def subset(self, indices: Tensor) -> ImageStore:
        """The images at `indices`, in that order, with everything that belongs to them."""
        return replace(
            self,
            pixels=self.pixels.subset(indices),
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
        rows = self.pixels.rows() if self.uniform_size == (side, side) else None
        if rows is not None:
            return resized.copy_(rows.view(len(self), 3, side, side))

        def place(indices: range) -> None:
            for index in indices:
                resized[index] = squashed(self.image(index), side)

        self._in_runs(place, len(self))
        return resized

    def same_size_groups(self) -> list[Tensor]:
        """Indices grouped by image size, so that each group can be stacked and handled as one batch."""
        return groups_of_one_size(self.sizes)

    def stacked(self, indices: Tensor) -> Tensor:
        """Images of one size as (n, 3, H, W) uint8; not copied where they are all of a store in memory of one size."""
        rows = self.pixels.rows() if self.uniform_size else None
        if self.uniform_size and rows is not None:
            images = rows.view(len(self), 3, *self.uniform_size)
            return images if torch.equal(indices, torch.arange(len(self))) else images[indices]
        wanted = indices.tolist()
        if not wanted and self.uniform_size:
            return torch.empty(0, 3, *self.uniform_size, dtype=torch.uint8)
        pieces = self._in_runs(lambda run: [self.image(wanted[i]) for i in run], len(wanted))
        return torch.stack([image for piece in pieces for image in piece])

    def _in_runs(self, work: Callable[[range], Made], count: int) -> list[Made]:
        """work(run) for 0..count-1 in runs, by several threads where an image is worth one."""
        return list((readers().map if self.pixels.in_threads else map)(work, runs(count)))

    @cached_property
    def digest(self) -> str:
        """sha256 over everything in the store: two stores with one digest are the same data."""
        return self.computed_digest()

    def computed_digest(self) -> str:
        """The digest from every byte, whatever is known of it."""
        sha = hashlib.sha256(self.pixels.kind().encode())
        for piece in self.pixels.pieces():
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
