"""Artifact augmentation: new images are shown compressed, to look like replayed ones (CIM, section 4)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cimbench.datasets.images.image_store import ImageStore
from cimbench.datasets.stream.feed import sent
from cimbench.methods.compression.boxes.boxes import Boxes
from cimbench.methods.compression.compressor import Compressor, with_boxes
from cimbench.methods.compression.exemplars.exemplar import Format
from cimbench.methods.networks.network import Network

_CHUNK = 1024


@dataclass
class Artifacts:
    """Compressed versions of a phase's new images, made again as the network learns.

    images: the new images, in the order in which the phase's pool has them. form: how the versions are stored.
    random: places boxes that are random.
    side: of the pool's images. resident: keep the compressed versions as pixels, or only their boxes and make the
    versions for the batch that shows them; it changes no pixel.
    """

    images: ImageStore
    compressor: Compressor
    form: Format
    random: torch.Generator
    side: int
    resident: bool = True
    refreshes: int = 0
    compressed_pixels: Tensor = field(default_factory=lambda: torch.empty(0))
    boxes: Tensor = field(default_factory=lambda: torch.empty(0, 4, dtype=torch.int64))
    chosen: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))

    @property
    def probability(self) -> float:
        """That a new image is shown as its compressed version: step x refreshes so far."""
        assert self.compressor.artifacts is not None
        return min(1.0, self.compressor.artifacts.step * self.refreshes)

    def before_epoch(self, epoch: int, network: Network) -> None:
        """Make the compressed versions again, by the network's boxes, where this epoch (0-based) is due."""
        assert self.compressor.artifacts is not None
        if epoch == 0 or epoch % self.compressor.artifacts.refresh_epochs:
            return
        self.compressed_pixels = torch.empty(0)
        parts = (self.images.subset(indices) for indices in self._chunks())
        boxes = self.compressor.augmentation_compressor.boxes
        self.boxes = torch.cat([boxes(part, network, self.random).xyxy.cpu() for part in parts])
        self.refreshes += 1

    def _chunks(self) -> tuple[Tensor, ...]:
        """Of all images, since never all of them are held at full resolution."""
        return torch.split(torch.arange(len(self.images)), _CHUNK)

    def _make_all(self, device: torch.device) -> None:
        """The compressed versions by the present boxes; nothing is copied to put them together."""
        self.compressed_pixels = torch.empty(
            len(self.images), 3, self.side, self.side, dtype=torch.uint8, device=device
        )
        for indices in self._chunks():
            self.compressed_pixels[indices] = self._compressed(self.images.subset(indices), self.boxes[indices], device)

    def _compressed(self, images: ImageStore, boxes: Tensor, device: torch.device) -> Tensor:
        """(n, 3, side, side) uint8 on the device: images as they look when replayed."""
        made = with_boxes(images, Boxes.of(boxes), self.form, device).exemplars
        return made.batch(torch.arange(len(made)), self.side)

    def draw_augmented(self, random: torch.Generator) -> None:
        """Draw which images are shown compressed from now on, each with the present probability."""
        self.chosen = torch.rand(len(self.images), generator=random) < self.probability

    def apply(self, images: Tensor, indices: Tensor) -> Tensor:
        """New images (B, 3, S, S) uint8, `indices` (B,) among the phase's, those that were drawn compressed."""
        if self.refreshes == 0 or not len(self.chosen):
            return images
        where = torch.nonzero(self.chosen[indices]).flatten()
        if not len(where):
            return images
        which = indices[where]
        if self.resident and not len(self.compressed_pixels):
            self._make_all(images.device)
        if self.resident:
            pixels = self.compressed_pixels[sent(which, images.device)]
        else:
            pixels = self._compressed(self.images.subset(which), self.boxes[which], images.device)
        return images.index_copy(0, sent(where, images.device), pixels.to(images.device))

    def state_dict(self) -> dict[str, Tensor]:
        """Refreshes so far, the boxes made at the last one, the random stream; the versions follow from the boxes."""
        return {"refreshes": torch.tensor(self.refreshes), "random": self.random.get_state(), "boxes": self.boxes}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        self.refreshes, self.compressed_pixels, self.boxes = (
            int(state["refreshes"]),
            torch.empty(0),
            state["boxes"].cpu(),
        )
        self.random.set_state(state["random"].cpu())
