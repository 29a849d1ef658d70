"""Makes a process ready for the embedders that collections are moved to, before anybody asks for them.

A network takes seconds to load. Which collections are on their way is in the database, so every process sees a move begin, loads
the network beside its work, and after the switch opens the index at once. It decides nothing and moves nothing: see ``migrate``.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from facesearch.core.embedder_use import EmbedderUse, NamedEmbedder
from facesearch.core.errors import FaceSearchError
from facesearch.core.protocols import IdentityStore
from facesearch.service.gallery import GalleryIndexes

LOOK_S = 1.0
"""Seconds between two looks into the database: one query over a table of a row a moved collection."""

END_S = 10.0
"""Seconds that its end waits for a network that is being loaded."""

_log = logging.getLogger("facesearch")


class EmbedderWatch:
    """Looks which embedders collections use or are being made ready for.

    Args:
        store: Where collections say so.
        load: Loads an embedder's network and runs it once; told of each embedder once, and again where it failed and the collection
            changed.
        indexes_of: Returns the indexes of an embedder.
        look_s: Seconds between two looks.
    """

    def __init__(
        self,
        store: IdentityStore,
        load: Callable[[NamedEmbedder], None],
        indexes_of: Callable[[NamedEmbedder], GalleryIndexes],
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._store = store
        self._load = load
        self._indexes_of = indexes_of
        self._look_s = look_s
        self._known: dict[str, EmbedderUse] = {}
        self._loaded: set[str] = set()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="facesearch-embedders")

    def start(self) -> None:
        """Look from now on, on a thread of its own."""
        self._thread.start()

    def close(self) -> None:
        """Look no longer."""
        self._is_over.set()
        if self._thread.is_alive():
            self._thread.join(END_S)

    def look(self) -> None:
        """Make ready what changed since the last look; what fails is logged, and left to whoever needs it."""
        try:
            with self._store.reading() as reader:
                found = reader.embedder_uses()
        except FaceSearchError as exc:
            _log.debug("which embedders are in use cannot be read (%s)", exc.code)
            return
        changed = {name: use for name, use in found.items() if self._known.get(name) != use}
        self._known = found
        for name, use in changed.items():
            coming = use.other if use.is_copying else None
            for embedder in (use.current, coming):
                if embedder is not None and not self._is_over.is_set():
                    self._make_ready(embedder)
            if use.current.embedder_id in self._loaded and not self._is_over.is_set():
                self._open_index(name, use.current)

    def _make_ready(self, embedder: NamedEmbedder) -> None:
        if embedder.embedder_id in self._loaded:
            return
        try:
            self._load(embedder)
        except FaceSearchError as exc:
            _log.warning("a collection uses the embedder %s, which cannot be loaded here (%s)", embedder.embedder_id, exc.code)
            return
        self._loaded.add(embedder.embedder_id)
        _log.info("the embedder %s is ready", embedder.embedder_id)

    def _open_index(self, collection: str, embedder: NamedEmbedder) -> None:
        try:
            with self._store.reading() as reader:
                self._indexes_of(embedder).synced(reader, collection)
        except FaceSearchError as exc:  # deleted meanwhile, or what every search of it will say
            _log.debug("the index of a collection was not opened (%s)", exc.code)

    def _run(self) -> None:
        while not self._is_over.is_set():
            self.look()
            self._is_over.wait(self._look_s)
