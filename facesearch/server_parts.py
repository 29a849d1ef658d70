"""From settings to the objects of the service: the library's, made for many requests at once.

Faces of concurrent requests share runs of the embedder, and limits are the service's where they are lower. Nothing is opened or
loaded before it is needed or ``warm_up`` is called. The HTTP application itself is made in ``facesearch.api.server``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np

from facesearch.bootstrap import FaceSearch, Parts
from facesearch.core.arrays import array_digest
from facesearch.core.embedder_use import NamedEmbedder
from facesearch.core.image import Image
from facesearch.core.protocols import Embedder
from facesearch.embedding.embedder import NetworkEmbedder, create_embedder
from facesearch.server_settings import ServerSettings
from facesearch.service.detection_turns import DetectionTurns
from facesearch.service.embedder_watch import EmbedderWatch
from facesearch.service.facade import FaceSearchService
from facesearch.service.lazy import LazyDetector, LazyEmbedder
from facesearch.service.micro_batch import BatchingEmbedder
from facesearch.settings import Settings

WARM_UP_PX = 200
"""Side of the blank photograph that the detector is tried with."""

WARM_UP_CROPS = 16
"""Runs of so many faces at most are made ready beforehand."""


class ServerParts(Parts):
    """The objects of one process of the service.

    Args:
        settings: The library's settings.
        server: The service's.
        on_batch: Called after every run of the embedder with its number of faces and of requests; for metrics.
    """

    def __init__(
        self,
        settings: Settings,
        server: ServerSettings,
        *,
        on_batch: Callable[[int, int], None] = lambda n_crops, n_callers: None,
    ) -> None:
        super().__init__(_within(settings, server))
        self.server = server
        self._made_embedder: NetworkEmbedder
        self._on_batch = on_batch

    @cached_property
    def _lazy_embedder(self) -> LazyEmbedder:
        return LazyEmbedder(self._make_embedder, embedder_id=self.embedder_id, dim=self.card.dim, alignment=self.card.alignment)

    @cached_property
    def embedder(self) -> Embedder:
        """The embedder, whose runs concurrent requests share."""
        settings, turns = self.settings, self.detector
        batching = BatchingEmbedder(
            self._lazy_embedder,
            n_runs=settings.streams,
            batch_limit=settings.batch_size,
            n_on_the_way=lambda: turns.n_callers,
            on_batch=self._on_batch,
        )
        turns.tell(batching.changed)
        return batching

    @cached_property
    def detector(self) -> DetectionTurns:
        """The detector, whose callers take turns at the processors of this process."""
        return DetectionTurns(LazyDetector(self._make_detector), n_at_once=self.settings.streams)

    def _make_embedder(self) -> Embedder:
        settings = self.settings
        made = create_embedder(
            settings.embedder,
            self.engine,
            flip_average=settings.flip_average,
            batch_size=settings.batch_size,
            models_folder=self.models_folder,
        )
        made.warm_up((1,))  # what a first request needs; it may be waiting
        self._made_embedder = made
        return made

    def _with_settings(self, settings: Settings) -> Parts:
        return ServerParts(settings, self.server, on_batch=self._on_batch)

    @cached_property
    def faces(self) -> FaceSearch:
        """The library's front over these objects."""
        return _ServedFaceSearch(self)

    def warm_up(self) -> None:
        """Load the networks and run them once, so that the first request is answered as fast as all others.

        Raises:
            ModelError: A network cannot be loaded or run.
        """
        pixels = np.full((WARM_UP_PX, WARM_UP_PX, 3), 127, np.uint8)
        self.detector.detect(Image(pixels, array_digest(pixels)))
        self.warm_up_embedder()

    @cached_property
    def watch(self) -> EmbedderWatch:
        """What loads the embedders that collections are moved to beside the work; it has to be started."""
        return EmbedderWatch(self.store, self._warm_up_other, lambda embedder: self.embedders.named(embedder).indexes)

    def _warm_up_other(self, embedder: NamedEmbedder) -> None:
        found = self.embedders.named(embedder)
        if isinstance(found, ServerParts) and found is not self:  # its own is warmed up at the start
            found.warm_up_embedder()

    def warm_up_embedder(self) -> None:
        """Load the embedder's network and run it once for each size of run that requests make.

        Raises:
            ModelError: It cannot be loaded or run.
        """
        self._lazy_embedder.get()
        self._made_embedder.warm_up(range(2, min(WARM_UP_CROPS, self.settings.batch_size) + 1))


class _ServedFaceSearch(FaceSearch):
    """The library's front over objects that were made before."""

    def __init__(self, parts: ServerParts) -> None:
        self.settings = parts.settings
        self._parts = parts
        FaceSearchService.__init__(self, parts.services)


def _within(settings: Settings, server: ServerSettings) -> Settings:
    """Return settings with the service's limits where these are lower, and a run of the networks on each processor at once.

    Several processes share the processors: each that used all of them would only be in the others' way.
    """
    # Side by side, runs on a thread each take an eighth less of the processors than runs on all of them one after the other.
    own = server.processors
    shared = {} if server.workers == 1 or settings.threads is not None else {"threads": own}
    return settings.model_copy(
        update={
            **shared,
            "streams": settings.streams if "streams" in settings.model_fields_set else own,
            "max_image_bytes": min(settings.max_image_bytes, server.max_body_bytes),
            "max_image_pixels": min(settings.max_image_pixels, server.max_photo_pixels),
            "max_faces": server.max_faces if settings.max_faces is None else min(settings.max_faces, server.max_faces),
        }
    )
