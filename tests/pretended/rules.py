"""The rules of CUDA for every operation on pretended tensors: one device, right generators, deterministic forms."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils import _pytree as pytree
from torch.utils._mode_utils import no_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.pretended.tensors import CPU, REAL_GENERATOR, SAYS, SEEN, OnCuda, is_there, line, unwrap, wrap

aten = torch.ops.aten
# what has no deterministic implementation on CUDA (torch.use_deterministic_algorithms)
NONDETERMINISTIC = {
    "grid_sampler_2d_backward", "grid_sampler_3d_backward", "upsample_bilinear2d_backward",
    "upsample_bicubic2d_backward", "upsample_linear1d_backward", "upsample_trilinear3d_backward",
    "_upsample_bilinear2d_aa_backward", "_adaptive_avg_pool2d_backward", "_adaptive_avg_pool3d_backward",
    "adaptive_max_pool2d_backward", "adaptive_max_pool3d_backward", "avg_pool3d_backward",
    "fractional_max_pool2d_backward", "max_pool3d_with_indices_backward", "max_unpool2d", "max_unpool3d",
    "reflection_pad1d_backward", "reflection_pad2d_backward", "reflection_pad3d_backward", "nll_loss2d_forward",
    "nll_loss2d_backward", "_ctc_loss_backward", "put_", "put", "histc", "kthvalue", "median",
}  # fmt: skip
INTEGER_PRODUCTS = {"mm", "bmm", "addmm", "addmv", "mv", "dot", "baddbmm", "addbmm", "vdot"}
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "unique_dim", "_unique2", "unique_consecutive"}


def _name(func: Any) -> str:
    return func._schema.name.split("::")[1]


def _check(func: Any, args: Any, kwargs: Any) -> bool:
    """Raise what CUDA would; whether any operand is there."""
    name = _name(func)
    tensors = [t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
    there = [t for t in tensors if isinstance(t, OnCuda)]
    assert not any(t.is_meta for t in tensors), f"{func}: torch's C++ made a tensor that pretends nothing"
    generators = [g for g in pytree.tree_leaves((args, kwargs)) if isinstance(g, REAL_GENERATOR)]
    device = kwargs.get("device")
    on_cuda = bool(there) if device is None else is_there(device)
    for generator in generators:
        says = SAYS.get(generator._cdata, "cpu")
        if says != ("cuda" if on_cuda else "cpu"):
            raise RuntimeError(f"{func}: Expected a generator of {'cuda' if on_cuda else 'cpu'} but got one of {says}")
    if not there:
        return False
    if name not in {"_to_copy", "copy_", "copy", "set_", "_foreach_copy_"}:
        others = [t for t in tensors if not isinstance(t, OnCuda) and t.dim() > 0]
        if name in {"index", "_unsafe_index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index_put"}:
            indices = [t for t in pytree.tree_leaves(args[1]) if isinstance(t, torch.Tensor)]
            if not isinstance(args[0], OnCuda):
                raise RuntimeError(f"{func}: a CPU tensor indexed by CUDA ones")
            if any(not isinstance(t, OnCuda) for t in indices):
                SEEN.wait("copy of CPU indices")
            others = [t for t in others if not any(t is index for index in indices)]
        if others:
            raise RuntimeError(
                f"{func}: Expected all tensors to be on the same device, got "
                f"{[(tuple(t.shape), 'cuda' if isinstance(t, OnCuda) else 'cpu') for t in tensors]}"
            )
    if torch.are_deterministic_algorithms_enabled() and name in NONDETERMINISTIC:
        raise RuntimeError(f"{func} does not have a deterministic implementation")
    if name in INTEGER_PRODUCTS and not there[0].dtype.is_floating_point and not there[0].dtype.is_complex:
        raise RuntimeError(f"{func}: not implemented for {there[0].dtype} on CUDA")
    if name in {"argmax", "argmin"} and there[0].dtype == torch.bool:
        raise RuntimeError(f"{func}: not implemented for Bool on CUDA")
    return True


def _count(func: Any, args: Any) -> None:
    name = _name(func)
    if name in WAITS:
        SEEN.wait(name)
    elif name in {"index", "index_put_", "index_put", "_index_put_impl_"} and any(
        isinstance(t, OnCuda) and t.dtype == torch.bool for t in pytree.tree_leaves(args[1])
    ):
        SEEN.wait("boolean mask")
    if not (func.is_view or name in {"detach", "empty", "empty_like", "empty_strided", "record_stream", "new_empty"}):
        SEEN.operations += 1
        SEEN.launches[line()] += 1
        SEEN.kernels[name] += 1


def _moved(func: Any, args: Any, kwargs: Any) -> Any:
    """`_to_copy`, across devices or not."""
    source, target = args[0], kwargs.get("device")
    from_there = isinstance(source, OnCuda)
    to_there = from_there if target is None else is_there(target)
    inner = unwrap(source)
    pinned = getattr(source, "_pretends_pinned", False)
    rest = {k: v for k, v in kwargs.items() if k not in {"device", "non_blocking", "pin_memory"}}
    if from_there != to_there:
        free = kwargs.get("non_blocking") and (pinned or from_there)
        if not free:
            SEEN.wait("copy to cuda" if to_there else "copy to cpu")
        if from_there and kwargs.get("non_blocking"):
            raise RuntimeError("a copy to the CPU that is not waited for")
    elif from_there:
        SEEN.operations += 1
        SEEN.launches[line()] += 1
        SEEN.kernels["_to_copy"] += 1
    made = func(inner, **rest)
    return wrap(made) if to_there else made


def run(func: Any, args: Any, kwargs: Any) -> Any:
    name = _name(func)
    if name == "_to_copy":
        return _moved(func, args, kwargs)
    if name == "record_stream":
        return None
    if name == "_pin_memory":
        made = args[0].clone()
        made._pretends_pinned = True
        return made
    if name == "is_pinned":
        return getattr(args[0], "_pretends_pinned", False)
    if name == "_efficientzerotensor":  # autograd's zeros without memory, which only its own key reads
        func, kwargs = aten.zeros.default, {k: v for k, v in kwargs.items() if k != "requires_grad"}
        name = "zeros"
    operands = _check(func, args, kwargs)
    device = kwargs.get("device")
    makes_there = operands if device is None else is_there(device)
    if not operands and not makes_there:
        pinned = kwargs.pop("pin_memory", None) if "pin_memory" in kwargs else None
        made = func(*args, **kwargs)
        if pinned:
            made._pretends_pinned = True
        return made
    if name in {"copy_"} and isinstance(args[0], OnCuda) != isinstance(args[1], OnCuda):
        if not (len(args) > 2 and args[2]):
            SEEN.wait("copy_ across devices")
        if not isinstance(args[0], OnCuda):
            args[0].copy_(args[1].inner)
            return args[0]
    _count(func, args)
    given = dict(unwrap(kwargs))
    if "device" in given and given["device"] is not None:
        given["device"] = CPU
    given.pop("pin_memory", None)
    if name == "_local_scalar_dense":
        return func(*unwrap(args))
    if torch.Tag.inplace_view in func.tags:
        out = func(*unwrap(args), **given)
        with no_dispatch():
            func(*args, **kwargs)
        return args[0]
    out = func(*unwrap(args), **given)
    return _returned(args, kwargs, out, makes_there)


def _returned(args: Any, kwargs: Any, out: Any, makes_there: bool) -> Any:
    """Outputs wrapped; those that are an argument (in place, out=) are that argument."""
    mine = {id(t.inner): t for t in pytree.tree_leaves((args, kwargs)) if isinstance(t, OnCuda)}

    def one(t: Any) -> Any:
        if not isinstance(t, torch.Tensor) or isinstance(t, OnCuda):
            return t
        if id(t) in mine:
            return mine[id(t)]
        return OnCuda(t) if makes_there else t

    return pytree.tree_map(one, out)


class Mode(TorchDispatchMode):
    """For operations that make tensors, whose device is all that tells."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})
