"""Faces of concurrent requests in shared runs of the embedder's network.

A run of sixteen crops takes less than sixteen runs of one. Whoever comes while the engine is busy waits for a run's end, a few
milliseconds, and shares the next one with all who came meanwhile; so does, for a moment, whoever comes while the faces of others
are being found: these will be here soon, and it is they who have the processor. A caller that is alone never waits. The vectors
are those of separate runs: a vector depends on its crop alone (see ``Embedder``). It makes no threads: a run is made by one of the
callers whose crops are in it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from facesearch.core.errors import FaceSearchError, ModelError
from facesearch.core.face import Alignment, FaceCrop
from facesearch.core.protocols import Embedder
from facesearch.core.template import Template

BATCH_LIMIT = 16
"""Crops after which a run waits for no more: larger ones gain nothing on a processor."""

PATIENCE_S = 0.04
"""How long a call waits for those on their way, in seconds: as long as some eight small photographs are searched for faces."""


class BatchingEmbedder:
    """An embedder whose concurrent callers share runs of another. Thread-safe.

    Args:
        embedder: What runs; called by at most ``n_runs`` threads at a time.
        n_runs: Runs at once, at least 1: as many as the engine computes side by side. Who finds one free does not wait.
        batch_limit: Crops of a run, at least 1; a caller with more has a run of its own.
        n_on_the_way: Says how many callers will be here soon; ``changed`` is to be called when one of them may have come.
        on_batch: Called after every run with its number of crops and of callers; for metrics.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        n_runs: int = 1,
        batch_limit: int = BATCH_LIMIT,
        n_on_the_way: Callable[[], int] = lambda: 0,
        on_batch: Callable[[int, int], None] = lambda n_crops, n_callers: None,
    ) -> None:
        self._embedder = embedder
        self._n_runs = n_runs
        self._batch_limit = batch_limit
        self._n_on_the_way = n_on_the_way
        self._on_batch = on_batch
        self._changed = threading.Condition()
        self._waiting: list[_Call] = []
        self._n_running = 0

    @property
    def embedder_id(self) -> str:
        """The id of the embedder that runs."""
        return self._embedder.embedder_id

    @property
    def dim(self) -> int:
        """Length of its vectors."""
        return self._embedder.dim

    @property
    def alignment(self) -> Alignment:
        """The crop it wants."""
        return self._embedder.alignment

    def embed(self, crops: Sequence[FaceCrop]) -> tuple[Template, ...]:
        """Return one template a crop, in order; see ``Embedder``.

        Raises:
            InputError: A crop of this caller has another size than ``alignment.crop_px``; nobody else's call fails for it.
            ModelError: The network failed or returned no direction.
        """
        if not crops:
            return ()
        call = _Call(tuple(crops))
        with self._changed:
            self._waiting.append(call)
            while not call.is_done and (call not in self._waiting or not self._may_run(call)):
                self._changed.wait(None if call not in self._waiting else PATIENCE_S)
            if not call.is_done:
                self._n_running += 1
                taken = self._taken(call)
        if not call.is_done:
            self._run(taken)
        return call.result()

    def changed(self) -> None:
        """Have those that wait look whether they still need to."""
        with self._changed:
            if self._waiting:
                self._changed.notify_all()

    def _may_run(self, call: _Call) -> bool:
        """Whether a run with a waiting call may begin: the engine is free, and nobody worth waiting for is on the way."""
        if self._n_running >= self._n_runs:
            return False
        if time.monotonic() - call.came_at >= PATIENCE_S or not self._n_on_the_way():
            return True
        return sum(len(one.crops) for one in self._waiting) >= self._batch_limit

    def _taken(self, first: _Call) -> list[_Call]:
        """Take a run's calls from those that wait: one's own, then the longest waiting that fit."""
        taken, n_crops = [first], len(first.crops)
        self._waiting.remove(first)
        for one in tuple(self._waiting):
            if n_crops + len(one.crops) > self._batch_limit:
                break
            taken.append(one)
            n_crops += len(one.crops)
            self._waiting.remove(one)
        return taken

    def _run(self, calls: Sequence[_Call]) -> None:
        """Run the crops of some calls and give each its own; where the shared run fails, each call fails or succeeds by itself."""
        try:
            templates = self._embedder.embed([crop for call in calls for crop in call.crops])
            start = 0
            for call in calls:
                call.templates, call.error = templates[start : start + len(call.crops)], None
                start += len(call.crops)
        except FaceSearchError as exc:
            self._run_alone(calls, exc)
        finally:
            with self._changed:
                for call in calls:
                    call.is_done = True
                self._n_running -= 1
                self._changed.notify_all()
        self._on_batch(sum(len(call.crops) for call in calls), len(calls))

    def _run_alone(self, calls: Sequence[_Call], shared: FaceSearchError) -> None:
        for call in calls:
            try:
                call.templates = self._embedder.embed(call.crops) if len(calls) > 1 else ()
                call.error = None if len(calls) > 1 else shared
            except FaceSearchError as exc:
                call.error = exc


class _Call:
    """The crops of one caller and what became of them."""

    __slots__ = ("came_at", "crops", "error", "is_done", "templates")

    def __init__(self, crops: tuple[FaceCrop, ...]) -> None:
        self.crops = crops
        self.came_at = time.monotonic()
        self.templates: tuple[Template, ...] = ()
        # Stands until the run ends well: its thread may die of something that is no error of the house.
        self.error: FaceSearchError | None = ModelError("the run of the network that these faces were in did not end")
        self.is_done = False

    def result(self) -> tuple[Template, ...]:
        """Return the templates, or raise what this call failed of."""
        if self.error is not None:
            raise self.error
        return self.templates
