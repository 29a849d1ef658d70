"""Measures us and a peer in the same run: one process each, two threads each, taking turns, one idle while the other works.

A benchmark is one script that is also its own workers. ``Worker`` starts it again as ``PYTHON SCRIPT --worker JOB`` (ours under the
interpreter of this project, a peer under ``.bench/peers``), and the copy calls ``serve(jobs)``. A job is a function that is given
options, loads what it needs and returns the function to be timed::

    from benchmarks.side_by_side import OURS, PEERS, Results, Worker, compare, is_worker, serve

    def ours(*, precision: str):                    # made once, untimed
        detector = ...
        return lambda picture: detector.detect(picture)     # timed; what it returns goes back to the parent

    def peer(): ...

    if __name__ == "__main__":
        if is_worker():
            serve({"ours": ours, "peer": peer})     # imports of each side belong inside its job
        else:
            with Worker(__file__, "ours", OURS, precision="auto") as a, Worker(__file__, "peer", PEERS) as b:
                found = compare(a, b, picture, rounds=9)    # found.ours_ms, found.peer_ms, found.ratio, found.answers
            results.add("detect, 250×250, one face", peer="facenet-pytorch", found=found, goal=4.0, note="1 face found by both")

Scripts are called as modules from the project's folder: ``python -m benchmarks.detector_speed``. Times are taken inside the workers
around the call alone; what travels through the pipes (numbers, text, bytes, arrays, lists and dicts of them) is not timed. Between
turns there is a pause in which the spinning threads of an OpenMP pool go to sleep. One call of each side warms up; the figures are
medians over rounds, each round the mean of ``calls`` calls, with the quartiles of the rounds.

Every script takes ``--json FILE`` and writes, for ``benchmarks/results.py``::

    {"name": "detector",                       the part's name, as in `make bench PARTS="detector …"`
     "rows": [{"work": "MTCNN detect, 250×250, one face", "peer": "facenet-pytorch 2.5.3",
               "ours_ms": 1.9, "peer_ms": 9.8, "ratio": 5.2, "goal": 4.0, "note": "1 face found by both"},
              {"work": "cold verify, warm cache", "peer": null, "value": 1.1, "unit": "s", "goal": 1.2, "better": "lower",
               "note": ""}],
     "tables": ["optional text printed as it is below the part's rows"],
     "versions": {"facenet-pytorch": "2.5.3"}, "machine": {...}, "command": "python -m benchmarks.…", "seconds": 41.0, "date": "…"}

A row has ``ratio`` (peer's time by ours; ``goal`` is the least) or ``value`` with ``unit`` and ``better`` (``goal`` is the most for
"lower", the least for "higher"); ``goal`` is null where there is none. ``work`` names everything that a reader must know (size,
number of faces, batch). ``goal`` is always that for AVX-512: the renderer lowers ratios to two thirds where there is AVX2 alone.

It does not decide what is fair: same decoded input, thresholds and threads are the benchmark's to give.
"""

from __future__ import annotations

import json
import os
import pickle
import platform
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
OURS = Path(sys.executable)
"""The interpreter of this project: whatever runs the benchmark."""

PEERS = Path(os.environ.get("FACESEARCH_PEERS", ROOT / ".bench" / "peers")) / "bin" / "python"
"""The interpreter of the peers, made by ``make bench-peers-env``."""

WHEELS = ROOT / ".bench" / "wheels"
"""Packages of which single files are read; they are never imported."""

THREADS = 2
PAUSE_S = 0.25
"""Rest between turns: the threads of an OpenMP pool spin for up to 0.2 s after their last work."""

FLAGS = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "amx_int8")
"""What of a processor decides the speed of networks."""

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
)


class WorkerError(RuntimeError):
    """A worker failed; the message is its traceback or the end of what it wrote."""


def is_worker() -> bool:
    """Return whether this process was started by ``Worker``."""
    return sys.argv[1:2] == ["--worker"]


def serve(jobs: Mapping[str, Callable[..., Callable[[Any], Any]]]) -> None:
    """Do as the parent says until it closes the pipe.

    Standard output belongs to the parent; what libraries print goes to standard error.
    """
    stdin, stdout = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    act: Callable[[Any], Any] | None = None
    held: Any = None
    while (message := _receive(stdin)) is not None:
        try:
            answer: Any = None
            if message["do"] == "make":
                act = jobs[sys.argv[2]](**message["options"])
            elif message["do"] == "hold":
                held = message["value"]
            elif act is not None:
                answer = _timed(act, held, message["calls"])
            _send(stdout, {"answer": answer})
        except Exception:  # noqa: BLE001  (the entry point of the process: whatever it is, the parent prints it)
            _send(stdout, {"error": traceback.format_exc()})


