"""95 % intervals of rates over shared photographs, or none where people are too few to be resampled.

The resampling itself is ``facesearch.evaluation.resampling``'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import AllPairs
from facesearch.evaluation.resampling import BootstrapInterval, PairSums, all_pairs_sums, bootstrap_intervals, person_sums
from facesearch.service.evaluation_data import KnownPeople

MAX_MATCHES = 3_000_000
"""False matches held at a time for an interval, some 60 bytes each; a rate of so many needs none."""

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class RateIntervals:
    """The intervals of both rates at one threshold; None where there is nothing to resample.

    Attributes:
        tar: Of the true acceptance rate.
        fmr: Of the share of false matches.
    """

    tar: Interval | None = None
    fmr: Interval | None = None

    @property
    def fnmr(self) -> Interval | None:
        """Of the share of false non-matches."""
        return None if self.tar is None else (1.0 - self.tar[1], 1.0 - self.tar[0])


def all_pairs_intervals(
    known: KnownPeople, pairs: AllPairs, thresholds: Sequence[float], *, left_out: Iterable[tuple[str, str]] = ()
) -> tuple[RateIntervals, ...]:
    """Return the intervals of person-weighted rates over all pairs at each threshold.

    Args:
        known: Photographs and their people.
        pairs: Their pairs, which say how many match.
        thresholds: One result each.
        left_out: Pairs of people that were not compared.
    """
    chosen = [place for place, cut in enumerate(thresholds) if pairs.non_mated.count_at_or_above(cut) <= MAX_MATCHES]
    results = [RateIntervals() for _ in thresholds]
    if not chosen:
        return tuple(results)
    try:
        mated, non_mated = all_pairs_sums(known.vectors, known.labels, [thresholds[place] for place in chosen], left_out=left_out)
    except InputError:
        return tuple(results)
    for place, tar, fmr in zip(chosen, _ends(mated), _ends(non_mated), strict=True):
        results[place] = RateIntervals(tar, fmr)
    return tuple(results)


def trial_intervals(outcomes: ArrayLike, person_a: ArrayLike, person_b: ArrayLike | None = None) -> tuple[Interval | None, ...]:
    """Return the interval of each column of outcomes, people being resampled.

    Args:
        outcomes: bool ``(N, T)``.
        person_a: Who is on the one side of each trial, ``(N,)``.
        person_b: Who is on the other; left out for trials of one person.
    """
    columns = np.asarray(outcomes, dtype=np.float64)
    try:
        return _ends(person_sums(columns, person_a, person_b))
    except InputError:
        return _none(columns)


def weighted_intervals(outcomes: ArrayLike, people: ArrayLike, weights: ArrayLike) -> tuple[Interval | None, ...]:
    """Return the interval of each column of weighted outcomes ``(N, T)`` of one person each."""
    columns = np.asarray(outcomes, dtype=np.float64)
    try:
        return _ends(person_sums(columns, people, weights=weights))
    except InputError:
        return _none(columns)


def _ends(sums: PairSums) -> tuple[Interval | None, ...]:
    try:
        return tuple(_range(one) for one in bootstrap_intervals(sums))
    except InputError:
        return _none(sums.hits)


def _none(columns: NDArray[np.float64]) -> tuple[None, ...]:
    return tuple(None for _ in columns[0]) if len(columns) else ()


def _range(interval: BootstrapInterval) -> Interval:
    # Sums of weights may leave the range by a rounding.
    return (max(0.0, interval.lower), min(1.0, interval.upper))
