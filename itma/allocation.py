"""What is taken from the system: memory, kept for the next tensor rather than handed back, and threads."""

import ctypes
import math
import os
import sys
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers for `mallopt` (malloc.h)."""
_OWN_MAPPING, _TRIM_FROM = 1 << 30, 2**31 - 1
"""Bytes from which a block is a mapping of its own, and of free memory that is kept."""


def reuse_memory() -> bool:
    """Let freed memory be used again by this process, where the allocator is glibc's.

    By default glibc maps every large block anew and unmaps it when it is freed, so each feature map of a batch costs
    page faults; in virtual machines these can take more time than the arithmetic. Freed memory then stays with the
    process, up to 2 GB. Whoever sets one of glibc's MALLOC_ variables is left alone.

    Returns:
        Whether it was done.
    """
    if not sys.platform.startswith("linux") or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        change = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    return bool(change(_MMAP_THRESHOLD, _OWN_MAPPING)) and bool(change(_TRIM_THRESHOLD, _TRIM_FROM))


def cores() -> int:
    """Processor cores that this process may use: those of the machine, of its affinity, or of its container's quota."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split()
        count = min(count, math.ceil(int(quota) / int(period)))
    except (OSError, ValueError):  # no container, or "max": no quota
        pass
    return max(1, count)


def choose_threads(count: int | None = None, *, queries: int | None = None) -> None:
    """Decide how many threads compute; to be called before torch is imported, which looks only once.

    One query is so little work that threads which wait for each other cost more than they save: on a busy machine a
    search with all cores was 11 times slower than with one thread.

    Args:
        count: the number of threads. None: that of OMP_NUM_THREADS where somebody set it; else one thread for a single
            query, and all cores that the process may use for anything larger.
        queries: how many queries will be answered; None: the work is no search.
    """
    if count is not None:
        os.environ["OMP_NUM_THREADS"] = str(count)
    else:
        os.environ.setdefault("OMP_NUM_THREADS", str(1 if queries == 1 else cores()))
