"""Every photograph of one set with every photograph of another set of the same people: spoilt probes against sound ones.

Memory is bounded by a block of probes. Pairs within one set are ``all_pairs``'s.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.intervals import WeightedRate

PROBE_BLOCK = 256
"""Probes compared at once: 256 × 13,233 scores and weights take 40 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class CrossPairs:
    """Scores of all probes with all gallery photographs but their own.

    Among mated pairs every person weighs the same, among non-mated ones every pair of people. A probe or a gallery photograph
    without a template is a failure to acquire: its pairs match at no threshold and stay in every denominator.

    Attributes:
        mated: Scores of pairs of one person, a photograph with itself left out.
        non_mated: Scores of pairs of two people.
        n_mated_people: People with two or more photographs.
        n_person_pairs: Pairs of people, each counted once although either may be the probe.
        n_photographs: Photographs of either set.
        n_probe_failures: Probes without a template.
    """

    mated: ScoreHistogram
    non_mated: ScoreHistogram
    n_mated_people: int
    n_person_pairs: int
    n_photographs: int
    n_probe_failures: int

    def tar(self, threshold: float) -> WeightedRate:
        """Return the share of mated pairs at or above a threshold, every person weighing the same."""
        count = self.mated.count_at_or_above(threshold)
        return WeightedRate(self.mated.share_at_or_above(threshold), count, self.mated.total, self.n_mated_people)

    def false_matches(self, threshold: float) -> WeightedRate:
        """Return the share of non-mated pairs at or above a threshold, every pair of people weighing the same."""
        count = self.non_mated.count_at_or_above(threshold)
        share = self.non_mated.share_at_or_above(threshold)
        return WeightedRate(share, count, self.non_mated.total, self.n_person_pairs, "pairs of people")


def cross_pairs(probes: ArrayLike, gallery: ArrayLike, person_ids: ArrayLike, *, block: int = PROBE_BLOCK) -> CrossPairs:
    """Compare every probe with every gallery photograph except its own.

    Args:
        probes: float ``(N, D)``, unit norm; a row of NaN is a failure to acquire.
        gallery: float ``(N, D)``, the same photographs in the same order.
        person_ids: Who is on each photograph, ``(N,)``.
        block: Probes compared at once.

    Raises:
        InputError: The shapes differ, or there are no pairs of one kind.
    """
    one, other = np.asarray(probes, dtype=np.float32), np.asarray(gallery, dtype=np.float32)
    people, numbers, counts = np.unique(np.asarray(person_ids), return_inverse=True, return_counts=True)
    if one.ndim != 2 or one.shape != other.shape or numbers.shape != one.shape[:1]:
        raise InputError(f"probes and gallery hold the same photographs: {one.shape} and {other.shape} of {numbers.size} people's")
    n_mated = int((counts * (counts - 1)).sum())
    n_non_mated = numbers.size**2 - int((counts**2).sum())
    if n_mated == 0 or n_non_mated == 0:
        raise InputError(
            f"error rates need two people, and two photographs of one of them: {numbers.size} photographs of {people.size} people "
            f"give {n_mated} mated and {n_non_mated} non-mated pairs"
        )
    mated, non_mated = ScoreHistogram(), ScoreHistogram()
    usable = np.flatnonzero(~np.isnan(other[:, 0]))
    for start in range(0, len(one), block):
        rows = start + np.flatnonzero(~np.isnan(one[start : start + block, 0]))
        _add_block(one, other, (rows, usable), (numbers, counts), (mated, non_mated))
    n_people, n_mated_people = people.size, int((counts >= 2).sum())
    _add_failures(mated, n_mated, float(n_mated_people))
    _add_failures(non_mated, n_non_mated, float(n_people * (n_people - 1)))
    n_failures = int(np.isnan(one[:, 0]).sum())
    return CrossPairs(mated, non_mated, n_mated_people, n_people * (n_people - 1) // 2, len(one), n_failures)


def _add_block(
    probes: NDArray[np.float32],
    gallery: NDArray[np.float32],
    places: tuple[NDArray[np.int64], NDArray[np.int64]],
    people: tuple[NDArray[np.int64], NDArray[np.int64]],
    held: tuple[ScoreHistogram, ScoreHistogram],
) -> None:
    """Count the pairs of some probes with all usable gallery photographs."""
    (rows, columns), (numbers, counts), (mated, non_mated) = places, people, held
    scores = probes[rows] @ gallery[columns].T
    is_same = numbers[rows][:, None] == numbers[columns][None, :]
    weight = 1.0 / counts[numbers]
    weights = np.multiply.outer(weight[rows], weight[columns])
    non_mated.add(scores[~is_same], weights[~is_same])
    is_other = is_same & (rows[:, None] != columns[None, :])
    own = np.broadcast_to(counts[numbers[rows]][:, None], scores.shape)[is_other].astype(np.float64)
    mated.add(scores[is_other], 1.0 / (own * (own - 1.0)))


def _add_failures(held: ScoreHistogram, total: int, weight: float) -> None:
    """Add the comparisons that have no score: the difference from all there should be."""
    missing = total - held.total
    # Weights of many pairs add up to a whole number but for rounding, which must not pass for a failure.
    held.add_failures(missing, max(0.0, weight - held.total_weight) if missing else 0.0)
