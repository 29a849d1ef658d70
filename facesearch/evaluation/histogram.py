"""Scores counted into fine bins: the error rates of any number of comparisons in bounded memory.

It keeps no score and no pair: which comparisons are counted, and with what weight, is for ``all_pairs`` to say.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError

DEFAULT_BITS = 16
"""Bins as a power of two: 2**16 bins of 3.05e-5. Where an FMR falls tenfold in 0.05 of score, one bin is 0.14 % of the FMR."""

SCORE_TOLERANCE = 2.5e-3
"""How far a score may lie outside [-1, 1]: two templates whose norms are each 1e-3 off, and rounding."""

ROUNDING = 1e-12
"""Relative slack where a share meets the rate asked for: 3/3000 is 0.001 although the floats may differ in the last digit."""


class ScoreHistogram:
    """Counts and weights of scores in bins of equal width over [-1, 1].

    Bin ``k`` holds the scores in ``[edge(k), edge(k + 1))`` and the last one those of 1. Edges are exact binary fractions and a
    score's bin is found without rounding, so what is counted at or above an edge is exact; only thresholds are coarse: the one
    ``threshold_for`` returns is at most one bin (``width``) above the smallest that would do. Memory: 16 bytes a bin.

    Failures to acquire have no score and match at no threshold, yet stay in every denominator: ``add_failures``.

    Args:
        bits: The bins are ``2**bits``, 1 to 22.

    Raises:
        InputError: ``bits`` is out of range.
    """

    __slots__ = ("_half", "bits", "counts", "failure_weight", "n_failures", "weights")

    def __init__(self, bits: int = DEFAULT_BITS) -> None:
        if not 1 <= bits <= 22:
            raise InputError(f"a histogram has 2**1 to 2**22 bins, not 2**{bits}")
        self.bits = bits
        self._half: int = 1 << (bits - 1)
        self.counts: NDArray[np.int64] = np.zeros(2 * self._half + 1, dtype=np.int64)
        self.weights: NDArray[np.float64] = np.zeros(2 * self._half + 1, dtype=np.float64)
        self.n_failures = 0
        self.failure_weight = 0.0

    @property
    def width(self) -> float:
        """Width of a bin."""
        return 1.0 / self._half

    @property
    def edges(self) -> NDArray[np.float64]:
        """Lower ends of the bins, float64 ``(2**bits + 1,)``, from -1 to 1."""
        return np.arange(-self._half, self._half + 1, dtype=np.float64) / self._half

    @property
    def total(self) -> int:
        """Comparisons counted, failures included."""
        return int(self.counts.sum()) + self.n_failures

    @property
    def total_weight(self) -> float:
        """Their weight, failures included."""
        return float(self.weights.sum()) + self.failure_weight

    def add(self, scores: ArrayLike, weights: ArrayLike | None = None) -> None:
        """Count scores.

        Args:
            scores: Finite, in [-1, 1] within ``SCORE_TOLERANCE``, any shape; none is allowed.
            weights: Of the same shape, finite and not negative; every score weighs 1 where left out.

        Raises:
            InputError: A score is NaN, infinite or out of range, or the weights do not fit; nothing was counted.
        """
        given = np.asarray(scores)
        if given.dtype not in (np.float32, np.float64):
            given = given.astype(np.float64)
        flat = given.ravel()
        if flat.size == 0:
            return
        low, high = float(flat.min()), float(flat.max())
        if not (low >= -1.0 - SCORE_TOLERANCE and high <= 1.0 + SCORE_TOLERANCE):
            raise InputError(f"scores are cosine similarities in [-1, 1] without NaN, these reach from {low} to {high}")
        heavy = None if weights is None else _checked_weights(weights, given.shape)
        bins = self._bins(flat, is_inside=low >= -1.0 and high <= 1.0)
        counted = np.bincount(bins, minlength=self.counts.size)
        self.counts += counted
        self.weights += counted if heavy is None else np.bincount(bins, weights=heavy, minlength=self.counts.size)

    def _bins(self, flat: NDArray[Any], *, is_inside: bool) -> NDArray[np.int64]:
        """Return the bin of each score; scaling by a power of two and rounding down are exact in float32 as well."""
        scaled = flat * flat.dtype.type(self._half)
        np.floor(scaled, out=scaled)
        if not is_inside:
            np.clip(scaled, -self._half, self._half, out=scaled)
        bins: NDArray[np.int64] = scaled.astype(np.int64)
        bins += self._half
        return bins

    def add_failures(self, count: int, weight: float | None = None) -> None:
        """Count comparisons that have no score because a face could not be acquired.

        Raises:
            InputError: A negative count or weight.
        """
        heavy = float(count) if weight is None else float(weight)
        if count < 0 or not heavy >= 0.0:
            raise InputError(f"failures are counted from 0, not {count} of weight {heavy}")
        self.n_failures += count
        self.failure_weight += heavy

    def merge(self, other: ScoreHistogram) -> None:
        """Count everything that another histogram holds.

        Raises:
            InputError: It has another number of bins.
        """
        if other.bits != self.bits:
            raise InputError(f"histograms of 2**{self.bits} and 2**{other.bits} bins cannot be merged")
        self.counts += other.counts
        self.weights += other.weights
        self.n_failures += other.n_failures
        self.failure_weight += other.failure_weight

    def _first_bin(self, threshold: float) -> int:
        """Return the first bin that lies wholly at or above a threshold."""
        if math.isnan(threshold):
            raise InputError("a threshold is a number, not NaN")
        inside = min(max(threshold, -2.0), 2.0)  # infinity is a threshold, but no whole number
        return min(max(math.ceil(inside * self._half) + self._half, 0), self.counts.size)

    def count_at_or_above(self, threshold: float) -> int:
        """Return how many comparisons score at least a threshold; exact where it is an edge, else the next edge above is meant.

        Raises:
            InputError: NaN.
        """
        return int(self.counts[self._first_bin(threshold) :].sum())

    def share_at_or_above(self, threshold: float, *, weighted: bool = True) -> float:
        """Return the share of the weight (or of the comparisons) that scores at least a threshold, as ``count_at_or_above``.

        Raises:
            InputError: NaN, or nothing was counted.
        """
        # Off the same running sum as all the others: sums of their own would differ in the last digit, and shares could rise.
        return float(self.shares(weighted=weighted)[self._first_bin(threshold)])

    def shares(self, *, weighted: bool = True) -> NDArray[np.float64]:
        """Return the share at or above every edge and above the last, float64 ``(2**bits + 2,)``, never rising, 0 at the end.

        Raises:
            InputError: Nothing was counted.
        """
        total = self._total(weighted=weighted)
        held = (self.weights if weighted else self.counts).astype(np.float64)
        above: NDArray[np.float64] = np.append(np.cumsum(held[::-1])[::-1] / total, 0.0)
        return np.minimum(above, 1.0)  # rounding in sums of millions of weights may leave 1 + 1e-16

    def threshold_for(self, rate: float, *, weighted: bool = True) -> float:
        """Return the smallest edge that at most a share of the comparisons reaches: never one that lets more pass.

        Args:
            rate: Share allowed at or above the threshold, in (0, 1].
            weighted: Whether shares are of the weight or of the number of comparisons.

        Returns:
            In [-1, 1], or one bin above 1 where more than the share score 1 (copies of a photograph).

        Raises:
            InputError: ``rate`` is out of range, or nothing was counted.
        """
        rate = checked_rate(rate, what="a rate")
        first = int(np.argmax(self.shares(weighted=weighted) <= rate * (1.0 + ROUNDING)))
        # Not the next float above 1: compared with a score in float32, it would be 1 again.
        return (first - self._half) / self._half

    def threshold_of_nth(self, n: int) -> float | None:
        """Return the highest edge that at least ``n`` comparisons reach, or None where there are fewer scores."""
        above = np.cumsum(self.counts[::-1])
        if n < 1 or int(above[-1]) < n:
            return None
        place = self.counts.size - 1 - int(np.argmax(above >= n))
        return (place - self._half) / self._half

    def _total(self, *, weighted: bool) -> float:
        """Return the denominator, which must not be 0."""
        total = self.total_weight if weighted else float(self.total)
        if total <= 0.0:
            raise InputError("no comparison was counted: there is no rate")
        return total


def _checked_weights(weights: ArrayLike, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Return weights as one row after checking that there is one a score."""
    heavy = np.asarray(weights, dtype=np.float64)
    if heavy.shape != shape:
        raise InputError(f"one weight a score is needed: {shape}, not {heavy.shape}")
    if not (float(heavy.min()) >= 0.0 and math.isfinite(float(heavy.max()))):
        raise InputError("weights are finite and not negative")
    return heavy.ravel()
