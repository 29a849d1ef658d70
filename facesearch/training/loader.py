"""Batches made ahead of time by a thread: crops read through the memory map, checked, augmented, in the sampler's order.

It measures how long training waited for it. It runs no network and keeps nothing between runs.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.core.errors import FaceSearchError
from facesearch.training.augment import Augmentation, augmented
from facesearch.training.crop_store import CropStore
from facesearch.training.samplers import Sampler, shard

AHEAD = 4
"""Batches kept ready: enough to ride out a slow read, and a few megabytes."""

_POLL_S = 0.2  # how soon a thread notices that nobody wants its batch any more


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """What a step learns from.

    Attributes:
        step: Its number, from 0.
        rows: Rows of the store, int64 ``(B,)``.
        labels: Numbers of the people, int64 ``(B,)``.
        pixels: uint8 RGB ``(B, S, S, 3)``.
    """

    step: int
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    pixels: Pixels


class BatchLoader:
    """The batches of a run from one step to another; iterate once, and leave the ``with`` block to end the thread.

    Args:
        store: The crops.
        sampler: Says which.
        augmentation: How far they are changed.
        seed: Of the augmentation.
        steps: First step and the one after the last.
        rank: This process among several.
        world: How many there are.
    """

    def __init__(
        self,
        store: CropStore,
        sampler: Sampler,
        augmentation: Augmentation,
        *,
        seed: int,
        steps: range,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self._store, self._sampler, self._augmentation, self._seed = store, sampler, augmentation, seed
        self._steps, self._rank, self._world = steps, rank, world
        self._ready: queue.Queue[Batch | BaseException | None] = queue.Queue(maxsize=AHEAD)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._work, name="crops", daemon=True)
        self.waited_s = 0.0
        """Seconds that training waited for batches: the time that a faster loader would save."""
        self.worked_s = 0.0
        """Seconds that making them took."""

    def __enter__(self) -> BatchLoader:
        """Begin to make batches."""
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the thread."""
        self._is_over.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        """Yield the batches in order.

        Raises:
            CropStoreError: A crop is not what was written, or cannot be read; names the photograph.
        """
        while True:
            began = time.perf_counter()
            found = self._ready.get()
            self.waited_s += time.perf_counter() - began
            if found is None:
                return
            if isinstance(found, BaseException):
                raise found
            yield found

    def make(self, step: int) -> Batch:
        """Return a step's batch, or this process' part of it.

        Raises:
            CropStoreError: As iterating.
        """
        everything = self._sampler.batch(step)
        rows = shard(everything, self._sampler.group, self._rank, self._world)
        # Numbered within the whole batch: several processes change crops as one would.
        first = step * everything.size + self._rank * rows.size
        crops = self._store.crops(rows)
        pixels = augmented(crops, np.arange(first, first + rows.size), self._augmentation, self._seed)
        return Batch(step, rows, self._store.labels[rows], pixels)

    def _work(self) -> None:
        # What training is told where something else ends this thread, whose traceback is printed then: it would wait for ever.
        last: BaseException | None = RuntimeError("the thread that makes batches ended by an error of its own, printed above")
        try:
            for step in self._steps:
                began = time.perf_counter()
                batch = self.make(step)
                self.worked_s += time.perf_counter() - began
                if not self._hand_over(batch):
                    return
            last = None
        except (FaceSearchError, OSError, MemoryError, ValueError) as exc:
            last = exc
        finally:
            self._hand_over(last)

    def _hand_over(self, made: Batch | BaseException | None) -> bool:
        """Return whether somebody still wants it."""
        while not self._is_over.is_set():
            try:
                self._ready.put(made, timeout=_POLL_S)
            except queue.Full:
                continue
            return True
        return False
