"""Search of a gallery by fused templates: one score a person, from all of the person's photographs.

The index still knows single templates: it proposes people, and their fused templates rank them. It decides nothing.
"""

from __future__ import annotations

from collections.abc import Collection as Ids
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.decision import Neighbour
from facesearch.core.fusion import Fusion, fused_vector, fused_vectors, quality_weight
from facesearch.core.protocols import GalleryIndex, StoreReader
from facesearch.core.template import Template

FETCHED_PER_WANTED = 8
"""People fetched from the index for each candidate wanted, at first."""

FETCHED_MIN = 64
"""People fetched at first, however few candidates are wanted."""

FETCHED_GROWTH = 4
"""Factor by which more people are fetched where somebody further down might still come first."""

NORM_FLOOR = 0.7
"""Assumed length of the mean of a person's templates, at least: two photographs whose score is -0.02 have one of 0.7.

The score against a fused template is the mean of the single scores over this length, so it is at most the best single score divided
by it. Whoever's best single score is so low that this bound stays below the first candidate's score cannot be the first candidate.
"""


class FusedSearch:
    """Ranks people by the score of their fused templates.

    The first candidate is the right one, as far as the index finds single templates and their means have a length of ``NORM_FLOOR``
    or more: people are fetched until nobody left out could come before it. The candidates after it come from the people fetched.

    Args:
        fusion: ``MEAN`` or ``QUALITY``; the latter reads every fetched person's faces from the store, which takes longer.
    """

    def __init__(self, fusion: Fusion) -> None:
        self._fusion = fusion

    def search_many(
        self, reader: StoreReader, index: GalleryIndex, probes: Sequence[Template], k: int, *, among: Ids[int] | None = None
    ) -> tuple[tuple[Neighbour, ...], ...]:
        """Return the ``k`` people most similar to each probe by fused score; each with the best of their single templates.

        Args:
            reader: The transaction of the search.
            index: The collection's index.
            probes: Templates of the index's embedder.
            k: Number of people wanted, at least 1.
            among: Only these identity ids; None for all.
        """
        found: dict[int, tuple[Neighbour, ...]] = {}
        n_fetched = max(FETCHED_MIN, FETCHED_PER_WANTED * k)
        while len(found) < len(probes):
            waiting = [number for number in range(len(probes)) if number not in found]
            rows = index.search_many([probes[number] for number in waiting], n_fetched, among=among)
            fused = self._fused(reader, index, sorted({near.identity_id for row in rows for near in row}))
            for number, row in zip(waiting, rows, strict=True):
                ranked = _ranked(probes[number], row, *fused)
                if len(row) < n_fetched or _bound(row[-1].score) <= ranked[0].score:
                    found[number] = ranked[:k]
            n_fetched *= FETCHED_GROWTH
        return tuple(found[number] for number in range(len(probes)))

    def _fused(self, reader: StoreReader, index: GalleryIndex, identity_ids: Sequence[int]) -> tuple[NDArray[np.int64], Vectors]:
        """Return the ids of people, ascending, and their fused vectors, in rows; people without templates are left out."""
        if self._fusion is Fusion.MEAN:
            batch = index.templates_of(identity_ids)
            return fused_vectors(batch.identity_ids, batch.vectors)
        people, rows = [], []
        for identity_id in identity_ids:
            own = [one for one in reader.templates_of(identity_id) if one.template.embedder_id == index.embedder_id]
            if own:
                weights = [quality_weight(one.provenance.detection) for one in own]
                people.append(identity_id)
                rows.append(fused_vector(np.stack([one.template.vector for one in own]), weights))
        stacked = np.stack(rows) if rows else np.zeros((0, index.dim), dtype=np.float32)
        return np.array(people, dtype=np.int64), stacked


def _bound(best_single: float) -> float:
    """Return the highest fused score of a person whose best single score is at most this."""
    return best_single / NORM_FLOOR if best_single > 0 else best_single


def _ranked(probe: Template, row: Sequence[Neighbour], people: NDArray[np.int64], vectors: Vectors) -> tuple[Neighbour, ...]:
    """Return the neighbours by fused score; one whose person has vanished since keeps the score of the single template."""
    wanted = np.array([near.identity_id for near in row], dtype=np.int64)
    places = np.minimum(np.searchsorted(people, wanted), max(0, len(people) - 1))
    is_there = people[places] == wanted if len(people) else np.zeros(len(row), dtype=bool)
    scores = np.array([near.score for near in row])
    fused = np.einsum("ij,j->i", vectors[places[is_there]].astype(np.float64), probe.vector.astype(np.float64))
    scores[is_there] = np.clip(fused, -1.0, 1.0)
    rescored = [Neighbour(near.template_id, near.identity_id, score) for near, score in zip(row, scores.tolist(), strict=True)]
    return tuple(sorted(rescored, key=lambda near: (-near.score, near.template_id)))
