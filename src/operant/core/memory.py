"""What this machine's memory holds: a size is held against it before anything of that size is allocated."""

from __future__ import annotations

import os

from operant.core.errors import BadInput

TRAINED = 16  # bytes of a parameter in float32: itself, its gradient and Adam's two moments


def physical_memory() -> int:
    """Bytes of memory that the machine has."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def check_memory(what: str, size: float, instead: str) -> None:
    """Raise `BadInput` where something takes more than the whole machine has.

    Args:
        what: what would be allocated, in words.
        size: bytes, at the least.
        instead: what would be right.
    """
    if size > (memory := physical_memory()):
        raise BadInput(f"{what} takes {amount(size)}, and this machine has {amount(memory)} of memory: {instead}")


def amount(size: float) -> str:
    """Bytes for a person."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:,.3g} TB" if size < 1e6 else f"{size:.1e} TB"
