"""Artifact augmentation: new images wear their own compressed version, to look like replayed ones (SPEC 2)."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor

from cimbench.datasets.image_store import ImageStore
from cimbench.methods.compression.codecs import Codec
from cimbench.methods.compression.compress import compressed
from cimbench.methods.compression.compressor import Compressor
from cimbench.methods.networks.network import Network

_CHUNK = 1024


@dataclass
class Artifacts:
    """Compressed versions of a phase's new images, made anew as the network learns.

    images: the new images, in the order in which the phase's pool has them. random: places boxes that are random.
    """

    images: ImageStore
    compressor: Compressor
    codec: Codec
    random: torch.Generator
    refreshes: int = 0
    worn: Tensor = field(default_factory=lambda: torch.empty(0))

    @property
    def probability(self) -> float:
        """That a new image wears its compressed version: step x refreshes so far."""
        assert self.compressor.artifacts is not None
        return min(1.0, self.compressor.artifacts.step * self.refreshes)

    def before_epoch(self, epoch: int, network: Network) -> None:
        """Make the compressed versions anew, by the network's boxes, where this epoch (0-based) is due."""
        assert self.compressor.artifacts is not None
        if epoch == 0 or epoch % self.compressor.artifacts.refresh_epochs:
            return
        parts = []
        for indices in torch.split(torch.arange(len(self.images)), _CHUNK):  # never all of them at full resolution
            part = self.images.subset(indices)
            exemplars = compressed(part, self.compressor.worn, network, self.codec, self.random).exemplars
            parts.append(exemplars.batch(torch.arange(len(exemplars)), network.input_side))
        self.worn = torch.cat(parts)
        self.refreshes += 1

    def dressed(self, images: Tensor, indices: Tensor, random: torch.Generator) -> Tensor:
        """New images (B, 3, S, S) uint8, `indices` among the phase's, each compressed with the present probability."""
        if self.refreshes == 0:
            return images
        chosen = torch.rand(len(indices), generator=random, device=random.device) < self.probability
        worn = self.worn[indices.to(self.worn.device)].to(images.device)
        return torch.where(chosen.to(images.device).view(-1, 1, 1, 1), worn, images)

    def state_dict(self) -> dict[str, Tensor]:
        """Refreshes so far, the versions made at the last one, the random stream."""
        return {"refreshes": torch.tensor(self.refreshes), "worn": self.worn, "random": self.random.get_state()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Wear what was worn."""
        self.refreshes, self.worn = int(state["refreshes"]), state["worn"].to(self.worn.device)
        self.random.set_state(state["random"].cpu())
