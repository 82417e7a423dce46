"""CIM in one level (ablation row 8): phi and theta go down the same loss in turn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from cimbench.methods.compression.masks.adaptive import AdaptiveMasks, AdaptiveParameters


@dataclass(frozen=True, kw_only=True)
class CIMJointParameters(AdaptiveParameters):
    """levels: "one"."""

    section: ClassVar[str] = "compressors.cim_joint"
    levels: str = "one"


class CIMJoint(AdaptiveMasks):
    """phi goes down the host's loss on softly compressed images; there is no theta+."""

    def __init__(self, parameters: CIMJointParameters) -> None:
        super().__init__(parameters)
