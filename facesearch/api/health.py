"""Whether the service can answer: networks loaded, database writable, indexes in step with it.

It loads what is missing (``warm_up``), in a thread of its own, after the service listens: requests that come before wait for it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from facesearch.core.errors import FaceSearchError
from facesearch.core.protocols import IdentityStore
from facesearch.service.gallery import IndexStatus

KEPT_S = 1.0
"""A finding is given to all who ask within so many seconds: asking often costs nothing."""

SLOW_S = 5.0
"""Age of a finding, in seconds, past which somebody still looking anew means that the database hangs."""

SLOW = "slow"
"""State of a database that does not answer."""

_log = logging.getLogger("facesearch")


class Indexed(Protocol):
    """What says how indexes stand: the library's front."""

    def index_status(self) -> list[IndexStatus]:
        """Return how the index of each collection stands to the database, after catching up."""
        ...


@dataclass(frozen=True, slots=True)
class Readiness:
    """What was found.

    Attributes:
        model: ``"ready"``, ``"loading"``, or the code of the error that loading ended with.
        database: ``"ready"``, ``"slow"``, or the code of an error.
        index: ``"ready"``, ``"behind"``, ``"slow"``, or the code of an error.
    """

    model: str
    database: str
    index: str

    @property
    def is_ready(self) -> bool:
        """Whether everything is."""
        return self.model == self.database == self.index == "ready"


class Health:
    """Looks whether the service can answer. Thread-safe.

    Args:
        load: Loads the networks and runs them once.
        store: The database.
        faces: Says how indexes stand.
        clock: Seconds that only grow.
    """

    def __init__(
        self, load: Callable[[], None], store: IdentityStore, faces: Indexed, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._load = load
        self._store = store
        self._faces = faces
        self._clock = clock
        self._lock = threading.Lock()
        self._model = "loading"
        self._found: tuple[float, Readiness] | None = None

    def warm_up(self) -> None:
        """Load the networks and the indexes; what fails is logged and found by ``check``."""
        try:
            self._load()
            self._model = "ready"
        except FaceSearchError as exc:
            self._model = exc.code
            _log.error("the networks cannot be loaded (%s)", exc.code)
            return
        found = self.check()
        if not found.is_ready:
            _log.warning("not ready: database %s, index %s", found.database, found.index)

    def check(self) -> Readiness:
        """Return what is found now, or was less than ``KEPT_S`` ago; never waits for somebody else who is looking already."""
        known = self._found
        if known is not None and self._clock() - known[0] < KEPT_S and known[1].model == self._model:
            return known[1]
        if not self._lock.acquire(blocking=known is None):
            is_slow = known is None or self._clock() - known[0] > SLOW_S
            return Readiness(self._model, SLOW, SLOW) if is_slow or known is None else known[1]
        try:
            found = Readiness(self._model, self._database(), self._index())
            self._found = (self._clock(), found)
            return found
        finally:
            self._lock.release()

    def _database(self) -> str:
        try:
            with self._store.writing():
                pass
        except FaceSearchError as exc:
            return exc.code
        return "ready"

    def _index(self) -> str:
        try:
            return "ready" if all(one.is_in_step for one in self._faces.index_status()) else "behind"
        except FaceSearchError as exc:
            return exc.code
