"""The two processes of a comparison: what goes through the pipes comes out the same, and what fails is said."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.side_by_side import OURS, Each, Results, Worker, WorkerError, compare

SCRIPT = """
import sys, time
from benchmarks.side_by_side import serve

def echo(*, add=0):
    print("libraries write to standard output")
    return lambda value: {"got": value, "added": add}

def sleep(*, ms):
    def act(_):
        time.sleep(ms / 1000)
        return ms
    return act

def fail():
    def act(value):
        raise ValueError(f"cannot do {value}")
    return act

def die():
    def act(value):
        print("last words", file=sys.stderr, flush=True)
        sys.exit(3)
    return act

serve({"echo": echo, "sleep": sleep, "fail": fail, "die": die})
"""


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def test_arrays_and_numbers_come_back_as_they_went(script: Path) -> None:
    value = {"pixels": np.arange(24, dtype=np.uint8).reshape(2, 4, 3), "names": ["a", None], "nested": (1, 2.5, b"\0")}
    with Worker(script, "echo", add=7) as worker:
        worker.hold(value)
        _, answer = worker.run()
    assert answer["added"] == 7
    assert answer["got"]["names"] == ["a", None]
    assert answer["got"]["nested"] == [1, 2.5, b"\0"]
    assert answer["got"]["pixels"].dtype == np.uint8
    np.testing.assert_array_equal(answer["got"]["pixels"], value["pixels"])


def test_the_slower_side_is_told_from_the_faster(script: Path) -> None:
    with Worker(script, "sleep", ms=2) as ours, Worker(script, "sleep", ms=20) as peer:
        found = compare(ours, peer, Each(None, 5), rounds=3, round_ms=10.0, pause_s=0.0)
    assert 2.0 <= found.ours_ms < found.peer_ms
    assert found.ratio == found.peer_ms / found.ours_ms > 1.0
    assert found.quartiles[0] <= found.quartiles[1]
    assert found.answers == (2, 20)


def test_a_failing_job_raises_with_its_traceback(script: Path) -> None:
    with Worker(script, "fail") as worker:
        worker.hold("this")
        with pytest.raises(WorkerError, match="ValueError: cannot do this"):
            worker.run()


def test_a_worker_that_ends_raises_with_its_last_words(script: Path) -> None:
    with Worker(script, "die") as worker, pytest.raises(WorkerError, match="last words"):
        worker.run()


def test_a_job_that_cannot_be_made_or_is_not_there(script: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="unexpected keyword"):
        Worker(script, "fail", nonsense=1)
    with pytest.raises(WorkerError, match="there is no interpreter"):
        Worker(script, "echo", tmp_path / "python")


def test_rows_are_written_with_the_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import json

    results = Results("part", "python -m benchmarks.part")
    results.add_value("memory", 3.0, "MB", goal=5.0, note="a note")
    results.write(tmp_path / "new" / "part.json")
    held = json.loads((tmp_path / "new" / "part.json").read_text())
    assert held["rows"] == [
        {"work": "memory", "peer": None, "value": 3.0, "unit": "MB", "goal": 5.0, "better": "lower", "note": "a note"}
    ]
    assert (held["name"], held["command"], held["machine"]["cores"] >= 1) == ("part", "python -m benchmarks.part", True)
    assert "memory: 3 MB, goal 5  a note" in capsys.readouterr().out


def test_ours_is_this_interpreter() -> None:
    assert Path(sys.executable) == OURS
