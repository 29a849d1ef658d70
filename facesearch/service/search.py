"""Search of a collection by template: index, labels and revision brought together.

It returns candidates and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass

from facesearch.core.decision import Candidate, Neighbour
from facesearch.core.errors import GalleryStaleError, InputError
from facesearch.core.fusion import DEFAULT_FUSION, Fusion
from facesearch.core.identity import checked_tags
from facesearch.core.protocols import GalleryIndex, IdentityStore, StoreReader
from facesearch.core.template import Template
from facesearch.service.feedback import Objections, objections
from facesearch.service.fused_search import FusedSearch
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
        n_comparisons: Chances a stranger had, as the fusion rule counts them: see ``Fusion.n_comparisons``.
    """

    candidates: tuple[tuple[Candidate, ...], ...]
    n_templates: int
    n_comparisons: int


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
        fusion: How several templates of a person become one score.
    """

    def __init__(
        self, store: IdentityStore, indexes: GalleryIndexes, *, default_collection: str, fusion: Fusion = DEFAULT_FUSION
    ) -> None:
        self._store = store
        self._indexes = indexes
        self._default = default_collection
        self._fusion = fusion
        self._fused = None if fusion is Fusion.BEST else FusedSearch(fusion)

    @property
    def fusion(self) -> Fusion:
        """How several templates of a person become one score."""
        return self._fusion

    def objections(self, collection: str, embedder_id: str) -> Objections:
        """Return what people said against answers from a collection; nothing where there is no such collection."""
        with self._store.reading() as reader:
            return objections(reader, collection, embedder_id)

    def search(
        self,
        probes: Sequence[Template],
        k: int,
        *,
        collection: str,
        tags: Iterable[str] = (),
        people: frozenset[int] | None = None,
    ) -> SearchResult:
        """Return the candidates of each probe.

        Args:
            probes: Templates of the gallery's embedder.
            k: Candidates wanted a probe.
            collection: Where to search.
            tags: Only people who carry all of these.
            people: Only these identity ids; None for all.

        Raises:
            UnknownCollectionError: There is no such collection.
            IncompatibleTemplatesError: The gallery was enrolled with another embedder.
            GalleryStaleError: People kept vanishing while it searched.
        """
        checked_k(k)
        wanted = checked_tags(tags)
        for _ in range(SEARCH_TRIES):
            found = self._search_once(probes, k, collection, (wanted, people))
            if found is not None:
                return found
        raise GalleryStaleError(f"collection {collection!r} changed {SEARCH_TRIES} times while it was searched; try again")

    def _search_once(
        self, probes: Sequence[Template], k: int, name: str, only: tuple[tuple[str, ...], frozenset[int] | None]
    ) -> SearchResult | None:
        with self._store.reading() as reader:
            if collection_or_none(reader, name, default=self._default) is None:
                return SearchResult(tuple(() for _ in probes), 0, 0)
            _, index = self._indexes.synced(reader, name)
            among = _among(reader, name, *only)
            neighbours = self._neighbours(reader, index, probes, k, among)
            people = reader.identities_by_id({near.identity_id for row in neighbours for near in row})
            n_templates = index.count(among)
            n_comparisons = index.count(among, most_each=self._fusion.most_chances)
        if any(near.identity_id not in people for row in neighbours for near in row):
            return None  # another thread moved the index past this transaction's revision: look again
        rows = tuple(
            tuple(
                Candidate(rank, near.identity_id, people[near.identity_id].label, near.template_id, near.score)
                for rank, near in enumerate(row, start=1)
            )
            for row in neighbours
        )
        return SearchResult(rows, n_templates, n_comparisons)

    def _neighbours(
        self, reader: StoreReader, index: GalleryIndex, probes: Sequence[Template], k: int, among: Set[int] | None
    ) -> tuple[tuple[Neighbour, ...], ...]:
        if self._fused is None:
            return index.search_many(probes, k, among=among)
        return self._fused.search_many(reader, index, probes, k, among=among)


def _among(reader: StoreReader, name: str, tags: tuple[str, ...], people: frozenset[int] | None) -> Set[int] | None:
    """Return the ids of the people that are searched; None for all."""
    if not tags:
        return people
    tagged = {person.identity_id for person in reader.identities(name, tags=tags)}
    return tagged if people is None else tagged & people
