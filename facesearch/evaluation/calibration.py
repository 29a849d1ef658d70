"""What scores are worth as evidence: fitted log-likelihood ratios, their cost, and how reliable the probabilities are.

It compares no photographs: it is handed the counted scores of mated and non-mated comparisons, every person weighing the same, and
returns a ``facesearch.core.calibration.Calibration``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from facesearch.core.calibration import DEFAULT_PRIOR, Calibration, CalibrationMethod, checked_prior
from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import AllPairs
from facesearch.evaluation.evidence import MIN_FALSE, MIN_PERSON_PAIRS
from facesearch.evaluation.histogram import ScoreHistogram

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Comparisons whose stated probabilities are alike, and how often they were of the same person.

    Attributes:
        stated: Mean probability stated, in [0, 1].
        observed: Share of the same person, both kinds weighted to the calibration's prior.
        n_mated: Comparisons of the same person in the bin.
        n_non_mated: Comparisons of different people in the bin.
        interval: 95 % interval of ``observed``, or None where it was not measured; see ``reliability_intervals``.
    """

    stated: float
    observed: float
    n_mated: int
    n_non_mated: int
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class CalibrationCheck:
    """What a calibration's answers cost on comparisons it was not fitted on, in bits a comparison (Brümmer & du Preez 2006).

    Attributes:
        cllr: Of the calibrated log-likelihood ratios.
        min_cllr: Of the best monotone reading of these scores: what the embedder alone loses. Fitted on the checked comparisons.
        uncalibrated: Of the cosine taken for a log-likelihood ratio as it is.
        prior_only: Of an answer that never looks: 1.
        n_mated: Comparisons of the same person.
        n_non_mated: Comparisons of different people.
    """

    cllr: float
    min_cllr: float
    uncalibrated: float
    n_mated: int
    n_non_mated: int
    prior_only: float = 1.0

    def __str__(self) -> str:
        """Return the costs with their counts."""
        return (
            f"Cllr {self.cllr:.4f} (least possible {self.min_cllr:.4f}, uncalibrated {self.uncalibrated:.4f}, prior only 1) on "
            f"{self.n_mated:,} comparisons of the same person and {self.n_non_mated:,} of different people"
        )


def fit_calibration(
    pairs: AllPairs,
    *,
    method: CalibrationMethod = CalibrationMethod.LOGISTIC,
    prior: float = DEFAULT_PRIOR,
    embedder_id: str,
    data_digest: str,
    source: str,
) -> Calibration:
    """Fit log-likelihood ratios to all pairs of labelled photographs, every person weighing the same.

    Both kinds get the same total weight, so that the fitted log-odds are the log-likelihood ratio itself; the prior comes in only
    when a probability is asked for. Logistic: a straight line (Platt 1999). Isotonic: a rising staircase (pool adjacent violators,
    Zadrozny & Elkan 2002). What the counts cannot support is clamped away: see ``supported_llrs``.

    Args:
        pairs: Of people whose labels are right: a person under two names teaches that strangers score high.
        method: How.
        prior: Probability of "same person" in the use at hand, in (0, 1).
        embedder_id: The embedder of the scores.
        data_digest: SHA-256 of the photographs.
        source: The photographs in words.

    Raises:
        InputError: Comparisons of one kind are missing or too few to support any ratio, or the prior is out of range.
    """
    checked_prior(prior)
    clamp = supported_llrs(pairs)
    knots, llrs = (_logistic if method is CalibrationMethod.LOGISTIC else _isotonic)(pairs)
    return Calibration(
        embedder_id=embedder_id,
        method=method,
        knots=knots,
        llrs=llrs,
        prior=prior,
        clamp=clamp,
        n_mated=pairs.mated.total,
        n_non_mated=pairs.non_mated.total,
        n_people=pairs.n_people,
        data_digest=data_digest,
        source=source,
        created_at=datetime.now(UTC),
    )