def _timed(act: Callable[[Any], Any], held: Any, calls: int) -> dict[str, Any]:
    began = time.perf_counter()
    for _ in range(calls):
        answer = act(held)
    return {"ms": 1000.0 * (time.perf_counter() - began) / calls, "answer": answer, "rss_mb": _resident_mb()}


class Worker:
    """A process that does one job when asked and is blocked on a pipe otherwise.

    Args:
        script: The script that calls ``serve``.
        job: Which of its jobs.
        python: The interpreter.
        environment: Variables beside the usual ones.
        options: For the job.

    Raises:
        WorkerError: It could not be started or the job could not be made.
    """

    def __init__(
        self, script: str | Path, job: str, python: Path = OURS, *, environment: Mapping[str, str] | None = None, **options: Any
    ) -> None:
        if not python.exists():
            raise WorkerError(f"there is no interpreter {python.name} for {job}: make bench-peers-env makes the peers' environment")
        self.job = job
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (closed with the worker)
        variables = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(THREADS)), "PYTHONPATH": str(ROOT), **(environment or {})}
        self._process = subprocess.Popen(
            [str(python), str(script), "--worker", job],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=variables,
        )
        try:
            self._ask({"do": "make", "options": options})
        except WorkerError:
            self.close()
            raise

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def hold(self, value: Any) -> None:
        """Give it what the timed function will be called with."""
        self._ask({"do": "hold", "value": value})

    def run(self, calls: int = 1) -> tuple[float, Any]:
        """Return the mean milliseconds of some calls, and what the last of them returned."""
        answer = self._ask({"do": "run", "calls": calls})
        return float(answer["ms"]), answer["answer"]

    def close(self) -> None:
        """End it."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _ask(self, message: dict[str, Any]) -> Any:
        try:
            _send(self._process.stdin, message)
            answer = _receive(self._process.stdout)
        except BrokenPipeError:
            answer = None
        if answer is None:
            self._process.wait()
            self._log.seek(0)
            tail = self._log.read()[-2000:].decode(errors="replace")
            raise WorkerError(f"worker {self.job} ended with status {self._process.returncode}:\n{tail}")
        if "error" in answer:
            raise WorkerError(f"worker {self.job} failed:\n{answer['error']}")
        return answer["answer"]


@dataclass(frozen=True, slots=True)
class Found:
    """What a comparison found.

    Attributes:
        ours_ms: Median milliseconds of a call of ours.
        peer_ms: The same of the peer.
        ratio: ``peer_ms / ours_ms``: above 1, ours is faster.
        quartiles: First and third quartile of the rounds' own ratios.
        answers: What the last call of ours and of the peer returned.
    """

    ours_ms: float
    peer_ms: float
    ratio: float
    quartiles: tuple[float, float]
    answers: tuple[Any, Any]


def compare(ours: Worker, peer: Worker, value: Any, *, rounds: int = 9, round_ms: float = 200.0, pause_s: float = PAUSE_S) -> Found:
    """Let two workers take turns with the same input.

    Args:
        ours: Our worker.
        peer: The peer's.
        value: What both functions are called with; a pair ``Each(ours, peer)`` where the sides need different forms of it.
        rounds: Turns of each, after the one that warms up.
        round_ms: Calls are repeated within a turn until it is about as long.
        pause_s: Rest between turns.
    """
    sides = (ours, peer)
    values = (value.ours, value.peer) if isinstance(value, Each) else (value, value)
    calls, answers = [1, 1], [None, None]
    for side, (worker, given) in enumerate(zip(sides, values, strict=True)):
        worker.hold(given)
        worker.run()
        time.sleep(pause_s)
        ms, answers[side] = worker.run()
        calls[side] = max(1, min(1000, round(round_ms / max(ms, 1e-3))))
        time.sleep(pause_s)
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(rounds):
        for side in (0, 1) if number % 2 == 0 else (1, 0):
            ms, answers[side] = sides[side].run(calls[side])
            times[side].append(ms)
            time.sleep(pause_s)
    medians = statistics.median(times[0]), statistics.median(times[1])
    ratios = [b / a for a, b in zip(*times, strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else (ratios[0],) * 3
    return Found(*medians, medians[1] / medians[0], (low, high), (answers[0], answers[1]))


@dataclass(frozen=True, slots=True)
class Each:
    """One input in the form that each side wants."""

    ours: Any
    peer: Any


class Results:
    """Rows of one benchmark, printed as they come and written at the end.

    Args:
        name: The part's name.
        command: How it was called; None reads it from ``sys.argv``.
    """

    def __init__(self, name: str, command: str | None = None) -> None:
        self.name = name
        self.rows: list[dict[str, Any]] = []
        self.tables: list[str] = []
        self.versions: dict[str, str] = {}
        self._command = command or called()
        self._began = time.perf_counter()

    def add(self, work: str, *, peer: str, found: Found, goal: float | None, note: str = "") -> None:
        """Add a comparison."""
        low, high = found.quartiles
        spread = f"quartiles of the rounds {low:.2f}–{high:.2f}"
        ours_ms, peer_ms, ratio = round(found.ours_ms, 3), round(found.peer_ms, 3), round(found.ratio, 2)
        row = {"work": work, "peer": peer, "ours_ms": ours_ms, "peer_ms": peer_ms, "ratio": ratio}
        self._put({**row, "goal": goal, "note": "; ".join(filter(None, (note, spread)))})

    def add_value(
        self,
        work: str,
        value: float,
        unit: str,
        *,
        goal: float | None = None,
        better: str = "lower",
        peer: str | None = None,
        note: str = "",
    ) -> None:
        """Add a figure of ours that is no ratio of times."""
        self._put({"work": work, "peer": peer, "value": value, "unit": unit, "goal": goal, "better": better, "note": note})

    def _put(self, row: dict[str, Any]) -> None:
        self.rows.append(row)
        if "ratio" in row:
            text = f"{row['ratio']:6.2f}×  ours {row['ours_ms']:.3f} ms, {row['peer']} {row['peer_ms']:.3f} ms"
        else:
            text = f"{row['value']:g} {row['unit']}"
        goal = "" if row["goal"] is None else f", goal {row['goal']:g}"
        print(f"{row['work']}: {text}{goal}  {row['note']}".rstrip())
        sys.stdout.flush()

    def write(self, path: Path | None) -> None:
        """Write the rows for ``benchmarks/results.py``; nothing where no file was asked for."""
        if path is None:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        content = {
            "name": self.name,
            "rows": self.rows,
            "tables": self.tables,
            "versions": self.versions,
            "machine": machine(),
            "command": self._command,
            "seconds": round(time.perf_counter() - self._began, 1),
            "date": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        }
        path.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n")


def called() -> str:
    """Return how this script was called, without the path of anything outside the project."""
    module = Path(sys.argv[0]).stem
    arguments = [argument.replace(f"{ROOT}/", "") for argument in sys.argv[1:]]
    return " ".join(
        ["python -m", f"benchmarks.{module}", *("…" + a[a.rindex("/") :] if a.startswith("/") else a for a in arguments)]
    )


def machine() -> dict[str, Any]:
    """Return what a reader must know of this machine."""
    text = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    fields = dict(reversed([line.split(":", 1) for line in text.splitlines() if ":" in line]))
    named = {name.strip(): value.strip() for name, value in fields.items()}
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "processor": named.get("model name", platform.processor() or "unknown"),
        "family": f"{named.get('cpu family', '?')}/{named.get('model', '?')}",
        "flags": [flag for flag in FLAGS if f" {flag} " in f" {named.get('flags', '')} "],
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def package_versions(python: Path, names: Sequence[str]) -> dict[str, str]:
    """Return the versions of packages under an interpreter; "not installed" where one is missing."""
    code = (
        "import json, sys\nfrom importlib.metadata import PackageNotFoundError, version\nfound = {}\n"
        "for name in sys.argv[1:]:\n    try: found[name] = version(name)\n"
        "    except PackageNotFoundError: found[name] = 'not installed'\nprint(json.dumps(found))"
    )
    if not python.exists():
        return dict.fromkeys(names, "not installed")
    done = subprocess.run([str(python), "-c", code, *names], check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout))


def _resident_mb() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def _packed(value: Any) -> Any:
    """Return a value with its arrays taken apart: their pickles do not travel between releases of NumPy."""
    if isinstance(value, np.ndarray):
        return ("array", value.dtype.str, value.shape, value.tobytes())
    if isinstance(value, np.generic):
        return ("plain", value.item())
    if isinstance(value, dict):
        return ("dict", [(key, _packed(item)) for key, item in value.items()])
    if isinstance(value, (list, tuple)):
        return ("list", [_packed(item) for item in value])
    return ("plain", value)


def _unpacked(packed: Any) -> Any:
    kind = packed[0]
    if kind == "array":
        return np.frombuffer(packed[3], dtype=packed[1]).reshape(packed[2])
    if kind == "dict":
        return {key: _unpacked(item) for key, item in packed[1]}
    return [_unpacked(item) for item in packed[1]] if kind == "list" else packed[1]


def _send(stream: BinaryIO | None, value: Any) -> None:
    if stream is None:
        raise WorkerError("the worker has no pipe")
    raw = pickle.dumps(_packed(value))
    stream.write(struct.pack("<Q", len(raw)) + raw)
    stream.flush()


def _receive(stream: BinaryIO | None) -> Any:
    """Return the next message, or None where the other side is gone."""
    head = stream.read(8) if stream is not None else b""
    if stream is None or len(head) < 8:
        return None
    (length,) = struct.unpack("<Q", head)
    raw = stream.read(length)
    return _unpacked(pickle.loads(raw)) if len(raw) == length else None
