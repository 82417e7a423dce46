"""ResNet (He et al., CVPR 2016) that returns its last maps, with a stem for large, middle-sized and small images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from cimbench.datasets.errors import InputError, check_choice
from cimbench.methods.networks.rational import activate, start_values

Coefficients = Sequence[Tensor | None]  # of each activation; None for a ReLU
ACTIVATIONS = ("relu", "rational", "rational_in_last_block")


class PointwiseConvolution(nn.Conv2d):
    """A 1x1 convolution of some stride, without bias: (B, inputs, h, w) -> (B, outputs, ceil(h / s), ceil(w / s)).

    Below 8 input channels it takes every s-th pixel first, which is the same map: on processors with AVX2 and without
    AVX-512, oneDNN writes past its buffers in the backward pass of a 1x1 convolution of stride 2 whose input is
    channels-last and has 2 to 7 channels (torch 2.11 to 2.14). tests/methods/test_pointwise.py tells whether the
    installed torch still does.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__(inputs, outputs, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Torch's map, on every processor."""
        return self._conv_forward(x, self.weight, None)

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        """With other weights of the same shape."""
        if self.in_channels >= 8:
            usual: Tensor = super()._conv_forward(x, weight, bias)
            return usual
        down, right = self.stride
        return functional.conv2d(x[:, :, ::down, ::right], weight, bias)


def convolved(x: Tensor, convolution: nn.Conv2d, norm: nn.Module) -> Tensor:
    """norm(convolution(x)). On a CPU in evaluation mode the norm is folded into the convolution's weights.

    Its statistics are constants then: norm(W x) = (s W) x + (bias - s mean) with s = weight / sqrt(var + eps), and its
    derivatives of any order are the convolution's. On a GPU the folding would be more launches than the norm.
    """
    assert isinstance(norm, nn.BatchNorm2d)
    if norm.training or x.device.type != "cpu":
        folded: Tensor = norm(convolution(x))
        return folded
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = torch.addcmul(norm.bias, scale, norm.running_mean, value=-1)
    moved: Tensor = convolution._conv_forward(x, convolution.weight * scale[:, None, None, None], shift)
    return moved


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut; names as in torchvision, so that its weights fit."""

    def __init__(self, inputs: int, outputs: int, stride: int, *, activated: bool = True) -> None:
        super().__init__()
        self.activated = activated
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Sequential | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(PointwiseConvolution(inputs, outputs, stride), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, coefficients: Coefficients = (None, None)) -> Tensor:
        """(B, inputs, h, w) -> (B, outputs, h / stride, w / stride)."""
        shortcut = x if self.downsample is None else convolved(x, *self.downsample)
        out = activate(convolved(x, self.conv1, self.bn1), coefficients[0])
        out = convolved(out, self.conv2, self.bn2) + shortcut
        return activate(out, coefficients[1]) if self.activated else out


STEMS = {
    # name: kernel, stride, pooling. "imagenet" is the paper's; "small" keeps the resolution of 32 px images.
    "imagenet": (7, 2, True),
    "strided": (3, 2, False),
    "small": (3, 1, False),
}


class ResNet(nn.Module):
    """Stages of BasicBlocks, channels doubling from `width`. (B, 3, S, S) -> maps (B, features, s, s).

    last_activation: whether the last block ends in its ReLU; LUCIR's does not. rational_activations: whether every ReLU
    has one beside it, whose coefficients (positions, 10) are the buffer `rational`: the stem's, then two a
    block. It is a buffer since ordinary learning leaves it alone.
    """

    rational: Tensor

    def __init__(
        self,
        blocks: tuple[int, ...],
        width: int,
        stem: str,
        *,
        last_activation: bool = True,
        rational_activations: bool = False,
    ) -> None:
        super().__init__()
        kernel, stride, pooled = STEMS[stem]
        self.conv1 = nn.Conv2d(3, width, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.maxpool = nn.MaxPool2d(3, 2, 1) if pooled else nn.Identity()
        channels = width
        self.stages = len(blocks)
        for number, count in enumerate(blocks):
            outputs = width * 2**number
            stage = [
                BasicBlock(channels if i == 0 else outputs, outputs, 2 if i == 0 < number else 1) for i in range(count)
            ]
            self.add_module(f"layer{number + 1}", nn.Sequential(*stage))
            channels = outputs
        last: BasicBlock = stage[-1]
        last.activated = last_activation
        self.features = channels
        self.positions = 1 + 2 * sum(blocks)
        self.rational_activations = rational_activations
        self.last_activation = last_activation
        if rational_activations:
            self.register_buffer("rational", start_values(self.positions))

    def positions_read(self, activation: str) -> list[int]:
        """The positions whose coefficients an activation of ACTIVATIONS reads."""
        read = [number for number, row in enumerate(self.coefficients(activation)) if row is not None]
        return read if self.last_activation else [number for number in read if number != self.positions - 1]

    def coefficients(self, activation: str) -> Coefficients:
        """The coefficients of every activation, for one of ACTIVATIONS."""
        check_choice("activation", activation, ACTIVATIONS)
        if activation == "relu":
            return [None] * self.positions
        if not self.rational_activations:
            raise InputError("the network has no rational activations; it was built without")
        relus = 0 if activation == "rational" else self.positions - 2
        return [None if number < relus else row for number, row in enumerate(self.rational)]

    def forward(self, x: Tensor, activation: str = "relu") -> Tensor:
        """The last stage's maps, after its activation where it has one."""
        rows = self.coefficients(activation)
        x = self.maxpool(activate(convolved(x, self.conv1, self.bn1), rows[0]))
        for number, block in enumerate(self._blocks()):
            x = block(x, rows[1 + 2 * number : 3 + 2 * number])
        return x

    def position_name(self, position: int) -> str:
        """Where an activation stands, for instance layer2.0, the second."""
        names = [name for name, module in self.named_modules() if isinstance(module, BasicBlock)]
        block, which = divmod(position - 1, 2)
        return "of the stem" if position == 0 else f"of {names[block]}, the {('first', 'second')[which]},"

    def _blocks(self) -> Iterator[nn.Module]:
        for number in range(self.stages):
            yield from self.get_submodule(f"layer{number + 1}").children()


def initialise(module: nn.Module, random: torch.Generator) -> None:
    """Kaiming-normal convolutions (fan out), unit batch norms; every bit from `random`."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu", generator=random)
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
            part.reset_running_stats()
