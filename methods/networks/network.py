"""A backbone with its classifier: the only thing of a host method that a compressor may ask for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from cimbench.datasets.errors import InputError, check_at_least, check_choice
from cimbench.datasets.stream.augment import normalise
from cimbench.methods.networks.heads import LinearHead, new_head
from cimbench.methods.networks.resnet import STEMS, ResNet, initialise

ARCHITECTURES = {"resnet18": (2, 2, 2, 2), "resnet8": (1, 1, 1)}


@dataclass(frozen=True, kw_only=True)
class NetworkParameters:
    """architecture: resnet18 (four stages of two blocks) or resnet8 (three stages of one). width: channels of the
    first stage (64 in the papers). stem: see resnet.STEMS. input_side: pixels to which images are squashed.
    channels_last: weights laid out with channels innermost, which tensor cores prefer.
    """

    architecture: str
    stem: str
    width: int
    input_side: int
    channels_last: bool = False

    def __post_init__(self) -> None:
        check_choice("network.architecture", self.architecture, ARCHITECTURES)
        check_choice("network.stem", self.stem, STEMS)
        check_at_least("network.width", self.width, 1)
        check_at_least("network.input_side", self.input_side, 8)


class Output(NamedTuple):
    """logits (B, classes), features (B, F), maps (B, F, s, s)."""

    logits: Tensor
    features: Tensor
    maps: Tensor


class Network(nn.Module):
    """One or more ResNets side by side, global average pooling, and a growing head over all of it.

    auxiliary: a second head that a method learns beside the first and drops afterwards; forward leaves it out.
    head: "linear", or "cosine" on features without the last ReLU (LUCIR). frozen: how many of the first branches are
    not learnt from now on; their batch statistics stay as they are, too. rational_activations: see ResNet.
    """

    def __init__(
        self,
        parameters: NetworkParameters,
        random: torch.Generator,
        head: str = "linear",
        *,
        rational_activations: bool = False,
    ) -> None:
        super().__init__()
        self.rational_activations = rational_activations
        self.parameters_given = parameters
        self.input_side = parameters.input_side
        self.head_kind = head
        self.branches = nn.ModuleList([self._branch(random)])
        self.frozen = 0
        self.head = new_head(head, self.features)
        self.auxiliary: LinearHead | None = None

    def _branch(self, random: torch.Generator) -> ResNet:
        given = self.parameters_given
        blocks, activated = ARCHITECTURES[given.architecture], self.head_kind != "cosine"
        branch = ResNet(
            blocks, given.width, given.stem, last_activation=activated, rational_activations=self.rational_activations
        )
        initialise(branch, random)
        layout = torch.channels_last if given.channels_last else torch.contiguous_format
        return branch.to(memory_format=layout)

    @property
    def features(self) -> int:
        """Features of all branches together."""
        return self.backbone.features * len(self.branches)

    @property
    def backbone(self) -> ResNet:
        """The last branch, which is the one that learns."""
        last = self.branches[-1]
        assert isinstance(last, ResNet)
        return last

    def add_branch(self, random: torch.Generator, *, warm: bool) -> None:
        """Add a branch and freeze the others; `warm`: it starts from the last one's weights. The head is widened.

        Raises InputError for a cosine head, whose rows have one branch's features.
        """
        if not isinstance(self.head, LinearHead):
            raise InputError(f"a network with a {self.head_kind} head has one branch; more need a linear head")
        branch = self._branch(random).to(self.device)
        if warm:
            branch.load_state_dict(self.backbone.state_dict())
        self.freeze(len(self.branches))
        self.branches.append(branch)
        self.head.widen(branch.features, random)

    def freeze(self, branches: int) -> None:
        """Learn all but the first `branches` branches from now on."""
        self.frozen = branches
        for number, branch in enumerate(self.branches):
            branch.requires_grad_(number >= branches)
        self.train(self.training)

    def train(self, mode: bool = True) -> Network:
        """As any module, but frozen branches stay in evaluation mode."""
        super().train(mode)
        for branch in self.branches[: self.frozen]:
            branch.eval()
        return self

    def match(self, state: dict[str, Tensor]) -> None:
        """Take the shapes of a saved state: as many branches, a head of as many rows."""
        count = 1 + max(int(name.split(".")[1]) for name in state if name.startswith("branches."))
        while len(self.branches) < count:
            self.branches.append(self._branch(torch.Generator()).to(self.device))
        self.freeze(count - 1)
        self.head.match({name.removeprefix("head."): value for name, value in state.items() if name[:5] == "head."})

    def forward(self, images: Tensor, activation: str = "relu") -> Output:
        """Normalised images (B, 3, S, S) -> Output; maps and features of the branches one after another.

        activation: one of resnet.ACTIVATIONS.
        """
        maps = torch.cat([branch(images, activation) for branch in self.branches], 1)
        features = maps.mean((2, 3))
        return Output(self.head(features), features, maps)

    def rational(self, branch: int) -> Tensor:
        """The coefficients (positions, 10) of a branch's rational activations; InputError where it has none."""
        if not self.rational_activations:
            raise InputError("the network has no rational activations; it was built without")
        found = self.branches[branch]
        assert isinstance(found, ResNet)
        return found.rational

    def class_rows(self, labels: Tensor) -> Tensor:
        """The classifier rows (B, F) of the labels, for a class activation map."""
        return self.head.weight[labels]

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.head.weight.device


@torch.no_grad()
def frozen_output(network: Network, images: Tensor) -> Output:
    """What a network that is not learnt says of normalised images: a constant to every gradient, images' included."""
    output: Output = network(images)
    return output


@torch.no_grad()
def in_eval(network: Network, images: Tensor, part: str, batch_size: int = 256, activation: str = "relu") -> Tensor:
    """One part of Output ("logits", "features" or "maps") for (N, 3, S, S) uint8 images, in evaluation mode.

    The network's mode is restored; the other parts are dropped batch by batch.
    """
    was_training = network.training
    network.eval()
    batches = torch.split(images, batch_size)
    parts: list[Tensor] = [getattr(network(normalise(batch.to(network.device)), activation), part) for batch in batches]
    network.train(was_training)
    return torch.cat(parts)
