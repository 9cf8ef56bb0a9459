"""Which processes there are below another one, as /proc says."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def _parents() -> dict[int, tuple[int, bool]]:
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            with contextlib.suppress(OSError):
                state, parent = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[:2]
                found[int(entry)] = (int(parent), state not in "ZX")
    return found


def below(pid: int) -> set[int]:
    """The living processes below `pid`, without itself."""
    parents = _parents()
    found, waiting = set(), [pid]
    while waiting:
        above = waiting.pop()
        children = [child for child, (parent, _) in parents.items() if parent == above]
        found |= {child for child in children if parents[child][1]}
        waiting += children
    return found


def living(pid: int) -> bool:
    return _parents().get(pid, (0, False))[1]
