"""What the service counts, for Prometheus: requests, the queue, runs of the embedder, decisions by outcome.

No label of a person, collection, key or score is ever in it. With several processes (``PROMETHEUS_MULTIPROC_DIR`` is set before
this module is imported) whichever is asked answers for all.
"""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)

MULTIPROCESS_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
"""Environment variable that names the folder through which processes share their counts."""

SECONDS = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Upper bounds of the classes of latencies, in seconds."""

CROPS = (1, 2, 4, 8, 16, 32, 64)
"""Upper bounds of the classes of batches."""

KINDS = ("verify", "identify")
"""What is decided."""


def forget_dead_processes() -> int:
    """Drop what processes that are gone counted of the present (queues, requests in flight); what they counted before stays.

    Returns:
        How many files were dropped.
    """
    folder = os.environ.get(MULTIPROCESS_VARIABLE)
    dropped = 0
    for file in Path(folder).glob("gauge_live*_*.db") if folder else ():
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not is_alive(int(pid)):
            file.unlink(missing_ok=True)
            dropped += 1
    return dropped


def is_alive(pid: int) -> bool:
    """Return whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Metrics:
    """The counts of one process, or its part of those of several. Thread-safe.

    Args:
        version: The release that runs.
    """

    content_type = CONTENT_TYPE_LATEST
    """The media type of ``text``."""

    def __init__(self, *, version: str = "") -> None:
        self._version = version
        self.registry = registry = CollectorRegistry()
        self._is_shared = bool(os.environ.get(MULTIPROCESS_VARIABLE))
        if not self._is_shared:
            ProcessCollector(registry=registry)
        self._requests = Counter("facesearch_requests", "Requests answered.", ("method", "route", "status"), registry=registry)
        self._seconds = Histogram(
            "facesearch_request_seconds",
            "Time from a request's head to its answer's end.",
            ("route",),
            buckets=SECONDS,
            registry=registry,
        )
        self._in_flight = self._gauge("facesearch_requests_in_flight", "Requests being answered.")
        self._running = self._gauge("facesearch_work_running", "Requests on a thread of the pool.")
        self._waiting = self._gauge("facesearch_work_waiting", "Requests that wait for a thread of the pool.")
        self._refused = Counter("facesearch_work_refused", "Requests that found the queue full.", registry=registry)
        self._timed_out = Counter("facesearch_work_timed_out", "Requests that took too long.", registry=registry)
        self._batch_crops = Histogram(
            "facesearch_embedder_batch_crops", "Faces of a run of the embedder.", buckets=CROPS, registry=registry
        )
        self._batch_callers = Histogram(
            "facesearch_embedder_batch_requests", "Requests that shared a run of the embedder.", buckets=CROPS, registry=registry
        )
        self._faces = Counter("facesearch_faces_embedded", "Faces turned into templates.", registry=registry)
        self._decisions = Counter("facesearch_decisions", "Decisions by outcome.", ("kind", "outcome"), registry=registry)
        self._build = self._gauge("facesearch_build_info", "What runs; always 1.", "version", "embedder_id", mode="livemax")

    def _gauge(self, name: str, text: str, *labels: str, mode: str = "livesum") -> Gauge:
        return Gauge(name, text, labels, registry=self.registry, multiprocess_mode=mode)  # type: ignore[arg-type]

    def runs(self, embedder_id: str) -> None:
        """Say which embedder this process runs."""
        self._build.labels(self._version, embedder_id).set(1)

    def request_begun(self) -> None:
        """Count a request that is being answered."""
        self._in_flight.inc()

    def request_ended(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            method: ``GET``, ….
            route: The route's template, never the address asked for, which may name somebody.
            status: HTTP status.
            seconds: Time it took.
        """
        self._in_flight.dec()
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(route).observe(seconds)

    def work(self, running: int, waiting: int) -> None:
        """Set what the pool does at this moment."""
        self._running.set(running)
        self._waiting.set(waiting)

    def refused(self) -> None:
        """Count a request that found the queue full."""
        self._refused.inc()

    def timed_out(self) -> None:
        """Count a request that took too long."""
        self._timed_out.inc()

    def batch(self, n_crops: int, n_callers: int) -> None:
        """Count a run of the embedder."""
        self._batch_crops.observe(n_crops)
        self._batch_callers.observe(n_callers)
        self._faces.inc(n_crops)

    def decision(self, kind: str, *, is_match: bool, n: int = 1) -> None:
        """Count decisions.

        Args:
            kind: ``"verify"`` or ``"identify"``.
            is_match: Whether it was the person, or somebody.
            n: How many.
        """
        if kind not in KINDS:
            raise ValueError(f"decisions are of the kinds {', '.join(KINDS)}, not {kind!r}")
        self._decisions.labels(kind, "match" if is_match else "no_match").inc(n)

    def text(self) -> bytes:
        """Return all counts in Prometheus' text format, those of every process together."""
        if not self._is_shared:
            return generate_latest(self.registry)
        together = CollectorRegistry()
        multiprocess.MultiProcessCollector(together)  # type: ignore[no-untyped-call]
        return generate_latest(together)
