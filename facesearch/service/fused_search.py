"""Search of a gallery by fused templates: one score a person, from all of the person's photographs.

The index still knows single templates: it proposes people, and their fused templates rank them. It decides nothing.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection as Ids
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from facesearch.core.decision import Neighbour
from facesearch.core.fusion import Fusion, fused_template
from facesearch.core.identity import Collection
from facesearch.core.protocols import GalleryIndex, StoreReader
from facesearch.core.template import Template

FETCHED_PER_WANTED = 8
"""People fetched from the index for each candidate wanted, at first."""

FETCHED_MIN = 64
"""People fetched at first, however few candidates are wanted."""

FETCHED_GROWTH = 4
"""Factor by which more people are fetched where somebody further down might still belong among the candidates."""

NORM_FLOOR = 0.7
"""Assumed length of the mean of a person's templates, at least: two photographs whose score is -0.02 have one of 0.7.

The score against a fused template is the mean of the single scores over this length, so it is at most the best single score divided
by it. Whoever's best single score is so low that this bound stays below the candidates found cannot be one of them.
"""

CACHED_PEOPLE = 200_000
"""Fused templates kept in memory, the least recently used dropped: 100 MB at 128 numbers each."""


@dataclass(slots=True)
class _Cached:
    """Fused templates of one collection at one revision, with the templates each was made of."""

    revision: int
    people: OrderedDict[int, tuple[Template, frozenset[int]]] = field(default_factory=OrderedDict)


class FusedTemplates:
    """The fused templates of people, made when first asked for and forgotten when a template of theirs changes. Thread-safe.

    Args:
        fusion: ``MEAN`` or ``QUALITY``.
    """

    def __init__(self, fusion: Fusion) -> None:
        self._fusion = fusion
        self._cached: dict[str, _Cached] = {}
        self._lock = threading.Lock()

    def clear(self) -> None:
        """Forget everything: somebody was erased."""
        with self._lock:
            self._cached.clear()

    def of(
        self, reader: StoreReader, collection: Collection, identity_ids: Iterable[int], *, embedder_id: str
    ) -> dict[int, Template]:
        """Return people's fused templates as the transaction sees them; who has no template of the embedder is left out."""
        with self._lock:
            cached = self._fresh(reader, collection, embedder_id)
            found = {}
            for identity_id in identity_ids:
                kept = cached.people.get(identity_id) or self._made(reader, identity_id, embedder_id)
                if kept is None:
                    continue
                cached.people[identity_id] = kept
                cached.people.move_to_end(identity_id)
                found[identity_id] = kept[0]
            while len(cached.people) > CACHED_PEOPLE:
                cached.people.popitem(last=False)
            return found

    def _made(self, reader: StoreReader, identity_id: int, embedder_id: str) -> tuple[Template, frozenset[int]] | None:
        own = [one for one in reader.templates_of(identity_id) if one.template.embedder_id == embedder_id]
        return (fused_template(own, self._fusion), frozenset(one.template_id for one in own)) if own else None

    def _fresh(self, reader: StoreReader, collection: Collection, embedder_id: str) -> _Cached:
        """Return what is cached of a collection, without whatever changed up to the transaction's revision."""
        cached = self._cached.get(collection.uid)
        if cached is not None and cached.revision == collection.revision:
            return cached
        changes = None
        if cached is not None and cached.revision < collection.revision:
            changes = reader.changes_since(collection.name, cached.revision)
        if cached is None or changes is None:
            cached = self._cached[collection.uid] = _Cached(collection.revision)
            return cached
        touched = {change.template_id for change in changes}
        owners = set(reader.template_batch(touched, embedder_id).identity_ids.tolist())
        for identity_id in [key for key, (_, made_of) in cached.people.items() if key in owners or not made_of.isdisjoint(touched)]:
            del cached.people[identity_id]
        cached.revision = collection.revision
        return cached


class FusedSearch:
    """Ranks people by the score of their fused templates.

    Nobody is lost whose templates have a mean of length ``NORM_FLOOR`` or more: people are fetched from the index until nobody left
    out could reach the candidates found.

    Args:
        fusion: ``MEAN`` or ``QUALITY``.
    """

    def __init__(self, fusion: Fusion) -> None:
        self.templates = FusedTemplates(fusion)

    def search_many(
        self,
        reader: StoreReader,
        place: tuple[Collection, GalleryIndex],
        probes: Sequence[Template],
        k: int,
        *,
        among: Ids[int] | None = None,
    ) -> tuple[tuple[Neighbour, ...], ...] | None:
        """Return the ``k`` people most similar to each probe by fused score; each with the best of their single templates.

        Args:
            reader: The transaction that ``place`` was taken in.
            place: The collection and its index.
            probes: Templates of the index's embedder.
            k: Number of people wanted, at least 1.
            among: Only these identity ids; None for all.

        Returns:
            None where the index is already ahead of the transaction and names people whom it does not see.
        """
        collection, index = place
        found: dict[int, tuple[Neighbour, ...]] = {}
        n_fetched = max(FETCHED_MIN, FETCHED_PER_WANTED * k)
        while len(found) < len(probes):
            open_probes = [number for number in range(len(probes)) if number not in found]
            rows = index.search_many([probes[number] for number in open_probes], n_fetched, among=among)
            wanted = {near.identity_id for row in rows for near in row}
            fused = self.templates.of(reader, collection, wanted, embedder_id=index.embedder_id)
            if len(fused) < len(wanted):
                return None
            for number, row in zip(open_probes, rows, strict=True):
                ranked = _ranked(probes[number], row, fused)[:k]
                if len(row) < n_fetched or _is_settled(row[-1].score, ranked, k):
                    found[number] = ranked
            n_fetched *= FETCHED_GROWTH
        return tuple(found[number] for number in range(len(probes)))


def _is_settled(last_fetched: float, ranked: Sequence[Neighbour], k: int) -> bool:
    """Return whether nobody below the last person fetched can reach the ``k``-th candidate."""
    bound = last_fetched / NORM_FLOOR if last_fetched > 0 else last_fetched
    return len(ranked) == k and bound <= ranked[-1].score


def _ranked(probe: Template, row: Sequence[Neighbour], fused: Mapping[int, Template]) -> tuple[Neighbour, ...]:
    if not row:
        return ()
    vectors = np.stack([fused[near.identity_id].vector for near in row]).astype(np.float64)
    scores = np.clip(np.einsum("ij,j->i", vectors, probe.vector.astype(np.float64)), -1.0, 1.0).tolist()
    rescored = [Neighbour(near.template_id, near.identity_id, score) for near, score in zip(row, scores, strict=True)]
    return tuple(sorted(rescored, key=lambda near: (-near.score, near.template_id)))
