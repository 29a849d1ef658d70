"""Photographs of jobs in memory, within a budget of bytes.

It knows nothing of what is done with them: see ``bulk_enroll``.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable

from facesearch.core.errors import JobMemoryFullError

RETRY_AFTER_S = 2
"""When somebody is asked to send a photograph again that found no room, in seconds."""


class HeldPhotographs:
    """Encoded photographs by job and digest, the oldest first. Thread-safe.

    Args:
        max_bytes: Most that all of them take together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._by_job: dict[str, dict[str, bytes]] = {}
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Bytes held."""
        return self._n_bytes

    @property
    def n_free_bytes(self) -> int:
        """Bytes that still fit."""
        return max(0, self._max_bytes - self._n_bytes)

    def put(self, job_id: str, digest: str, data: bytes) -> bool:
        """Hold a photograph; False where it does not fit now. One that is held already always fits."""
        with self._lock:
            own = self._by_job.setdefault(job_id, {})
            if digest in own:
                return True
            if self._n_bytes + len(data) > self._max_bytes:
                if not own:
                    del self._by_job[job_id]
                return False
            own[digest] = data
            self._n_bytes += len(data)
            return True

    def full(self, n_bytes: int) -> JobMemoryFullError:
        """Return the error of a photograph that does not fit; one that never can is told so."""
        if n_bytes > self._max_bytes:
            return JobMemoryFullError(
                f"the photograph has {n_bytes:,} bytes, all photographs of jobs may take {self._max_bytes:,} at once; "
                "enroll it without a job",
                n_bytes=n_bytes,
                max_bytes=self._max_bytes,
            )
        return JobMemoryFullError(
            f"the photographs of jobs fill the memory they may take: {self.n_free_bytes:,} of {self._max_bytes:,} bytes are left; "
            "send them again when some are worked off",
            n_free_bytes=self.n_free_bytes,
            max_bytes=self._max_bytes,
            retry_after_s=RETRY_AFTER_S,
        )

    def jobs(self) -> list[str]:
        """Return the jobs that photographs are held of, the one that waits longest first."""
        with self._lock:
            return list(self._by_job)

    def digests(self, job_id: str) -> list[str]:
        """Return which photographs of a job are held, oldest first."""
        with self._lock:
            return list(self._by_job.get(job_id, ()))

    def get(self, job_id: str, digest: str) -> bytes | None:
        """Return a photograph, or None where it is not held."""
        with self._lock:
            return self._by_job.get(job_id, {}).get(digest)

    def turn(self, job_id: str) -> None:
        """Put a job behind the others: each has its turn."""
        with self._lock:
            own = self._by_job.pop(job_id, None)
            if own is not None:
                self._by_job[job_id] = own

    def drop(self, job_id: str, digests: Iterable[str] | None = None) -> None:
        """Let photographs of a job go; all of them for None."""
        with self._lock:
            own = self._by_job.get(job_id, {})
            for digest in list(own) if digests is None else list(digests):
                self._n_bytes -= len(own.pop(digest, b""))
            if not own:
                self._by_job.pop(job_id, None)
