"""How far the observed shares of a reliability diagram can be trusted: intervals by resampling people.

It measures no share: see ``calibration.reliability``, whose bins it completes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.calibration import Calibration
from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import AllPairs
from facesearch.evaluation.calibration import ReliabilityBin, reliability
from facesearch.evaluation.intervals import wilson_interval
from facesearch.evaluation.resampling import PairSums, all_pairs_sums, replicate_ends, replicated_rates

MAX_HELD = 3_000_000
"""Comparisons above the lowest bin held at a time, some 60 bytes each; with more, bins get no interval."""

Floats = NDArray[np.float64]


def reliability_intervals(
    calibration: Calibration, pairs: AllPairs, vectors: ArrayLike, person_ids: ArrayLike, *, n_bins: int = 10
) -> tuple[ReliabilityBin, ...]:
    """Return ``reliability`` with a 95 % interval of every observed share.

    Comparisons share people, so that Wilson's interval of the counts would be too narrow: people are drawn with replacement, and
    both kinds' shares in a bin follow them (see ``resampling``). Where a bin holds none of a kind, resampling has nothing to vary:
    the share of that kind may then reach Wilson's upper end for as many independent trials as there are people with two
    photographs, or disjoint pairs of people.

    Args:
        calibration: Whose probabilities, at its own prior.
        pairs: All pairs of the photographs, which should be of people it was not fitted on.
        vectors: Templates that ``pairs`` is of, ``(N, D)``.
        person_ids: Who is on each, ``(N,)``.
        n_bins: At least 1.

    Raises:
        InputError: Comparisons of one kind are missing.
        ValueError: ``n_bins`` is less than 1.
    """
    bins = reliability(calibration, pairs, n_bins=n_bins)
    cuts = bin_thresholds(calibration, pairs, n_bins)
    n_held = sum(held.count_at_or_above(float(cuts[1])) for held in (pairs.mated, pairs.non_mated)) if n_bins > 1 else 0
    if n_held > MAX_HELD:
        return bins
    try:
        mated, non_mated = all_pairs_sums(vectors, person_ids, cuts.tolist() if n_bins == 1 else cuts[1:].tolist())
        shares = [_bin_shares(replicated_rates(kind), n_bins) for kind in (mated, non_mated)]
    except InputError:
        return bins
    ends = _ends(shares, [_most(mated), _most(non_mated)], calibration.prior)
    places = [min(int(one.stated * n_bins), n_bins - 1) for one in bins]
    return tuple(_within(one, ends[place]) for one, place in zip(bins, places, strict=True))


def bin_thresholds(calibration: Calibration, pairs: AllPairs, n_bins: int) -> Floats:
    """Return the lowest score of each bin of equal width of probability, ``(n_bins,)``, on the edges of the histograms.

    The first is -1; a bin that no score reaches begins above 1.
    """
    edges = pairs.mated.edges
    middles = np.minimum(edges + pairs.mated.width / 2.0, 1.0)
    stated = np.array([calibration.probability(score) for score in middles])
    place = np.minimum((stated * n_bins).astype(np.int64), n_bins - 1)
    first = np.searchsorted(place, np.arange(n_bins), side="left")
    cuts: Floats = np.append(edges, 2.0)[first]
    cuts[0] = -1.0
    return cuts


def _bin_shares(at_or_above: Floats, n_bins: int) -> Floats:
    """Return each bin's share ``(R, n_bins)`` of a kind from the shares at or above the bins' lower ends but the first."""
    if n_bins == 1:
        return np.where(np.isnan(at_or_above), np.nan, 1.0)
    whole = np.where(np.isnan(at_or_above[:, :1]), np.nan, 1.0)
    steps = np.hstack([whole, at_or_above, np.zeros_like(whole)])
    shares: Floats = np.maximum(steps[:, :-1] - steps[:, 1:], 0.0)
    return shares


def _most(sums: PairSums) -> float:
    """Return what the share of a kind may be that no comparison of a bin shows."""
    n_units = np.unique(sums.one).size if sums.is_within else sums.n_people // 2
    return wilson_interval(0, int(n_units))[1]


def _ends(shares: Sequence[Floats], most: Sequence[float], prior: float) -> list[tuple[float, float] | None]:
    """Return the interval of the observed share of each bin, from the shares of mated and non-mated comparisons in it."""
    mated, non_mated = shares
    ends: list[tuple[float, float] | None] = []
    for place in range(mated.shape[1]):
        same, different = prior * mated[:, place], (1.0 - prior) * non_mated[:, place]
        with np.errstate(invalid="ignore", divide="ignore"):
            observed = same / (same + different)
        try:
            low, high = replicate_ends(observed[:, None])[:, 0].tolist()
        except InputError:
            ends.append(None)
            continue
        unseen = (prior * most[0], (1.0 - prior) * most[1])
        if not np.nanmax(same) > 0.0:
            high = unseen[0] / (unseen[0] + float(np.nanmean(different)))
        if not np.nanmax(different) > 0.0:
            low = float(np.nanmean(same)) / (float(np.nanmean(same)) + unseen[1])
        ends.append((low, high))
    return ends


def _within(one: ReliabilityBin, ends: tuple[float, float] | None) -> ReliabilityBin:
    # A percentile interval may leave the value out by a rounding.
    return one if ends is None else replace(one, interval=(min(ends[0], one.observed), max(ends[1], one.observed)))
