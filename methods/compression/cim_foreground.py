"""CIM whose boxes are compressed too, less than the rest (ablation row 11)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cimbench.methods.compression.masks.adaptive import AdaptiveMasks, AdaptiveParameters


@dataclass(frozen=True, kw_only=True)
class CIMForegroundParameters(AdaptiveParameters):
    """inner_ratio: 1.5; the paper gives none, this is our choice."""

    section: ClassVar[str] = "compressors.cim_foreground"
    inner_ratio: float = 1.5


class CIMForeground(AdaptiveMasks):
    """A smaller crop beside the small image."""

    def __init__(self, parameters: CIMForegroundParameters) -> None:
        super().__init__(parameters)
