"""What the memory of this machine, or of its GPU, holds: a size is held against it before anything of that size is allocated."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from operant.core.errors import BadInput

TRAINED = 16  # bytes of a parameter in float32: itself, its gradient and Adam's two moments


def physical_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


_device = "cpu"


@contextmanager
def lying_on(device: str) -> Iterator[None]:
    """Within it sizes are held against the memory of a type of device."""
    global _device
    before, _device = _device, device
    try:
        yield
    finally:
        _device = before


def memory_at_hand() -> tuple[int, str]:
    """(bytes of memory where things will lie, whose memory that is)"""
    if _device != "cuda":
        return physical_memory(), "this machine"
    import torch

    return torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory, "this GPU"


def check_memory(what: str, size: float, instead: str) -> None:
    """Raise `BadInput` where something takes more than the whole machine has, or the GPU that it would lie on.

    Args:
        what: what would be allocated, in words.
        size: bytes, at the least.
        instead: what would be right.
    """
    memory, whose = memory_at_hand()
    if size > memory:
        raise BadInput(f"{what} takes {amount(size)}, and {whose} has {amount(memory)} of memory: {instead}")


def amount(size: float) -> str:
    """Bytes for a person."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 1e6 else f"{size:.1e} TB"
