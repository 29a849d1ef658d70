"""What the size of a gallery does to the chance that a stranger comes back as somebody, by counting.

It fits no tail and assumes no independence: rates are means over all galleries of a size that can be drawn from the people at hand,
so it answers for sizes up to their number only.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError
from facesearch.evaluation.histogram import ROUNDING
from facesearch.evaluation.searches import person_weights


@dataclass(frozen=True, slots=True)
class GallerySizeThreshold:
    """The threshold that keeps an FPIR in galleries of one size.

    Attributes:
        n_people: Enrolled people in a gallery.
        fpir: The rate asked for.
        threshold: The smallest that keeps it in the mean over all galleries of that size.
        expected_fpir: The mean rate at it, strangers weighing the same; at most ``fpir``.
        n_probes: Searches of strangers behind it.
        n_strangers: The people they show.
        n_available: People that galleries were drawn from.
    """

    n_people: int
    fpir: float
    threshold: float
    expected_fpir: float
    n_probes: int
    n_strangers: int
    n_available: int

    @property
    def expected_false(self) -> float:
        """False positives expected among the probes of one gallery of this size, were every probe to weigh the same."""
        return self.expected_fpir * self.n_probes


def best_place_chances(n_available: int, n_people: int) -> NDArray[np.float64]:
    """Return the chance that the best of a random gallery is the ``j``-th best of all, float64 ``(n_available - n_people + 1,)``.

    Of ``G`` people ``N`` are drawn without replacement; the best drawn is number ``j`` (from 0) in C(G - 1 - j, N - 1) of C(G, N)
    draws.

    Raises:
        InputError: The gallery is empty, or larger than the people at hand.
    """
    if not 1 <= n_people <= n_available:
        raise InputError(f"a gallery of {n_people} people cannot be drawn from {n_available}")
    chances = np.empty(n_available - n_people + 1, dtype=np.float64)
    chances[0] = n_people / n_available
    for place in range(1, chances.size):
        chances[place] = chances[place - 1] * (n_available - place - n_people + 1) / (n_available - place)
    return chances


def expected_fpir(person_scores: ArrayLike, threshold: float, n_people: int, *, stranger_ids: ArrayLike | None = None) -> float:
    """Return the mean FPIR at a threshold over all galleries of a size.

    Args:
        person_scores: ``(S, G)``, best score of each stranger's probe with each person who may be enrolled; a row of NaN is a
            failure to acquire, which matches nobody and stays in the denominator.
        threshold: A match is ``score >= threshold``.
        n_people: People in a gallery, 1 to ``G``.
        stranger_ids: Who is on each probe, ``(S,)``; every stranger weighs the same. One probe a stranger where left out.

    Raises:
        InputError: Shapes that do not fit, NaN in part of a row, or a size out of range.
    """
    scores, weights = _checked(person_scores, stranger_ids)
    chances = best_place_chances(scores.shape[1], n_people)
    # With k people at or above the threshold, a gallery holds one of them unless its best is none of the first k places.
    caught = np.append(0.0, np.cumsum(chances))
    n_above = np.minimum((scores >= threshold).sum(axis=1), chances.size)  # NaN compares as False
    return min(1.0, float(weights @ np.minimum(caught[n_above], 1.0)))


def gallery_size_thresholds(
    person_scores: ArrayLike, sizes: Sequence[int], fpir: float, *, stranger_ids: ArrayLike | None = None
) -> tuple[GallerySizeThreshold, ...]:
    """Return, for each size of gallery, the smallest threshold whose mean FPIR over all such galleries keeps a rate.

    The mean over galleries is exact, without drawing any: see ``best_place_chances``. Where all strangers may pass, the threshold
    is the lowest score that can be the best of a gallery.

    Args:
        person_scores: As for ``expected_fpir``.
        sizes: People in a gallery, each 1 to ``G``.
        fpir: Rate to keep, in (0, 1].
        stranger_ids: As for ``expected_fpir``.

    Raises:
        InputError: As ``expected_fpir``, or ``fpir`` is out of range.
    """
    fpir = checked_rate(fpir, what="FPIR")
    scores, weights = _checked(person_scores, stranger_ids)
    acquired = ~np.isnan(scores[:, 0])
    falling = -np.sort(-scores[acquired], axis=1)
    n_strangers = scores.shape[0] if stranger_ids is None else int(np.unique(np.asarray(stranger_ids)).size)
    found = []
    for size in sizes:
        chances = best_place_chances(scores.shape[1], size)
        threshold, kept = _weighted_cut(falling[:, : chances.size], np.multiply.outer(weights[acquired], chances), fpir)
        found.append(GallerySizeThreshold(size, fpir, threshold, kept, scores.shape[0], n_strangers, scores.shape[1]))
    return tuple(found)


def _weighted_cut(values: NDArray[np.float64], weights: NDArray[np.float64], share: float) -> tuple[float, float]:
    """Return the smallest threshold that at most a share of the weight reaches, and the weight that does."""
    flat, heavy = values.ravel(), weights.ravel()
    if flat.size == 0:
        return -1.0, 0.0
    order = np.argsort(-flat, kind="stable")
    flat, above = flat[order], np.cumsum(heavy[order])
    if above[-1] <= share * (1.0 + ROUNDING):
        return float(flat[-1]), float(min(1.0, above[-1]))
    # The score that makes it too many, and whatever is tied with it, must stay below the threshold.
    refused = float(flat[int(np.argmax(above > share * (1.0 + ROUNDING)))])
    n_kept = int(np.searchsorted(-flat, -refused, side="left"))
    return math.nextafter(refused, math.inf), float(above[n_kept - 1]) if n_kept else 0.0


def _checked(person_scores: ArrayLike, stranger_ids: ArrayLike | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the scores and the weight of each probe, weights adding up to 1."""
    scores = np.asarray(person_scores, dtype=np.float64)
    if scores.ndim != 2 or 0 in scores.shape:
        raise InputError(f"scores are (probes of strangers, people who may be enrolled), at least 1 × 1, not {scores.shape}")
    missing = np.isnan(scores)
    if bool((missing.any(axis=1) & ~missing.all(axis=1)).any()) or bool(np.isinf(scores).any()):
        raise InputError("a probe's scores are all finite, or all NaN where its face could not be acquired")
    if stranger_ids is None:
        return scores, np.full(scores.shape[0], 1.0 / scores.shape[0])
    weights = person_weights(stranger_ids, scores.shape[0])
    return scores, weights / weights.sum()
