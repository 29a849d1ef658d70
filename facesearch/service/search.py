"""Search of a collection by template: index, labels and revision brought together.

It returns candidates and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from facesearch.core.decision import Candidate
from facesearch.core.errors import GalleryStaleError, InputError
from facesearch.core.identity import checked_tags
from facesearch.core.protocols import IdentityStore
from facesearch.core.template import Template
from facesearch.service.gallery import GalleryIndexes, collection_or_none

MAX_K = 10_000
"""Most candidates one search returns."""

SEARCH_TRIES = 5
"""Searches begun anew because people vanished between search and label look-up before the gallery counts as stale."""


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        candidates: For each probe at most ``k`` candidates of different people, by falling score.
        n_templates: Templates that were searched.
    """

    candidates: tuple[tuple[Candidate, ...], ...]
    n_templates: int


def checked_k(k: object) -> int:
    """Return a number of candidates.

    Raises:
        InputError: Not a whole number from 1 to ``MAX_K``.
    """
    if not isinstance(k, int) or isinstance(k, bool) or not 1 <= k <= MAX_K:
        raise InputError(f"k must be a whole number from 1 to {MAX_K}, not {k!r}")
    return k


class GallerySearch:
    """Searches collections by template.

    Args:
        store: Where labels come from.
        indexes: Where neighbours come from.
        default_collection: May be missing: then nobody is enrolled yet and nothing is found.
    """

    def __init__(self, store: IdentityStore, indexes: GalleryIndexes, *, default_collection: str) -> None:
        self._store = store
        self._indexes = indexes
        self._default = default_collection

    def search(self, probes: Sequence[Template], k: int, *, collection: str, tags: Iterable[str] = ()) -> SearchResult:
        """Return the candidates of each probe.

        Args:
            probes: Templates of the gallery's embedder.
            k: Candidates wanted a probe.
            collection: Where to search.
            tags: Only people who carry all of these.

        Raises:
            UnknownCollectionError: There is no such collection.
            IncompatibleTemplatesError: The gallery was enrolled with another embedder.
            GalleryStaleError: People kept vanishing while it searched.
        """
        checked_k(k)
        wanted = checked_tags(tags)
        for _ in range(SEARCH_TRIES):
            found = self._search_once(probes, k, collection, wanted)
            if found is not None:
                return found
        raise GalleryStaleError(f"collection {collection!r} changed {SEARCH_TRIES} times while it was searched; try again")

    def _search_once(self, probes: Sequence[Template], k: int, name: str, tags: tuple[str, ...]) -> SearchResult | None:
        with self._store.reading() as reader:
            if collection_or_none(reader, name, default=self._default) is None:
                return SearchResult(tuple(() for _ in probes), 0)
            _, index = self._indexes.synced(reader, name)
            among = {person.identity_id for person in reader.identities(name, tags=tags)} if tags else None
            neighbours = index.search_many(probes, k, among=among)
            people = reader.identities_by_id({near.identity_id for row in neighbours for near in row})
            n_templates = index.count(among)
        if any(near.identity_id not in people for row in neighbours for near in row):
            return None  # another thread moved the index past this transaction's revision: look again
        rows = tuple(
            tuple(
                Candidate(rank, near.identity_id, people[near.identity_id].label, near.template_id, near.score)
                for rank, near in enumerate(row, start=1)
            )
            for row in neighbours
        )
        return SearchResult(rows, n_templates)
