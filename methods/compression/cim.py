"""CIM: masks that learn with the classes, by bilevel optimisation (Luo et al., CVPR 2023; ablation row 9)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cimbench.methods.compression.masks.adaptive import AdaptiveMasks, AdaptiveParameters


@dataclass(frozen=True, kw_only=True)
class CIMParameters(AdaptiveParameters):
    """The paper's own."""

    section: ClassVar[str] = "compressors.cim"


class CIM(AdaptiveMasks):
    """Boxes around adaptive activation, phi learnt through theta+."""

    def __init__(self, parameters: CIMParameters) -> None:
        super().__init__(parameters)
