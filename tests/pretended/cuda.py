"""A CUDA that is not there: `with pretend_cuda() as seen:` runs real code with device "cuda" on a machine without one.

Every operation passes through rules.py, which raises where CUDA would. Values are the CPU's. Not shown: streams and
races, numerics, speed, memory, compiled Triton code. Counted, by the project's line: every point at which the host
would wait for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import patch

import torch
import torchvision.io

from cimbench.datasets.stream import feed
from cimbench.methods.compression import acceleration
from cimbench.methods.compression.boxes import kernels as of_boxes
from cimbench.methods.compression.exemplars import kernels as of_exemplars
from cimbench.methods.networks import rational_kernels as of_rationals
from tests.pretended.kernels import on_kernel, plain_kernels
from tests.pretended.rules import Mode
from tests.pretended.tensors import AUTOCAST, CUDA, SEEN, TENSOR, TO, Generator, OnCuda, Seen


class Stream:
    """One that does all at once."""

    def __init__(self, *_: Any, **__: Any) -> None:
        self.device = CUDA

    def wait_stream(self, other: Any) -> None:
        assert isinstance(other, Stream)

    def wait_event(self, event: Any) -> None:
        assert isinstance(event, Event)

    def record_event(self, _event: Any = None) -> Any:
        return Event()

    def synchronize(self) -> None:
        SEEN.wait("stream.synchronize")


class Event:
    """One that has happened."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


_CURRENT = Stream()


def _to(self: Any, *args: Any, **kwargs: Any) -> Any:
    """Tensor.to, which asks the driver for the current device where `cuda` has no number."""

    def numbered(value: Any) -> Any:
        if isinstance(value, OnCuda):
            return (CUDA, value.dtype)
        is_cuda = isinstance(value, str | torch.device) and str(value).startswith(("cuda", "meta"))
        return CUDA if is_cuda else value

    args = tuple(numbered(value) for value in args)
    if args and isinstance(args[0], tuple):
        args = (*args[0], *args[1:])
    return TO(self, *args, **{name: numbered(value) for name, value in kwargs.items()})


def _tensor(data: Any, *, device: Any = None, **kwargs: Any) -> Any:
    """torch.tensor, which asks the device's driver itself."""
    made = TENSOR(data, **kwargs)
    return made if device is None else made.to(device)


def _autocast(device_type: str, *args: Any, **kwargs: Any) -> Any:
    """The CPU's, whose lists of operations are much the same."""
    return AUTOCAST("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


@contextlib.contextmanager
def _in_stream(_stream: Any) -> Any:
    yield


_REAL_DECODE = torchvision.io.decode_jpeg
_BESIDE = feed._on_a_stream_of_its_own
KERNELS = (
    *((of_exemplars, name) for name in ("pack_kernel", "unpack_kernel")),
    (of_boxes, "boxes_kernel"),
    *((of_rationals, name) for name in ("value_kernel", "gradient_kernel", "second_kernel")),
)


def _in_mode(make: Any, device: Any) -> Any:
    """What another thread makes is made there, too: a mode belongs to one thread."""
    made = _BESIDE(make, device)

    def with_mode(item: Any) -> Any:
        with Mode():
            return made(item)

    return with_mode


def _decode(content: Any, mode: Any, device: Any = "cpu", **rest: Any) -> Any:
    """nvJPEG, by the CPU's decoder."""
    if torch.device(device).type == "cpu":
        return _REAL_DECODE(content, mode=mode, **rest)
    assert all(not isinstance(each, OnCuda) for each in content)
    return [OnCuda(_REAL_DECODE(each, mode=mode)) for each in content]


def _patches() -> Iterator[tuple[Any, str, Any]]:
    """Owner, name and what stands in for it."""
    for name, value in {
        "is_available": lambda: True, "_lazy_init": lambda: None, "is_initialized": lambda: True,
        "current_stream": lambda _d=None: _CURRENT, "Stream": Stream, "Event": Event, "stream": _in_stream,
        "synchronize": lambda _d=None: SEEN.wait("synchronize"), "max_memory_allocated": lambda _d=None: 1 << 20,
        "memory_allocated": lambda _d=None: 0, "reset_peak_memory_stats": lambda _d=None: None,
        "get_device_name": lambda _d=None: "Pretended", "is_bf16_supported": lambda *_a, **_k: True,
        "current_device": lambda: 0, "device_count": lambda: 1,
    }.items():  # fmt: skip
        yield torch.cuda, name, value
    yield torch, "autocast", _autocast
    yield torch, "tensor", _tensor
    yield torch.Tensor, "to", _to
    yield torch.Tensor, "cuda", lambda self, *_a, **_k: self.to("cuda")
    yield torch, "Generator", Generator
    for name in ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check"):
        if hasattr(torch.optim.Optimizer, name):
            yield torch.optim.Optimizer, name, lambda _self: None
    yield acceleration, "why_no_kernels", lambda _device: None
    yield feed, "_on_a_stream_of_its_own", _in_mode
    yield torchvision.io, "decode_jpeg", _decode


@contextlib.contextmanager
def pretend_cuda() -> Iterator[Seen]:
    """CUDA is there, within the block."""
    before = torch._C._only_lift_cpu_tensors()
    torch._C._set_only_lift_cpu_tensors(True)
    overwrote = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)  # as it is across devices
    plain = plain_kernels()
    with contextlib.ExitStack() as stack:
        for owner, name, value in _patches():
            stack.enter_context(patch.object(owner, name, value))
        for module, name in KERNELS:
            stack.enter_context(patch.object(module, name, on_kernel(plain[name])))
        stack.enter_context(Mode())
        feed._side_stream.cache_clear()
        try:
            yield SEEN
        finally:
            torch.__future__.set_overwrite_module_params_on_conversion(overwrote)
            torch._C._set_only_lift_cpu_tensors(before)
            for cached in (feed._side_stream, of_exemplars._index, of_boxes._taps):
                cached.cache_clear()
