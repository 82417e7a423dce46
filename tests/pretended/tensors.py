"""Tensors that say `cuda:0` and hold their values on the CPU; what happened to them, counted by the project's line."""

from __future__ import annotations

import collections
import sys
from typing import Any

import torch
from torch.utils import _pytree as pytree

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
# what torch's C++ takes a pretended tensor for: a device that has a guard without a driver, and is nothing else here
INSIDE = torch.device("meta")


def is_there(device: Any) -> bool:
    return torch.device(device).type in ("cuda", INSIDE.type)


class Seen:
    """What happened: waits of the host and launches, by the project's line."""

    def __init__(self) -> None:
        self.waits: collections.Counter[tuple[str, str]] = collections.Counter()
        self.launches: collections.Counter[str] = collections.Counter()
        self.operations = 0
        self.kernels: collections.Counter[str] = collections.Counter()

    def wait(self, what: str) -> None:
        self.waits[what, line()] += 1

    def clear(self) -> None:
        self.waits.clear()
        self.launches.clear()
        self.kernels.clear()
        self.operations = 0


SEEN = Seen()
AUTOCAST, TENSOR, TO = torch.autocast, torch.tensor, torch.Tensor.to


def line() -> str:
    """The innermost line of the project that is running."""
    frame = sys._getframe(1)
    while frame is not None:
        name = frame.f_code.co_filename
        if any(f"/{room}/" in name for room in ("methods", "datasets", "benchmarks")) and "site-packages" not in name:
            return f"{name}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]
    return "outside"


def _plain_index(index: Any) -> Any:
    """Lists as tensors on the CPU, where torch's C++ would make them beside what is indexed."""
    if isinstance(index, tuple):
        return tuple(_plain_index(part) for part in index)
    return TENSOR(index) if isinstance(index, list) else index


class OnCuda(torch.Tensor):
    """Says `cuda:0`; `inner` is on the CPU."""

    inner: torch.Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls: Any, inner: torch.Tensor) -> Any:
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.size(), strides=inner.stride(), storage_offset=inner.storage_offset(), dtype=inner.dtype,
            layout=inner.layout, device=INSIDE, requires_grad=False,
        )  # fmt: skip
        made.inner = inner
        return made

    def __init__(self, inner: torch.Tensor) -> None:
        pass

    def __repr__(self, **_: Any) -> str:
        return f"OnCuda({self.inner!r})"

    device = property(lambda _self: CUDA)
    is_cuda = property(lambda _self: True)
    is_cpu = property(lambda _self: False)
    is_meta = property(lambda _self: False)

    def to(self, *args: Any, **kwargs: Any) -> Any:
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(
            *args, **{k: v for k, v in kwargs.items() if k != "copy"}
        )
        if isinstance(args[0] if args else None, torch.Tensor):
            device, dtype = args[0].device, args[0].dtype
        given = {"dtype": dtype, "memory_format": memory_format, "copy": kwargs.get("copy", False)}
        if device is None or is_there(device):
            return TO(self, **{k: v for k, v in given.items() if v is not None})
        if non_blocking:
            raise RuntimeError("a copy to the CPU that is not waited for")
        SEEN.wait("copy to cpu")
        given["copy"] = True
        with torch.utils._python_dispatch._disable_current_modes():
            return self.inner.detach().to(**{k: v for k, v in given.items() if v is not None})

    def cpu(self, *_: Any, **__: Any) -> Any:
        return self.to("cpu")

    def record_stream(self, stream: Any) -> None:
        assert stream is not None

    def cuda(self, *_: Any, **__: Any) -> Any:
        return self

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(_plain_index(index))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(_plain_index(index), value)

    def tolist(self) -> Any:  # torch refuses it of subclasses
        SEEN.wait("tolist")
        return self.inner.tolist()

    def numpy(self, **_: Any) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    def untyped_storage(self) -> Any:  # for GraphMemory
        return self.inner.untyped_storage()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        if id(self) in memo:
            return memo[id(self)]
        made = self.detach().clone()
        made.requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            made._is_param = True
        memo[id(self)] = made
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        from tests.pretended.rules import run

        return run(func, args, kwargs or {})


class Generator(torch.Generator):
    """A CPU generator that may say it is CUDA's."""

    def __new__(cls, device: Any = "cpu") -> Any:  # noqa: ARG004
        return super().__new__(cls, "cpu")

    def __init__(self, device: Any = "cpu") -> None:
        self._says = torch.device(device)
        SAYS[self._cdata] = self._says.type

    @property
    def device(self) -> Any:
        return CUDA if self._says.type == "cuda" else CPU

    def manual_seed(self, seed: int) -> Any:
        super().manual_seed(seed)
        return self


REAL_GENERATOR = torch.Generator
SAYS: dict[int, str] = {}  # C++ generator -> device; the Python object is another in a dispatch


def wrap(value: Any) -> Any:
    return pytree.tree_map_only(torch.Tensor, lambda t: t if isinstance(t, OnCuda) else OnCuda(t), value)


def unwrap(value: Any) -> Any:
    return pytree.tree_map_only(OnCuda, lambda t: t.inner, value)
