"""Memory of long runs: errors let go of what they were raised amid, and free memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from facesearch.service.free_memory import give_back_free_memory, without_frames


def fail() -> None:
    try:
        raise KeyError("inner")
    except KeyError as exc:
        raise ValueError("outer") from exc


def test_an_error_and_its_causes_lose_their_frames() -> None:
    with pytest.raises(ValueError, match="outer") as caught:
        fail()
    error, cause = caught.value, caught.value.__cause__
    assert cause is not None
    assert None not in (error.__traceback__, cause.__traceback__)
    assert without_frames(error) is error
    assert (error.__traceback__, cause.__traceback__) == (None, None)


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be asked")
def test_free_memory_between_blocks_in_use_is_given_back() -> None:
    blocks = [bytes([1]) * 60_000 for _ in range(1_000)]
    kept = blocks[::20]
    del blocks
    before = resident_bytes()
    if not give_back_free_memory():
        pytest.skip("another C library")
    assert len(kept) == 50
    assert before - resident_bytes() > 20_000_000


LARGE_BLOCKS = """
import ctypes, sys
from facesearch.service.free_memory import keep_heap_small
names = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost"
Info = type("Info", (ctypes.Structure,), {"_fields_": [(name, ctypes.c_size_t) for name in names.split()]})
told = ctypes.CDLL(None).mallinfo2
told.restype = Info
if sys.argv[1] == "keep" and not keep_heap_small():
    sys.exit(77)
block = bytearray(2**24)
del block
before = told().hblks
block = bytearray(2**20)
print(told().hblks - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="glibc alone can be set")
def test_large_blocks_keep_to_pages_of_their_own() -> None:
    found = {}
    for way in ("leave", "keep"):
        run = subprocess.run([sys.executable, "-c", LARGE_BLOCKS, way], capture_output=True, text=True, timeout=60)
        if run.returncode == 77 or "mallinfo2" in run.stderr:
            pytest.skip("another C library")
        assert run.returncode == 0, run.stderr
        found[way] = int(run.stdout)
    assert found == {"leave": 0, "keep": 1}
