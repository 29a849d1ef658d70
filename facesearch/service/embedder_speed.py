"""How fast an embedder is on this machine, for the card that says what it is worth.

It is a figure for orientation, taken beside whatever else runs: comparisons are ``benchmarks``'s.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facesearch.core.face import Detection, FaceCrop
from facesearch.core.protocols import Embedder
from facesearch.service.photographs import EmbeddedPhotographs

TIMED_CROPS = 16
TIMED_ROUNDS = 5


@dataclass(frozen=True, slots=True)
class Speed:
    """How fast an embedder is.

    Attributes:
        embedding_ms: Milliseconds a crop in a batch of ``TIMED_CROPS``, median of ``TIMED_ROUNDS`` rounds.
        processor: On what, and with how many threads.
        photographs_per_s: Photographs decoded, detected and embedded a second; None where some came from the cache.
    """

    embedding_ms: float
    processor: str
    photographs_per_s: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Return it as plain values."""
        return {
            "embedding_ms": round(self.embedding_ms, 3),
            "processor": self.processor,
            "photographs_per_s": None if self.photographs_per_s is None else round(self.photographs_per_s, 2),
        }


def measured_speed(embedder: Embedder, embedded: EmbeddedPhotographs, processor: str) -> Speed:
    """Return how fast an embedder is with crops of noise, and how fast the photographs were embedded.

    Args:
        embedder: The embedder.
        embedded: What it made of the photographs.
        processor: What it is run on, in words.
    """
    side = embedder.alignment.crop_px
    rng = np.random.default_rng(0)
    face = Detection((0.0, 0.0, float(side), float(side)), rng.uniform(0, side, (5, 2)).astype(np.float32), 1.0)
    crops = [FaceCrop(rng.integers(0, 256, (side, side, 3), dtype=np.uint8), face) for _ in range(TIMED_CROPS)]
    whole = len(embedded) / embedded.seconds if embedded.n_cached == 0 and embedded.seconds > 0 else None
    return Speed(timed_ms(lambda: embedder.embed(crops)) / TIMED_CROPS, processor, whole)


def timed_ms(act: Callable[[], object]) -> float:
    """Return the milliseconds that something takes, median of ``TIMED_ROUNDS`` after one that warms up."""
    act()
    taken = []
    for _ in range(TIMED_ROUNDS):
        began = time.perf_counter()
        act()
        taken.append(1000.0 * (time.perf_counter() - began))
    return statistics.median(taken)
