"""What would wait for a device: reads of the host, counted."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode


class _HostReads(TorchDispatchMode):
    """Counts the operators whose result the host must wait for."""

    OPERATORS = {"aten::_local_scalar_dense", "aten::item", "aten::nonzero", "aten::is_nonzero", "aten::equal", "aten::masked_select", "aten::_unique2"}

    def __init__(self):
        super().__init__()
        self.found: Counter[str] = Counter()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        name = function._schema.name
        by_mask = name in ("aten::index", "aten::index_put_") and any(index is not None and index.dtype == torch.bool for index in args[1])
        if name in self.OPERATORS or by_mask:
            self.found[name] += 1
        return function(*args, **(kwargs or {}))


@contextlib.contextmanager
def host_reads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """What within the block would wait for a device."""
    with _HostReads() as mode, monkeypatch.context() as patch:
        for name in ("tolist", "numpy", "cpu", "__array__"):
            original = getattr(torch.Tensor, name)

            def counted(self, *args, name=name, original=original, **kwargs):
                mode.found[name] += 1
                return original(self, *args, **kwargs)

            patch.setattr(torch.Tensor, name, counted)
        yield mode.found
