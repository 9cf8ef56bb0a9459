"""A graph for the device of `other_device`: operations are noted while work is captured, and done again, on the same memory, at each replay.

As of a CUDA graph, capturing does not do them, reading a number or moving one between devices stops it, and memory that nobody else keeps is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import other_device
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._pytree import tree_leaves, tree_map, tree_map_only


class _Outside(NamedTuple):
    """Memory that was there before the capture, which a graph does not keep."""

    storage: StorageWeakRef
    dtype: torch.dtype
    offset: int
    size: torch.Size
    stride: tuple[int, ...]

    def tensor(self) -> torch.Tensor:
        storage = torch.UntypedStorage._new_with_weak_ptr(self.storage.cdata)
        assert storage is not None, f"a graph reads memory {list(self.size)} that is gone"
        return torch.empty(0, dtype=self.dtype).set_(storage, self.offset, self.size, self.stride)


class RecordedGraph:
    """Work that the other device repeats.

    Attributes:
        replays: of all graphs, for tests that must know that something was repeated.
    """

    replays = 0

    def __init__(self) -> None:
        self._operations: list[tuple[Any, tuple, dict, Any]] = []
        self._inside: list[torch.UntypedStorage] = []
        self._before: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    def warm(self, work: Callable[[], Any]) -> Any:
        return work()

    def capture(self, work: Callable[[], Any]) -> Any:
        other_device.watching.append(self)
        try:
            return work()
        finally:
            other_device.watching.remove(self)
            for place, kept in self._before.values():
                place.copy_(kept)

    def stopped_by(self, what: str) -> None:
        raise RuntimeError(f"operation not permitted when stream is capturing: {what}")

    def begin(self, func: Any, args: tuple, kwargs: dict) -> None:
        """Before an operation: keep what it will write over."""
        for given, argument in zip((*args, *kwargs.values()), self._arguments(func, args, kwargs), strict=True):
            if argument.alias_info is not None and argument.alias_info.is_write:
                for x in tree_leaves(given):
                    whole = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
                    self._before.setdefault(x.untyped_storage().data_ptr(), (whole, whole.clone()))

    def end(self, func: Any, args: tuple, kwargs: dict, out: Any) -> None:
        """Behind it: note it."""
        mine = {storage.data_ptr() for storage in self._inside}
        noted = tree_map(lambda x: self._noted(x, mine), (args, kwargs))
        given = {x.untyped_storage().data_ptr() for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)}
        made = [x if isinstance(x, torch.Tensor) and x.untyped_storage().data_ptr() not in given else None for x in tree_leaves(out)]
        self._inside += [x.untyped_storage() for x in made if x is not None]
        self._operations.append((func, *noted, made))

    def _noted(self, x: Any, mine: set[int]) -> Any:
        if not isinstance(x, torch.Tensor) or x.untyped_storage().data_ptr() in mine or x.numel() == 0:
            return x
        return _Outside(StorageWeakRef(x.untyped_storage()), x.dtype, x.storage_offset(), x.shape, x.stride())

    @staticmethod
    def _arguments(func: Any, args: tuple, kwargs: dict) -> list[Any]:
        by_name = {argument.name: argument for argument in func._schema.arguments}
        return [*func._schema.arguments[: len(args)], *(by_name[name] for name in kwargs)]

    @torch.no_grad()
    def replay(self) -> None:
        RecordedGraph.replays += 1
        for func, args, kwargs, made in self._operations:
            args, kwargs = tree_map_only(_Outside, _Outside.tensor, (args, kwargs), is_leaf=lambda x: isinstance(x, _Outside))
            for place, x in zip(made, tree_leaves(func(*args, **kwargs)), strict=True):
                if place is not None:
                    place.copy_(x)
