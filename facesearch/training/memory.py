"""Keeps what a step frees for the next one instead of giving it back to the system.

A step allocates and frees the same gigabyte again and again; with glibc's defaults every large tensor is mapped anew, and clearing
its pages takes the system up to a third of the step. It limits nothing, and elsewhere than on glibc it does nothing.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_MAX = -1, -2, -4  # malloc.h
_NEVER = 2**31 - 1
_PAD_BYTES = 256 * 2**20


def keep_freed_memory() -> bool:
    """Let this process keep freed memory from now on; return whether it could be arranged."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        set_option = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):  # another C library
        return False
    options = ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, _NEVER), (_M_TOP_PAD, _PAD_BYTES))
    set_ones = [option for option, value in options if set_option(option, value)]
    return len(set_ones) == len(options)
