"""The contract of a host method: learn a phase, embed images, score them with one or more heads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from cimbench.datasets.randomness import generator
from cimbench.datasets.stream.augment import AugmentParameters
from cimbench.methods.losses import Loss
from cimbench.methods.networks.network import Network, NetworkParameters, in_eval
from cimbench.methods.training.recipe import LEARNING, SecondTraining, Stage, TrainingParameters
from cimbench.methods.training.task import Task
from cimbench.methods.training.trainer import train


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What every method is given: the network to build, how to train it, the seed of its generators, the device.

    rational_activations: whether networks have them beside their ReLUs, for compressors that learn them.
    """

    network: NetworkParameters
    training: TrainingParameters
    augmentation: AugmentParameters
    seed: int
    device: torch.device
    rational_activations: bool = False


class Method(ABC):
    """A learner with one network. A method file overrides `learn`; one with more networks overrides the rest too.

    What plans, tables and readers of logs have to know of a method it says here, in its class attributes.
    """

    uses_memory: ClassVar[bool] = True
    head: ClassVar[str] = "linear"  # see networks/heads.py; also its name in tables
    sees_all_data: ClassVar[bool] = False  # the upper bound alone: is given every seen class's images in each phase
    note: ClassVar[str] = ""  # what a reader of a table has to know beside the numbers: a sentence below it
    second_training: ClassVar[SecondTraining | None] = None
    other_names: ClassVar[tuple[str, ...]] = ()  # in logs of other code bases, lower case
    logged_head: ClassVar[str] = ""  # which of its heads such logs call CNN; empty: `head`

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.network = self.new_network("network")

    def new_network(self, *purpose: str | int) -> Network:
        """A freshly initialised network; `purpose` names its random stream."""
        random = generator(self.setup.seed, "initialise", *purpose)
        made = Network(self.setup.network, random, self.head, rational_activations=self.setup.rational_activations)
        return made.to(self.setup.device)

    @property
    def exemplar_network(self) -> Network:
        """The network that boxes, features for herding and nearest means come from."""
        return self.network

    @abstractmethod
    def learn(self, task: Task) -> None:
        """Learn one phase."""

    def fit(self, task: Task, loss: Loss, stage: Stage = LEARNING, network: Network | None = None) -> None:
        """Train the network (or another one) on the task by the setup's recipe, or by what the stage says instead."""
        setup = self.setup
        train(
            network or self.network,
            loss,
            task,
            stage.changed(setup.training),
            setup.augmentation,
            setup.seed,
            stage.name,
        )

    def grow_head(self, task: Task) -> None:
        """Give the classifier rows for the task's new classes."""
        self.network.head.grow(task.total_classes, generator(self.setup.seed, "head", task.phase))

    def embed(self, images: Tensor) -> Tensor:
        """Features (N, F) of images (N, 3, S, S) uint8, for herding and nearest means."""
        return in_eval(self.exemplar_network, images, "features")

    def scores(self, images: Tensor) -> dict[str, Tensor]:
        """Scores (N, classes) of images (N, 3, S, S) uint8 for each of the method's own heads."""
        return {self.head: in_eval(self.network, images, "logits")}

    def state_dict(self) -> dict[str, Tensor]:
        """Everything that the next phase starts from."""
        return {f"network.{name}": value for name, value in self.network.state_dict().items()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take over a saved state."""
        own = {name.removeprefix("network."): value for name, value in state.items() if name.startswith("network.")}
        self.network.match(own)
        self.network.load_state_dict(own)