def supported_llrs(pairs: AllPairs) -> tuple[float, float]:
    """Return the least and the greatest log-likelihood ratio that the counts support.

    A ratio of R for "same person" says that strangers reach such a score at most 1/R of the time, which takes evidence like an FMR
    of 1/R does: ``MIN_FALSE`` expected false matches and ``MIN_PERSON_PAIRS`` pairs of people. A ratio of 1/R against says the
    same of mated comparisons, of which the people count, since photographs of one person are no new evidence about others.

    Raises:
        InputError: One person, no person with two photographs, or so few that no ratio is supported.
    """
    n_mated, n_non_mated = int(pairs.mated.counts.sum()), int(pairs.non_mated.counts.sum())
    if n_mated == 0 or n_non_mated == 0:
        raise InputError(
            f"calibration needs comparisons of both kinds, not {n_mated} of the same person and {n_non_mated} of different people: "
            "give at least two people, and two photographs of several of them"
        )
    greatest = -math.log(max(MIN_FALSE / n_non_mated, MIN_PERSON_PAIRS / pairs.n_person_pairs))
    least = math.log(MIN_FALSE / pairs.n_mated_people)
    if least >= 0.0 or greatest <= 0.0:
        raise InputError(
            f"{pairs.n_mated_people} people with two photographs and {pairs.n_person_pairs} pairs of people support no statement: "
            f"more than {MIN_FALSE} and {MIN_PERSON_PAIRS} are needed",
            n_mated_people=pairs.n_mated_people,
            n_person_pairs=pairs.n_person_pairs,
        )
    return least, greatest


def cllr(pairs: AllPairs, llr: Callable[[Floats], Floats]) -> float:
    """Return the cost of log-likelihood ratios in bits a comparison, both kinds alike, every person weighing the same.

    ``½ · mean(log₂(1 + e^−llr))`` over mated plus the same of ``+llr`` over non-mated comparisons (Brümmer & du Preez 2006); 0 is
    perfect, 1 is what never looking costs. Failures to acquire have no score and are left out here, and here only.

    Args:
        pairs: The comparisons.
        llr: From scores ``(N,)`` to natural log-likelihood ratios ``(N,)``.

    Raises:
        InputError: Comparisons of one kind are missing.
    """
    costs = []
    for held, sign in ((pairs.mated, -1.0), (pairs.non_mated, 1.0)):
        scores, shares = _held(held)
        costs.append(float((shares * np.logaddexp(0.0, sign * llr(scores))).sum()) / math.log(2.0))
    return 0.5 * sum(costs)


def check_calibration(calibration: Calibration, pairs: AllPairs) -> CalibrationCheck:
    """Return what a calibration costs on comparisons, which should be of people it was not fitted on.

    Raises:
        InputError: Comparisons of one kind are missing.
    """
    best = _step(*_isotonic(pairs))
    return CalibrationCheck(
        cllr=cllr(pairs, lambda scores: np.array([calibration.log_likelihood_ratio(score) for score in scores])),
        min_cllr=cllr(pairs, best),
        uncalibrated=cllr(pairs, lambda scores: scores),
        n_mated=int(pairs.mated.counts.sum()),
        n_non_mated=int(pairs.non_mated.counts.sum()),
    )


