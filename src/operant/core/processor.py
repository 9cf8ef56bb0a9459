"""The processor, and settings of the process that make small tensor programs faster on it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path


@cache
def said() -> dict[str, str]:
    """What the processor says of itself, by Linux's names ("vendor_id", "model name", "flags"); nothing on other systems."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, colon, value in (line.partition(":") for line in lines) if colon}


def maker() -> str:
    """Who made the processor, as it says itself ("GenuineIntel", "AuthenticAMD"); empty where it does not (beside Linux on x86)."""
    return said().get("vendor_id", "")


def model() -> str:
    """The processor's name, as it says itself, or its architecture."""
    return said().get("model name") or platform.processor() or platform.machine()


def cores() -> int:
    """Cores that this process may compute on: those it is bound to, as far as a container's quota and OMP_NUM_THREADS go."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        found = min(found, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file; "max", where there is no quota
        pass
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(found, int(asked)) if asked.isdecimal() and int(asked) else found


def waits_are_short() -> bool:
    """Whether threads that wait for each other give up their cores soon (`operant/__init__.py`), so that several cost little where the cores are busy."""
    return sys.platform == "linux" and ("GOMP_SPINCOUNT" in os.environ or os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive")


def fitting_threads(multiplications: int, each: int = 8_000_000) -> int:
    """Threads that pay: one for each 8 million multiplications of the widest product of an update, as far as there are `cores`.

    Two at 256 × 256 × 256 train SAC 1.5 times as fast as one; at 256 × 64 × 64 they gain nothing.
    """
    return max(1, min(cores(), multiplications // each)) if waits_are_short() else 1


def keep_freed_memory() -> None:
    """Let the C allocator keep what is freed instead of handing it back to the system (Linux with glibc; elsewhere nothing happens).

    By default every tensor above 128 KiB is mapped anew, and its first touch costs a page fault for each 4 KiB: a quarter of the time of a SAC update.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(-3, 32 * 2**20)  # M_MMAP_THRESHOLD, at its largest
    mallopt(-1, 2**30)  # M_TRIM_THRESHOLD
