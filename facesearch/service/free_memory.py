"""Keeps the memory of long runs flat: errors without what they were raised amid, and free memory given back to the system.

An error that is kept as an outcome holds, by its traceback, everything that was at hand where it was raised (the photograph's
pixels), and often itself, so that only Python's collector of cycles frees it, any number of photographs later. The C library keeps
what was freed between blocks still in use, for later: beside work that makes and drops large arrays all the time, arrays that grow
(a gallery's) leave ever more of it behind. It frees no object itself, and changes no setting of the process.
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
