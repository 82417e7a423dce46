"""Errors of learning."""

from __future__ import annotations


class NonFiniteLossError(RuntimeError):
    """The loss or a weight became infinite or NaN: training stops, the last checkpoint stays."""

    def __init__(self, what: str, phase: int, remedy: str = "") -> None:
        kept = f"The checkpoint after phase {phase} is kept" if phase else "No phase was complete, so nothing is lost"
        super().__init__(
            f"{what}; lower {remedy or 'training.learning_rate or set training.gradient_clip'} (that is another "
            f"configuration, which starts afresh). {kept}"
        )
