"""The detector for many requests at once: as many search at a time as there are processors for it, the others wait their turn.

Searches that share a processor each take longer and all end late; one after the other they take less of it together, and the first
face is there early. It also knows who is on the way to the embedder, so that a run there can wait for them (``micro_batch``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from facesearch.core.face import Box, Detection
from facesearch.core.image import Image
from facesearch.core.protocols import Detector


class DetectionTurns:
    """A detector whose callers take turns. Thread-safe.

    Args:
        detector: What searches.
        n_at_once: Callers that search at the same time, at least 1.
    """

    def __init__(self, detector: Detector, *, n_at_once: int) -> None:
        self._detector = detector
        self._turns = threading.BoundedSemaphore(n_at_once)
        self._lock = threading.Lock()
        self._n_callers = 0
        self._on_end: Callable[[], None] = lambda: None

    @property
    def n_callers(self) -> int:
        """Callers that search, or wait for their turn."""
        return self._n_callers

    def tell(self, on_end: Callable[[], None]) -> None:
        """Have something called at the end of every search; for whoever waits for ``n_callers``."""
        self._on_end = on_end

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        """Return the faces of a photograph; see ``Detector``."""
        with self._turn():
            return self._detector.detect(image, roi=roi)

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        """Return the faces of each photograph; see ``Detector``."""
        if not images:
            return ()
        with self._turn():
            return self._detector.detect_batch(images)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        with self._lock:
            self._n_callers += 1
        try:
            with self._turns:
                yield
        finally:
            with self._lock:
                self._n_callers -= 1
            self._on_end()