def reliability(calibration: Calibration, pairs: AllPairs, *, n_bins: int = 10) -> tuple[ReliabilityBin, ...]:
    """Return stated against observed probabilities in bins of equal width; empty bins are left out.

    Args:
        calibration: Whose probabilities, at its own prior.
        pairs: Comparisons, which should be of people it was not fitted on.
        n_bins: At least 1.

    Raises:
        InputError: Comparisons of one kind are missing.
        ValueError: ``n_bins`` is less than 1.
    """
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, not {n_bins}")
    sums = np.zeros((2, 2, n_bins))  # kind; weight and weight x probability; bin
    counts = np.zeros((2, n_bins), dtype=np.int64)
    for kind, (held, share_of_kind) in enumerate(((pairs.mated, calibration.prior), (pairs.non_mated, 1.0 - calibration.prior))):
        scores, shares = _held(held)
        stated = np.array([calibration.probability(score) for score in scores])
        place = np.minimum((stated * n_bins).astype(np.int64), n_bins - 1)
        sums[kind, 0] = np.bincount(place, weights=share_of_kind * shares, minlength=n_bins)
        sums[kind, 1] = np.bincount(place, weights=share_of_kind * shares * stated, minlength=n_bins)
        counts[kind] = np.bincount(place, weights=held.counts[held.counts > 0], minlength=n_bins).round()
    weight = sums[:, 0].sum(axis=0)
    return tuple(
        ReliabilityBin(
            stated=float(sums[:, 1, place].sum() / weight[place]),
            observed=float(sums[0, 0, place] / weight[place]),
            n_mated=int(counts[0, place]),
            n_non_mated=int(counts[1, place]),
        )
        for place in np.flatnonzero(weight > 0)
    )


def _held(held: ScoreHistogram) -> tuple[Floats, Floats]:
    """Return the scores of the filled bins (their middles, within [-1, 1]) and their shares of the weight."""
    filled = held.counts > 0
    if not filled.any():
        raise InputError("comparisons of both kinds are needed: the same person's and different people's")
    weights = held.weights[filled]
    return np.minimum(held.edges[filled] + held.width / 2.0, 1.0), weights / weights.sum()


def _samples(pairs: AllPairs) -> tuple[Floats, NDArray[np.int64], Floats]:
    """Return scores, whether each is mated (0 or 1), and weights that add up to 1 for either kind."""
    (mated, mated_shares), (non_mated, non_mated_shares) = _held(pairs.mated), _held(pairs.non_mated)
    labels = np.repeat(np.array([1, 0]), [mated.size, non_mated.size])
    return np.concatenate((mated, non_mated)), labels, np.concatenate((mated_shares, non_mated_shares))


def _logistic(pairs: AllPairs) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the two ends of the straight line of log-odds over score."""
    from sklearn.linear_model import LogisticRegression

    scores, labels, weights = _samples(pairs)
    # The weights of the samples add up to as many as there are comparisons of the rarer kind, so that the fit's mild
    # regularisation (needed where no score is shared by both kinds, and the best line has no slope) weighs as little as it should.
    scale = min(int(pairs.mated.counts.sum()), int(pairs.non_mated.counts.sum()))
    fitted = LogisticRegression(C=100.0, max_iter=1000).fit(scores[:, None], labels, sample_weight=weights * scale)
    slope, intercept = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope <= 0.0:
        raise InputError("scores of the same person are no higher than those of different people: check the labels")
    return (-1.0, 1.0), (intercept - slope, intercept + slope)


def _isotonic(pairs: AllPairs) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the lower ends of a rising staircase's steps and the log-odds of each."""
    from sklearn.isotonic import IsotonicRegression

    scores, labels, weights = _samples(pairs)
    fitted = IsotonicRegression(y_min=0.0, y_max=1.0).fit(scores, labels, sample_weight=weights)
    levels = np.unique(scores)
    chance = fitted.predict(levels)
    first = np.flatnonzero(np.r_[True, np.diff(chance) > 0])
    # A step of one kind only says "infinitely sure": it is as sure as a share of one comparison in all of that kind.
    least = 0.5 / max(int(pairs.mated.counts.sum()), 1)
    most = 0.5 / max(int(pairs.non_mated.counts.sum()), 1)
    bounded = np.clip(chance[first], least / (1.0 + least), 1.0 / (1.0 + most))
    llrs = np.maximum.accumulate(np.log(bounded) - np.log1p(-bounded))
    return tuple(levels[first].tolist()), tuple(llrs.tolist())


def _step(knots: tuple[float, ...], llrs: tuple[float, ...]) -> Callable[[Floats], Floats]:
    """Return the staircase as a function of scores."""
    places, values = np.array(knots), np.array(llrs)
    return lambda scores: values[np.maximum(np.searchsorted(places, scores, side="right") - 1, 0)]
