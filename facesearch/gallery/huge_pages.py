"""Asks Linux to keep the memory of a large graph in pages of 2 MB.

A search jumps between hundreds of places of a graph that is far larger than what the processor keeps addresses for: with pages of
4 kB nearly every jump costs a walk through the page tables besides (a sixth of the time of a search of a million templates).
hnswlib takes its memory from ``malloc``, which does not ask for large pages; NumPy asks for its own arrays. It is advice: where the
system does not know it nothing fails, and memory that was there before is left as it is.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

LEAST_BYTES = 64 * 2**20
"""Memory smaller than this is left alone: a graph of some 100,000 templates."""

PAGE_BYTES = 2**21

MADV_HUGEPAGE = 14
MADV_COLLAPSE = 25
"""Exchange the pages now, Linux 6.1 and later; the one before holds for pages touched from now on (``linux/mman.h``)."""

MAPS = Path("/proc/self/maps")

Span = tuple[int, int]
"""First address and the one after the last."""


@contextmanager
def huge_pages(*, is_filled: bool) -> Iterator[None]:
    """Advise large pages for the large memory that is taken inside the block and still there at its end.

    Args:
        is_filled: Whether it was written to inside the block: then its pages are exchanged, by a thread of its own that nobody
            waits for (seconds a gigabyte). Advice for memory that is given back meanwhile is refused and does no harm.
    """
    before = set(large_memory())
    yield
    spans = [span for span in large_memory() if span not in before]
    for span in spans:
        advise(span, MADV_HUGEPAGE)
    if spans and is_filled:
        threading.Thread(target=_collapse, args=(spans,), name="facesearch-huge-pages", daemon=True).start()


def large_memory() -> list[Span]:
    """Return the large private memory of this process that belongs to no file; nothing where the system does not tell."""
    if sys.platform != "linux":
        return []
    spans = []
    with suppress(OSError):
        for line in MAPS.read_text("utf-8").splitlines():
            addresses, rights, _, device = line.split(maxsplit=4)[:4]
            first, _, end = addresses.partition("-")
            span = int(first, 16), int(end, 16)
            if rights == "rw-p" and device == "00:00" and span[1] - span[0] >= LEAST_BYTES:
                spans.append(span)
    return spans


def advise(span: Span, advice: int) -> bool:
    """Give advice for the whole large pages of a span; return whether the system took it."""
    first, end = -(-span[0] // PAGE_BYTES) * PAGE_BYTES, span[1] // PAGE_BYTES * PAGE_BYTES
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    return bool(madvise(first, end - first, advice) == 0)


def _collapse(spans: list[Span]) -> None:
    for span in spans:
        advise(span, MADV_COLLAPSE)
