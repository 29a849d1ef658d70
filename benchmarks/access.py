"""What keys, rate limits and the audit log cost a request: an authentication, a token and an entry each, on a file of SQLite.

Each request authenticates, takes a token and appends an audit entry, as a verification does; nothing else is done in between.
Run for one or more processes over one database, with 1, 4 and 16 threads each as fast as they go, and at a steady rate.

    python benchmarks/access.py [--processes 2] [--seconds 5] [--rate 200]
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from facesearch.core.audit import AuditEvent
from facesearch.service.api_keys import ApiKeys
from facesearch.service.audit import AuditLog
from facesearch.service.rate_limits import RateLimits
from facesearch.store.sql import SqlStore

PER_MINUTE = 10_000_000


def requests(folder: Path, key: str, n_threads: int, seconds: float, per_second: float | None) -> list[tuple[float, float, float]]:
    """Return the milliseconds that key, token and entry took, of every request of one process."""
    store = SqlStore(f"sqlite:///{folder}/access.db")
    keys, rates = ApiKeys(store), RateLimits(store)
    audit = AuditLog(store, folder / "audit.key", folder / "audit.head")
    taken: list[tuple[float, float, float]] = []
    end = time.perf_counter() + seconds

    def work(place: int) -> None:
        due = time.perf_counter() + (place / per_second if per_second else 0)
        while time.perf_counter() < end:
            if per_second:
                time.sleep(max(0.0, due - time.perf_counter()))
                due += n_threads / per_second
            marks = [time.perf_counter()]
            found = keys.authenticate(key)
            marks.append(time.perf_counter())
            rates.take(found.key_id, PER_MINUTE)
            marks.append(time.perf_counter())
            said = AuditEvent("verify", found.key_id, "match", datetime.now(UTC), threshold=0.43, fmr=1e-4, score=0.61)
            audit.append(said)
            marks.append(time.perf_counter())
            taken.append(tuple(1000 * (after - before) for before, after in itertools.pairwise(marks)))

    threads = [threading.Thread(target=work, args=(place,)) for place in range(n_threads)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    store.close()
    return taken


def measured(n_processes: int, n_threads: int, seconds: float, per_second: float | None) -> str:
    """Return a line of the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        store = SqlStore(f"sqlite:///{folder}/access.db")
        key = ApiKeys(store).create("benchmark", ["verify"]).text
        share = None if per_second is None else per_second / n_processes
        with multiprocessing.get_context("spawn").Pool(n_processes) as pool:
            found = pool.starmap(requests, [(folder, key, n_threads, seconds, share)] * n_processes)
        report = AuditLog(store, folder / "audit.key", folder / "audit.head").verify()
        store.close()
    times = np.array([one for process in found for one in process])
    if not report.is_sound or report.n_entries != len(times):
        raise SystemExit(f"{len(times)} requests, but {report.n_entries} entries: {report.problem}")
    total = times.sum(axis=1)
    parts = "  ".join(f"{np.median(times[:, part]):7.3f}" for part in range(3))
    spread = "  ".join(f"{np.percentile(total, rank):7.2f}" for rank in (50, 95, 99))
    asked = "as fast as it goes" if per_second is None else f"{per_second:g} a second"
    return f"{n_processes:9}  {n_threads:7}  {asked:>18}  {len(times) / seconds:10.0f}  {parts}  {spread}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rate", type=float, default=200)
    chosen = parser.parse_args()
    print("processes  threads               asked  requests/s   key ms  token ms  entry ms   p50 ms   p95 ms   p99 ms")
    for n_processes in sorted({1, chosen.processes}):
        for n_threads in (1, 4, 16):
            print(measured(n_processes, n_threads, chosen.seconds, None), flush=True)
    print(measured(chosen.processes, 16, chosen.seconds, chosen.rate), flush=True)


if __name__ == "__main__":
    main()
