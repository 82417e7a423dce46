"""How far the trainings of a phase have come: enough to go on in the middle of one, to the same bits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from torch import Tensor

State = dict[str, Tensor]


@dataclass
class Progress:
    """States of a phase's trainings by their stage's name: finished ones, and the one that goes on.

    A method that learns a phase again from its start finds its finished trainings here and skips them, so that no
    method knows about it. every: epochs between savings; None saves nothing. batches: the same within an epoch. save:
    writes all states. seconds: that an earlier attempt took.
    """

    every: int | None = None
    batches: int | None = None
    save: Callable[[Mapping[str, State]], None] = lambda _states: None
    states: dict[str, State] = field(default_factory=dict)
    seconds: float = 0.0

    def after_epoch(self, stage: str, done: int, epochs: int, state: Callable[[], State]) -> None:
        """Keep a stage's state if `done` of `epochs` epochs are due for it, or the last."""
        if self.every is None and self.batches is None:
            return
        if done < epochs and (self.every is None or done % self.every):
            return
        self.states[stage] = state()
        self.save(self.states)

    def after_batch(self, stage: str, done: int, state: Callable[[], State]) -> None:
        """Keep a stage's state within an epoch of which `done` batches are learnt, if one is due."""
        if self.batches is not None and done % self.batches == 0:
            self.states[stage] = state()
            self.save(self.states)
