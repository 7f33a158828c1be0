"""How memory is taken from the system: kept for the next tensor, rather than handed back after each one."""

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
"""glibc's numbers for `mallopt` (malloc.h)."""
_OWN_MAPPING, _KEPT = 1 << 30, 2**31 - 1
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
    return bool(change(_MMAP_THRESHOLD, _OWN_MAPPING)) and bool(change(_TRIM_THRESHOLD, _KEPT))
