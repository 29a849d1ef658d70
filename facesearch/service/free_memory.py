"""Keeps the memory of long runs flat: errors without what they were raised amid, and free memory given back to the system.

An error that is kept as an outcome holds, by its traceback, everything that was at hand where it was raised (the photograph's
pixels), and often itself, so that only Python's collector of cycles frees it, any number of photographs later. The C library keeps
what was freed between blocks still in use, for later: beside work that makes and drops large arrays all the time, arrays that grow
(a gallery's) leave ever more of it behind. It frees no object itself. Only a process of our own (a command, the service) has its
allocator set: a library leaves that to its user.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import TypeVar

Error = TypeVar("Error", bound=BaseException)


def without_frames(error: Error) -> Error:
    """Return an error, its causes included, without tracebacks; for errors that are outcomes and are not raised again."""
    one: BaseException | None = error
    while one is not None and one.__traceback__ is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


PAGES_FROM_BYTES = 2**17
"""Blocks from this size on get pages of their own where ``keep_heap_small`` was called: an LFW photograph's pixels are 2¹⁷·⁵."""

_M_MMAP_THRESHOLD = -3  # malloc.h of glibc


def keep_heap_small() -> bool:
    """Have the C library take pages of their own for large blocks, for as long as the process lives, and give these back at once.

    Left alone, glibc raises that size up to 32 MB as soon as such a block is freed, and then cuts pixels out of the heap that small
    blocks which stay lie between: over 13,000 photographs 13 MB are left behind in holes (``python -m benchmarks.folder``).

    Returns:
        Whether it could be set (glibc only).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    mallopt.argtypes, mallopt.restype = (ctypes.c_int, ctypes.c_int), ctypes.c_int
    return bool(mallopt(_M_MMAP_THRESHOLD, PAGES_FROM_BYTES))


def give_back_free_memory() -> bool:
    """Ask the C library to return whole free pages to the system; milliseconds for some 20 MB.

    Returns:
        Whether it returned any; False where it cannot be asked (only glibc can: ``malloc_trim``).
    """
    trim = _trim()
    return trim is not None and bool(trim(0))


@cache
def _trim() -> Callable[[int], int] | None:
    if sys.platform != "linux":
        return None
    found = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if found is None:  # musl
        return None
    found.argtypes, found.restype = (ctypes.c_size_t,), ctypes.c_int
    trim: Callable[[int], int] = found
    return trim
