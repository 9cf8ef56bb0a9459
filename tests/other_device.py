"""A device that is not the CPU, for machines that have no other: its tensors hold numbers, and an operation on them and on the CPU's tensors fails as on a GPU.

They say that they are on "meta", the one device beside the CPU that every build of PyTorch can differentiate through. What runs with it has been shown to keep
its tensors together; it has not been shown that a GPU's kernels give the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map_only

DEVICE, CPU = torch.device("meta"), torch.device("cpu")
aten = torch.ops.aten
# Numbers of the CPU may be the place in a tensor of another device, as on a GPU.
INDEXED = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
READS = {getattr(torch.Tensor, name) for name in ("item", "tolist", "__bool__", "__int__", "__float__", "__index__", "__contains__", "__format__")}
MAKES = {torch.tensor, torch.as_tensor, torch.asarray}


WAITS = {
    *(aten.nonzero.default, aten.masked_select.default, aten.equal.default, aten._unique2.default, aten.unique_dim.default, aten.unique_consecutive.default),
    *(aten.bincount.default, aten.repeat_interleave.Tensor, aten.multinomial.default, aten._linalg_check_errors.default, aten._linalg_eigh.default),
    *(aten._linalg_svd.default, aten.linalg_lstsq.default, aten.histc.default),
}
"""What waits for the device, for it makes a shape or a decision of numbers."""

watching: list[Any] = []
"""Who hears of each operation (`recorded_graph`): `begin` before it, `end` behind it, and `stopped_by` what a device could not repeat."""


class Elsewhere(torch.Tensor):
    """A tensor of the other device: `held` is where its numbers are."""

    held: torch.Tensor

    @staticmethod
    def __new__(cls, held: torch.Tensor) -> Elsewhere:
        layout = {"strides": held.stride(), "storage_offset": held.storage_offset(), "dtype": held.dtype, "device": DEVICE}
        made = torch.Tensor._make_wrapper_subclass(cls, held.size(), **layout)
        made.held = held
        return made

    def __repr__(self, *, tensor_contents: Any = None) -> str:
        return f"Elsewhere({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {})


def _here(tree: Any) -> Any:
    return tree_map_only(Elsewhere, lambda x: x.held, tree)


def _there(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _run(func: Any, args: tuple, kwargs: dict) -> Any:
    """One operation, on the CPU, with what it says of devices."""
    leaves = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
    away = [x for x in leaves if isinstance(x, Elsewhere)]
    named = next((x for x in args if isinstance(x, torch.device)), kwargs.get("device"))
    made = _there(named)
    if not away and not made:
        return func(*args, **kwargs)
    args_here = tree_map_only(torch.device, lambda device: CPU, _here(args))
    kwargs_here = _here(kwargs) | ({"device": CPU} if "device" in kwargs else {})
    if func is aten._local_scalar_dense.default:
        _stop("a number is read")
        return func(*args_here)
    if func is aten.copy_.default:
        if len(away) < len(leaves):
            _stop("a copy between devices")
        _noted(func, args_here, kwargs_here)
        return args[0]
    moves = func is aten._to_copy.default or (named is not None and away)
    strangers = [x for x in leaves if not isinstance(x, Elsewhere) and x.dim() > 0]
    if func in INDEXED:
        strangers = [x for x in strangers if x is args[0] or (len(args) > 2 and x is args[2])]
    if away and strangers and not moves:
        raise RuntimeError(f"{func}: tensors of two devices, {[list(x.shape) for x in away]} there and {[list(x.shape) for x in strangers]} on the CPU")
    if func in INDEXED and any(x is not None and not isinstance(x, Elsewhere) for x in args[1]):
        _stop("places of the processor")
    if away and not moves and any(not isinstance(x, Elsewhere) and x.dim() == 0 for x in leaves):
        _stop("a number of the processor")  # most kernels would take it, and take it for ever
    known = {id(x.held): x for x in away}
    if (named is not None and not made) or func in WAITS or (func in INDEXED and any(x is not None and x.dtype == torch.bool for x in args[1])):
        _stop(f"{func} waits")
    if made and not away and leaves:
        _stop("a copy between devices")
    out = _noted(func, args_here, kwargs_here)
    if named is not None and not made:
        return out
    out = tree_map_only(torch.Tensor, lambda x: known[id(x)] if id(x) in known else Elsewhere(x), out)
    return return_and_correct_aliasing(func, args, kwargs, out) if away and not moves else out


def _stop(what: str) -> None:
    for watcher in watching:
        watcher.stopped_by(what)


def _noted(func: Any, args: tuple, kwargs: dict) -> Any:
    """Do it, and tell who watches."""
    for watcher in watching:
        watcher.begin(func, args, kwargs)
    out = func(*args, **kwargs)
    for watcher in watching:
        watcher.end(func, args, kwargs, out)
    return out


class _Dispatch(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        return _run(func, args, kwargs or {}) if _on[0] else func(*args, **(kwargs or {}))


class _Function(TorchFunctionMode):
    """What never becomes an operation, or becomes one without its numbers."""

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        first = args[0] if args else None
        if not _on[0]:
            return func(*args, **kwargs)
        if func == torch.Tensor.data.__set__ and isinstance(first, Elsewhere):
            func(*args, **kwargs)
            first.held = args[1].held
            return None
        if func is torch.Tensor.numpy and isinstance(first, Elsewhere):
            raise TypeError("NumPy cannot see a tensor of another device: .cpu() first")
        if func in READS and isinstance(first, Elsewhere):
            _stop("a number is read")
            return func(first.held.detach(), *args[1:])
        if func in MAKES and _there(kwargs.get("device")):
            _stop("a copy between devices")
            return func(*args, **(kwargs | {"device": CPU})).to(DEVICE)
        if func is torch.Tensor.new_tensor and isinstance(first, Elsewhere):
            _stop("a copy between devices")
            return torch.tensor(*args[1:], dtype=kwargs.get("dtype") or first.dtype).to(DEVICE)
        if func in (torch.Tensor.__getitem__, torch.Tensor.__setitem__) and isinstance(first, Elsewhere):  # so do lists of places
            args = (first, _as_tensors(args[1]), *args[2:])
        if func is torch.where and isinstance(first, Elsewhere) and len(args) == 3:  # numbers become tensors below all of this
            kind = next((x.dtype for x in args[1:] if isinstance(x, torch.Tensor)), torch.get_default_dtype())
            args = (first, *(x if isinstance(x, torch.Tensor) else torch.full((), x, dtype=kind, device=DEVICE) for x in args[1:]))
        return func(*args, **kwargs)


def _as_tensors(index: Any) -> Any:
    """An index with tensors in the place of lists of places, also where several axes are indexed."""
    if isinstance(index, list):
        return torch.tensor(index)
    return tuple(torch.tensor(each) if isinstance(each, (list, tuple)) else each for each in index) if isinstance(index, tuple) else index


_on = [True]


def _apart(call: Callable) -> Callable:
    """A function that itself uses "meta" (Transformers, where it loads a model)."""

    def inner(*args: Any, **kwargs: Any) -> Any:
        _on[0] = False
        try:
            return call(*args, **kwargs)
        finally:
            _on[0] = True

    return inner


def _enter(self: Any) -> None:
    self.instead = torch.no_grad()
    self.instead.__enter__()


@contextmanager
def other_device(monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Within it there is a second device, the one that is given."""
    from operant.worlds.text import models

    for name in ("load_model", "make_model"):
        monkeypatch.setattr(models, name, _apart(getattr(models, name)))
    # A tensor that wraps another one cannot be made in inference mode.
    monkeypatch.setattr(torch.inference_mode, "__enter__", _enter)
    monkeypatch.setattr(torch.inference_mode, "__exit__", lambda self, *raised: self.instead.__exit__(*raised))
    with ExitStack() as stack:
        stack.enter_context(_Function())
        stack.enter_context(_Dispatch())
        yield DEVICE
