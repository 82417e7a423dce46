"""The golden vectors' cases of the mask level."""

from __future__ import annotations

from dataclasses import dataclass

from cimbench.methods.compression.masks.mask_level import Batch, MaskLevel
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network

REFERENCE = MaskLevel(
    ratio=4.0,
    inner_ratio=1.0,
    resampling="nearest",
    activation="rational",
    size_weight=0.1,
    diversity_weight=0.2,
    two_levels=True,
    shortcuts="reference",
    soft_images="reference",
    micro_batch=64,
)


@dataclass
class Case:
    """A golden step: the network, the host's loss, both batches."""

    network: Network
    loss: Loss
    inner: Batch
    outer: Batch
    step: float
