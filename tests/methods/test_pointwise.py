"""The 1x1 convolution of a stride, against torch's own; and whether torch's own is safe on this processor."""

import os
import signal
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from cimbench.methods.networks.resnet import PointwiseConvolution

RAW = """
import torch
from torch import nn
convolution = nn.Conv2d({channels}, 8, 1, 2, bias=False)
for step in range(200):
    x = torch.randn(16, {channels}, 16, 16).contiguous(memory_format=torch.channels_last).requires_grad_()
    convolution(x).square().mean().backward()
"""


@pytest.mark.parametrize("channels", [1, 4, 7, 8, 16])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 8])
def test_same_map_and_gradients_as_torch(channels: int, stride: int, side: int) -> None:
    random = torch.Generator().manual_seed(0)
    x = torch.randn(3, channels, side, side, generator=random, dtype=torch.float64)
    ours = PointwiseConvolution(channels, 5, stride).double()
    theirs = nn.Conv2d(channels, 5, 1, stride, bias=False).double()
    theirs.load_state_dict(ours.state_dict())
    results = []
    for convolution in (ours, theirs):
        image = x.clone().requires_grad_()  # contiguous: torch's own is safe there on every processor
        maps = convolution(image)
        maps.sin().sum().backward()
        assert image.grad is not None and convolution.weight.grad is not None
        results.append((maps.detach(), image.grad, convolution.weight.grad))
    for mine, expected in zip(*results, strict=True):
        torch.testing.assert_close(mine, expected)


def outcome(channels: int, environment: dict[str, str]) -> str:
    """How a process of the raw convolution ended: "" where nothing went wrong; a damaged heap may also hang it."""
    command = [sys.executable, "-c", RAW.format(channels=channels)]
    try:
        ended = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, timeout=60)
    except subprocess.TimeoutExpired:
        return "hung"
    assert ended.returncode <= 0, ended.stderr  # an exception and no signal: the question was not asked
    return signal.Signals(-ended.returncode).name if ended.returncode else ""


@pytest.mark.parametrize("kernels", ["default", "AVX2"])
def test_canary_whether_torchs_own_is_safe_here(kernels: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Reports, and fails only where the question could not be asked: see PointwiseConvolution for the condition."""
    environment = {"OMP_NUM_THREADS": "1"} | ({"ONEDNN_MAX_CPU_ISA": kernels} if kernels != "default" else {})
    ended = {channels: outcome(channels, environment) for channels in (4, 7)}
    faults = ", ".join(f"{channels} channels {how}" for channels, how in ended.items() if how)
    processor = torch.backends.cpu.get_cpu_capability()
    line = f"torch {torch.__version__}, {processor}, oneDNN's {kernels} kernels: 1x1 stride 2 channels-last " + (
        f"corrupts memory ({faults}); PointwiseConvolution is needed" if faults else "is safe"
    )
    with capsys.disabled():
        print(f"\n{line}")
    warnings.warn(line, stacklevel=1)  # pytest's summary shows it, also where workers run the tests
