"""How this process gets memory from the kernel, and when it gives it back."""

from __future__ import annotations

import ctypes
import logging
from functools import cache

_log = logging.getLogger(__name__)

# Of glibc's <malloc.h>.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Have glibc keep the memory of tensors that are gone for the next ones, until `give_back_memory`.

    By itself it returns each large tensor to the kernel at once, which then clears its pages anew at every step; see
    benchmarks/speed/memory.py for what that costs. Does nothing with other C libraries.
    """
    library = _glibc()
    if library is None or not (library.mallopt(_M_MMAP_MAX, 0) and library.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)):
        _log.info("this C library cannot be told to keep freed memory")


def give_back_memory() -> None:
    """Return what is free to the kernel, as between two trials, of which the next may be much smaller."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> ctypes.CDLL | None:
    library = ctypes.CDLL(None)
    return library if hasattr(library, "gnu_get_libc_version") else None
