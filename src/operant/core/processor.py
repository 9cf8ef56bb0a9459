"""The processor, and settings of the process that make small tensor programs faster on it."""

from __future__ import annotations

import ctypes
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
