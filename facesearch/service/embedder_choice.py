"""Which embedder's objects answer for a collection: those of the settings, or those of the embedder it was moved to.

Asked at every call, in the database, so that every process follows a switch at once. It moves nothing: see ``migrate``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from facesearch.core.embedder_use import EmbedderUse, NamedEmbedder
from facesearch.core.protocols import IdentityStore, StoreReader

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Answering(Generic[T]):
    """What answers for a collection at a moment.

    Attributes:
        current: Of the embedder that the collection is searched with.
        former: Of the one it was searched with before, where some people are searchable with it only; else None.
        left_behind: The ids of these people.
    """

    current: T
    former: T | None = None
    left_behind: frozenset[int] = frozenset()


class EmbedderChoice(Generic[T]):
    """Objects by embedder, each made when a collection first needs it. Thread-safe.

    Args:
        store: Where collections say which embedder they are searched with.
        own_id: The embedder of the settings, which every collection that does not say is searched with.
        own: Returns its objects.
        make: Makes those of another one; raises where it cannot be had, or has other weights than the collection's.
    """

    def __init__(self, store: IdentityStore, own_id: str, own: Callable[[], T], make: Callable[[NamedEmbedder], T]) -> None:
        self._store = store
        self._own_id = own_id
        self._own = own
        self._make = make
        self._made: dict[str, T] = {}
        self._left: dict[str, tuple[int, str, str, frozenset[int]]] = {}
        self._lock = threading.Lock()

    def named(self, embedder: NamedEmbedder) -> T:
        """Return the objects of an embedder."""
        if embedder.embedder_id == self._own_id:
            return self._own()
        with self._lock:
            if embedder.embedder_id not in self._made:
                self._made[embedder.embedder_id] = self._make(embedder)
            return self._made[embedder.embedder_id]

    def made(self) -> tuple[T, ...]:
        """Return the objects of every other embedder that was needed so far."""
        with self._lock:
            return tuple(self._made.values())

    def current(self, collection: str) -> T:
        """Return what a collection is searched with; that of the settings where there is no such collection."""
        with self._store.reading() as reader:
            use = reader.embedder_use(collection)
        return self._own() if use is None else self.named(use.current)

    def answering(self, collection: str) -> Answering[T]:
        """Return what a collection is searched with, and what those of its people need who were left behind.

        Who was left behind is worked out again only after the collection changed; that reads every template of the former embedder.
        """
        with self._store.reading() as reader:
            use = reader.embedder_use(collection)
            if use is None:
                return Answering(self._own())
            left = (
                frozenset[int]() if use.is_copying or use.other is None else self._left_behind(reader, collection, use, use.other)
            )
        former = self.named(use.other) if use.other is not None and left else None
        return Answering(self.named(use.current), former, left)

    def _left_behind(self, reader: StoreReader, name: str, use: EmbedderUse, former: NamedEmbedder) -> frozenset[int]:
        collection = reader.collection(name)
        state = (collection.revision, use.current.embedder_id, former.embedder_id)
        with self._lock:
            known = self._left.get(collection.uid)
        if known is not None and known[:3] == state:
            return known[3]
        left = reader.people_without(name, use.current.embedder_id, having=former.embedder_id)
        with self._lock:
            self._left[collection.uid] = (*state, left)
        return left
