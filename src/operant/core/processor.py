"""The processor, and settings of the process that make small tensor programs faster on it."""

from __future__ import annotations

import ctypes
import os
import platform
import sys
from functools import cache
from pathlib import Path

WORTH_A_THREAD = 8_000_000  # multiplications from which a thread more pays
QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of processor, and in how many


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


def usable_cores() -> int:
    """Cores that this process is bound to, as far as a container's quota goes."""
    found = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text().split()
        return min(found, max(1, int(quota) // int(period)))
    except (OSError, ValueError):  # no such file; "max", where there is no quota
        return found


def cores() -> int:
    """Cores that PyTorch may compute on: the `usable_cores`, at most OMP_NUM_THREADS of them."""
    found = usable_cores()
    asked = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    return min(found, int(asked)) if asked.isdecimal() and int(asked) else found


def waits_are_short() -> bool:
    """Whether threads that wait for each other give up their cores soon (`operant/__init__.py`), so that several cost little where the cores are busy."""
    return sys.platform == "linux" and ("GOMP_SPINCOUNT" in os.environ or os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive")


def fitting_threads(multiplications: int, processes: int = 1) -> int:
    """Threads that pay: one for each 8 million multiplications of the widest product of an update, as far as there are `cores`, which several processes of a
    run share.

    Two at 256 × 256 × 256 train SAC 1.5 times as fast as one; at 256 × 64 × 64 they gain nothing.
    """
    return max(1, min(cores() // processes, multiplications // (processes * WORTH_A_THREAD))) if waits_are_short() else 1


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
