"""The processor, and settings of the process that make small tensor programs faster on it."""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path


@cache
def maker() -> str:
    """Who made the processor, as it says itself ("GenuineIntel", "AuthenticAMD"); empty where it does not (beside Linux on x86)."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("vendor_id")), "")


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
