"""What a score is worth as evidence, once somebody has measured it: log-likelihood ratio and probability of a 1:1 comparison.

It fits nothing: see ``facesearch.evaluation.calibration``. It holds for single comparisons only: the best of many scores is higher
than one score without being better evidence, so candidates of a search get neither figure.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from facesearch.core.errors import InputError

DEFAULT_PRIOR = 0.5
"""Prior probability of "same person" where none is stated: both as likely. A doorbell's is higher, a police search's far lower."""


class CalibrationMethod(StrEnum):
    """How the log-likelihood ratio follows from the score."""

    LOGISTIC = "logistic"
    ISOTONIC = "isotonic"


def checked_prior(prior: float) -> float:
    """Return a prior probability of "same person", in (0, 1).

    Raises:
        InputError: Not a number in that range.
    """
    value = float(prior)
    if not 0.0 < value < 1.0:
        raise InputError(f"a prior probability lies strictly between 0 and 1, not {value}")
    return value


@dataclass(frozen=True, slots=True)
class Calibration:
    """From the score of one comparison to its log-likelihood ratio, and with a prior to a probability.

    Attributes:
        embedder_id: The embedder whose scores it reads.
        method: How it was fitted.
        knots: Scores in [-1, 1], rising, at least one.
        llrs: Natural logarithm of the likelihood ratio at each knot, never falling. Between knots it is linear (``logistic``) or
            that of the knot at or below the score (``isotonic``, a step function); outside them that of the nearest.
        prior: Probability of "same person" before the score is seen, in (0, 1): a property of the use, not of the face.
        clamp: Least and greatest log-likelihood ratio that the counts support; no answer leaves them.
        n_mated: Comparisons of the same person behind it.
        n_non_mated: Comparisons of different people behind it.
        n_people: People behind it.
        data_digest: SHA-256 of what it was fitted on.
        source: What it was fitted on, in words.
        created_at: UTC.
    """

    embedder_id: str
    method: CalibrationMethod
    knots: tuple[float, ...]
    llrs: tuple[float, ...]
    prior: float
    clamp: tuple[float, float]
    n_mated: int
    n_non_mated: int
    n_people: int
    data_digest: str
    source: str
    created_at: datetime

    def __post_init__(self) -> None:
        """Check the ranges."""
        checked_prior(self.prior)
        if not self.knots or len(self.knots) != len(self.llrs):
            raise InputError(f"a calibration has one value a knot, not {len(self.llrs)} for {len(self.knots)}")
        if not all(math.isfinite(value) for value in (*self.knots, *self.llrs, *self.clamp)):
            raise InputError("a calibration's knots, values and clamp are finite numbers")
        if list(self.knots) != sorted(set(self.knots)) or list(self.llrs) != sorted(self.llrs):
            raise InputError("a calibration's knots rise and its log-likelihood ratios never fall")
        if self.clamp[0] > self.clamp[1]:
            raise InputError(f"the clamp's least value {self.clamp[0]} lies above its greatest {self.clamp[1]}")

    def unclamped(self, score: float) -> float:
        """Return the fitted log-likelihood ratio of a score, whether or not the counts support it."""
        if not -1.0 <= score <= 1.0:  # NaN too
            raise InputError(f"a score is a cosine similarity in [-1, 1], not {score}")
        place = bisect_right(self.knots, score)
        if place == 0:
            return self.llrs[0]
        if place == len(self.knots) or self.method is CalibrationMethod.ISOTONIC:
            return self.llrs[place - 1]
        low, high = self.knots[place - 1], self.knots[place]
        share = (score - low) / (high - low)
        return self.llrs[place - 1] + share * (self.llrs[place] - self.llrs[place - 1])

    def log_likelihood_ratio(self, score: float) -> float:
        """Return ``ln(P(score | same person) / P(score | different people))``, clamped.

        Raises:
            InputError: ``score`` is no cosine similarity.
        """
        return min(self.clamp[1], max(self.clamp[0], self.unclamped(score)))

    def is_clamped(self, score: float) -> bool:
        """Return whether the counts support less than what was fitted for this score."""
        return not self.clamp[0] <= self.unclamped(score) <= self.clamp[1]

    def probability(self, score: float, prior: float | None = None) -> float:
        """Return the probability of "same person" after the score was seen, in (0, 1) (Bayes).

        Args:
            score: Of one comparison.
            prior: Another prior than the stored one.
        """
        before = self.prior if prior is None else checked_prior(prior)
        return sigmoid(self.log_likelihood_ratio(score) + math.log(before / (1.0 - before)))


def sigmoid(log_odds: float) -> float:
    """Return the probability of log-odds, without overflow."""
    if log_odds >= 0:
        return 1.0 / (1.0 + math.exp(-log_odds))
    grown = math.exp(log_odds)
    return grown / (1.0 + grown)
