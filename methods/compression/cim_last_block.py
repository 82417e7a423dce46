"""CIM with rational activations in the last residual block alone (ablation row 10)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cimbench.methods.compression.masks.adaptive import AdaptiveMasks, AdaptiveParameters


@dataclass(frozen=True, kw_only=True)
class CIMLastBlockParameters(AdaptiveParameters):
    """activations: "last_block"."""

    section: ClassVar[str] = "compressors.cim_last_block"
    activations: str = "last_block"


class CIMLastBlock(AdaptiveMasks):
    """The other activations of the map's forward are ReLUs."""

    def __init__(self, parameters: CIMLastBlockParameters) -> None:
        super().__init__(parameters)
