"""Memory of long runs: errors let go of what they were raised amid, and free memory goes back to the system."""

from __future__ import annotations

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
