"""Large pages are asked for where they help, and asking changes nothing else."""

from __future__ import annotations

import mmap
import sys
import threading
from pathlib import Path

import pytest

from facesearch.gallery import huge_pages
from facesearch.gallery.huge_pages import LEAST_BYTES, MADV_HUGEPAGE, advise, large_memory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="/proc and madvise are Linux's")


def private_memory(n_bytes: int) -> mmap.mmap:
    return mmap.mmap(-1, n_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def huge_kb() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("AnonHugePages"))


def end_of_threads() -> None:
    for thread in threading.enumerate():
        if thread.name == "facesearch-huge-pages":
            thread.join(30.0)


def test_large_memory_is_seen_and_small_memory_is_not() -> None:
    before = set(large_memory())
    small = private_memory(LEAST_BYTES // 4)
    n_small = len(set(large_memory()) - before)
    large = private_memory(2 * LEAST_BYTES)
    assert n_small == 0
    assert any(end - first >= 2 * LEAST_BYTES for first, end in set(large_memory()) - before)
    large.close()
    small.close()


def test_memory_filled_in_the_block_moves_to_huge_pages_and_keeps_its_bytes() -> None:
    before = huge_kb()
    with huge_pages.huge_pages(is_filled=True):
        memory = private_memory(LEAST_BYTES)
        for place in range(0, LEAST_BYTES, mmap.PAGESIZE):
            memory[place] = place // mmap.PAGESIZE % 251
    spans = [span for span in large_memory() if span[1] - span[0] >= LEAST_BYTES]
    taken = all(advise(span, MADV_HUGEPAGE) for span in spans)
    end_of_threads()
    assert [memory[place] for place in range(0, LEAST_BYTES, mmap.PAGESIZE)] == [
        n % 251 for n in range(LEAST_BYTES // mmap.PAGESIZE)
    ]
    grown = huge_kb() - before
    memory.close()
    if not taken or not grown:
        pytest.skip("this system gives out no huge pages")
    assert grown >= LEAST_BYTES // 1024 // 2


def test_a_system_that_does_not_tell_is_left_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(huge_pages, "MAPS", tmp_path / "nothing")
    with huge_pages.huge_pages(is_filled=True):
        memory = private_memory(LEAST_BYTES)
    assert large_memory() == []
    memory.close()


def test_memory_that_is_gone_is_refused_without_harm() -> None:
    assert not advise((2**46, 2**46 + LEAST_BYTES), MADV_HUGEPAGE)
