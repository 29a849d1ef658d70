"""Searches with known truth: who was searched for, and what came back.

It decides nothing: error rates at thresholds are for ``one_to_many``. The search here is exact and by the best template of each
person; it stands in for no index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.arrays import freeze
from facesearch.core.errors import InputError
from facesearch.evaluation.trials import checked_flags, checked_scores

PROBE_BLOCK = 512
"""Probes compared at a time."""

STRANGER = -1
"""In place of a column: the person on the probe is not meant to be in the gallery."""

NOT_ENROLLED = -2
"""In place of a column: the person is meant to be, but none of the photographs could be enrolled; every search is a miss."""


@dataclass(frozen=True, slots=True, eq=False)
class SearchTrials:
    """Searches with known truth, by their best candidate.

    Attributes:
        top_scores: float64 ``(N,)``, score of the best candidate; NaN where the probe's face could not be acquired. Read-only.
        is_enrolled: bool ``(N,)``, True where the person searched for is in the gallery. Read-only.
        is_top_right: bool ``(N,)``, True where the best candidate is that person; never for people not enrolled. Read-only.
        people: int64 ``(N,)``, number of the person on each probe; every probe its own person where not said. Read-only.
        ranks: int64 ``(N,)``, rank of the right person among the candidates, from 1; 0 where not enrolled, not acquired or, beyond
            rank 1, not known. Read-only.
    """

    top_scores: NDArray[np.float64]
    is_enrolled: NDArray[np.bool_]
    is_top_right: NDArray[np.bool_]
    people: NDArray[np.int64]
    ranks: NDArray[np.int64]

    def __init__(
        self,
        top_scores: ArrayLike,
        is_enrolled: ArrayLike,
        is_top_right: ArrayLike,
        *,
        person_ids: ArrayLike | None = None,
        ranks: ArrayLike | None = None,
    ) -> None:
        scores = checked_scores(top_scores)
        object.__setattr__(self, "top_scores", scores)
        object.__setattr__(self, "is_enrolled", checked_flags(is_enrolled, scores.size, what="is_enrolled"))
        object.__setattr__(self, "is_top_right", checked_flags(is_top_right, scores.size, what="is_top_right"))
        if bool((self.is_top_right & ~self.is_enrolled).any()):
            raise InputError("a best candidate cannot be right for a person who is not enrolled")
        numbers = np.arange(scores.size) if person_ids is None else _numbered(person_ids, scores.size)
        object.__setattr__(self, "people", freeze(numbers.astype(np.int64)))
        enrolled = np.unique(self.people[self.is_enrolled])
        if np.intersect1d(enrolled, self.people[~self.is_enrolled]).size:
            raise InputError("a person is enrolled or not: some have probes of both kinds")
        known = self.is_top_right.astype(np.int64) if ranks is None else np.array(ranks)
        if known.shape != scores.shape or known.dtype.kind not in "iu" or bool((known < 0).any()):
            raise InputError(f"ranks holds one whole number from 0 a search: ({scores.size},), not {known.dtype} {known.shape}")
        if bool(((known == 1) != self.is_top_right).any()):
            raise InputError("rank 1 and a right best candidate are the same thing: ranks and is_top_right disagree")
        object.__setattr__(self, "ranks", freeze(known.astype(np.int64)))

    def __len__(self) -> int:
        """Return the number of searches."""
        return int(self.top_scores.size)

    @property
    def weights(self) -> NDArray[np.float64]:
        """1 over the number of probes of the person, float64 ``(N,)``: every person weighs 1."""
        return person_weights(self.people, len(self))


def person_weights(person_ids: ArrayLike, length: int) -> NDArray[np.float64]:
    """Return 1 over the number of times that each id occurs, float64 ``(N,)``: every person weighs 1.

    Raises:
        InputError: There is not one id a trial.
    """
    numbers = _numbered(person_ids, length)
    weights: NDArray[np.float64] = 1.0 / np.bincount(numbers)[numbers]
    return weights


def _numbered(person_ids: ArrayLike, length: int) -> NDArray[np.int64]:
    """Return ids as whole numbers from 0."""
    ids = np.asarray(person_ids)
    if ids.shape != (length,):
        raise InputError(f"one person id a trial is needed: ({length},), not {ids.shape}")
    _, numbers = np.unique(ids, return_inverse=True)
    return numbers.reshape(-1).astype(np.int64)


def person_scores(gallery: ArrayLike, gallery_ids: ArrayLike, probes: ArrayLike) -> tuple[NDArray[Any], NDArray[np.float32]]:
    """Return the best score of every probe with every person enrolled.

    Args:
        gallery: Templates, float ``(T, D)``, unit norm, without NaN.
        gallery_ids: Whose they are, ``(T,)``.
        probes: Templates, float ``(N, D)``; a row of NaN is a failure to acquire.

    Returns:
        The distinct ids ``(P,)``, sorted, and the scores float32 ``(N, P)``; rows of NaN for failures.

    Raises:
        InputError: Shapes that do not fit, an empty gallery, or NaN in it.
    """
    enrolled, ids = np.asarray(gallery, dtype=np.float32), np.asarray(gallery_ids)
    shown = np.asarray(probes, dtype=np.float32)
    if enrolled.ndim != 2 or ids.shape != enrolled.shape[:1] or shown.ndim != 2 or shown.shape[1] != enrolled.shape[1]:
        raise InputError(f"gallery {enrolled.shape}, its ids {ids.shape} and probes {shown.shape} do not fit")
    if enrolled.shape[0] == 0 or not np.isfinite(enrolled).all():
        raise InputError(f"a gallery holds at least one template and no NaN, this one has {enrolled.shape[0]} templates")
    order = np.argsort(ids, kind="stable")
    people, begins = np.unique(ids[order], return_index=True)
    columns = np.ascontiguousarray(enrolled[order].T)
    best = np.empty((shown.shape[0], people.size), dtype=np.float32)
    for at in range(0, shown.shape[0], PROBE_BLOCK):
        # A row of NaN stays one: a product of NaN is NaN, and so is its maximum.
        best[at : at + PROBE_BLOCK] = np.maximum.reduceat(shown[at : at + PROBE_BLOCK] @ columns, begins, axis=1)
    return people, best


def search_trials(gallery: ArrayLike, gallery_ids: ArrayLike, probes: ArrayLike, probe_ids: ArrayLike) -> SearchTrials:
    """Search a gallery for every probe, exactly, each person by the best of the person's templates.

    Args:
        gallery: As for ``person_scores``, but rows of NaN are allowed: photographs that could not be enrolled. A person without
            another stays one searched for, and every search for the person a miss.
        gallery_ids: As for ``person_scores``.
        probes: As for ``person_scores``.
        probe_ids: Who is on each probe, ``(N,)``; those in ``gallery_ids`` are enrolled, the others strangers.

    Raises:
        InputError: As ``person_scores``, or no probe.
    """
    templates, owners = np.asarray(gallery, dtype=np.float32), np.asarray(gallery_ids)
    if templates.ndim != 2 or owners.shape != templates.shape[:1]:
        raise InputError(f"one person id a template is needed: gallery {templates.shape}, its ids {owners.shape}")
    could = ~np.isnan(templates).all(axis=1)
    people, scores = person_scores(templates[could], owners[could], probes)
    ids = np.asarray(probe_ids)
    if ids.shape != scores.shape[:1]:
        raise InputError(f"one person id a probe is needed: ({scores.shape[0]},), not {ids.shape}")
    own = np.minimum(np.searchsorted(people, ids), people.size - 1)
    is_there = people[own] == ids
    is_meant = np.isin(ids, owners)
    return trials_of_scores(scores, np.where(is_there, own, np.where(is_meant, NOT_ENROLLED, STRANGER)), ids)


def trials_of_scores(scores: NDArray[Any], own: NDArray[Any], probe_ids: ArrayLike) -> SearchTrials:
    """Return the searches whose best scores by person are known.

    Args:
        scores: ``(N, P)``, one score a person enrolled, whatever rule made it of the person's templates; rows of NaN for failures.
        own: int ``(N,)``, column of the person on the probe; ``STRANGER`` or ``NOT_ENROLLED`` where there is none.
        probe_ids: Who is on each probe, ``(N,)``.

    Raises:
        InputError: Shapes that do not fit.
    """
    if scores.ndim != 2 or scores.shape[1] == 0 or own.shape != scores.shape[:1]:
        raise InputError(f"scores are (probes, people), with one column number a probe, not {scores.shape} and {own.shape}")
    is_enrolled = own != STRANGER
    mate = scores[np.arange(scores.shape[0]), np.maximum(own, 0)]
    # Of equal scores the person enrolled under the lower column comes first.
    before = (scores > mate[:, None]) | ((scores == mate[:, None]) & (np.arange(scores.shape[1])[None, :] < own[:, None]))
    ranks = np.where((own >= 0) & ~np.isnan(mate), 1 + before.sum(axis=1), 0)
    return SearchTrials(scores.max(axis=1), is_enrolled, ranks == 1, person_ids=probe_ids, ranks=ranks)
