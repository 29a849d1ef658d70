"""Error rates over all pairs of a set of photographs, streamed in bounded memory.

It takes templates and says who is on them; it embeds nothing, and gives no interval: see ``resampling``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.evidence import MIN_PERSON_PAIRS, Evidence, RateBound, SupportedRate
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.evaluation.pair_tiles import DEFAULT_BLOCK, PairTiles, Tile

REPORTED_FMRS = (1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
"""FMRs reported; those that the evidence does not reach are answered with the bound."""

DEFAULT_WORST = 50
"""False matches and false non-matches kept to be shown."""


@dataclass(frozen=True, slots=True)
class ScoredPair:
    """Two photographs and their score.

    Attributes:
        score: Cosine similarity, in [-1, 1] within rounding.
        first: Row of the one photograph in the vectors handed over.
        second: Row of the other, greater than ``first``.
    """

    score: float
    first: int
    second: int


@dataclass(frozen=True, slots=True)
class AllPairsPoint:
    """Both error rates at a threshold.

    Attributes:
        fmr: The rate asked for, or None where a threshold was.
        threshold: A match is ``score >= threshold``; above 1 where only that keeps the rate.
        tar: Share of mated pairs that match.
        false_matches: Share of non-mated pairs that match.
        evidence: Behind the false matches.
    """

    fmr: float | None
    threshold: float
    tar: Rate | WeightedRate
    false_matches: Rate | WeightedRate
    evidence: Evidence

    @property
    def answer(self) -> SupportedRate | RateBound:
        """Whether the evidence reaches the rate asked for (or measured, where a threshold was), else the bound."""
        rate = self.fmr if self.fmr is not None else self.false_matches.value
        # No false match at all is no rate: what can be said is the bound.
        return self.evidence.answer(rate if rate > 0.0 else 1.0 / (self.evidence.n_comparisons + 1))

    @property
    def is_supported(self) -> bool:
        """Whether the evidence reaches the rate."""
        return self.answer.is_supported

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        answer = self.answer
        return {
            "fmr": self.fmr,
            "threshold": self.threshold,
            "tar": self.tar.as_dict(),
            "false_matches": self.false_matches.as_dict(),
            "evidence": self.evidence.as_dict(),
            "is_supported": answer.is_supported,
            "bound": None if isinstance(answer, SupportedRate) else answer.bound,
            "reason": None if isinstance(answer, SupportedRate) else answer.reason,
        }

    def __str__(self) -> str:
        """Return the rates with their counts, or the bound."""
        at = f"threshold {self.threshold:.4f}" if self.fmr is None else f"FMR {self.fmr:g} (threshold {self.threshold:.4f})"
        text = f"TAR {self.tar} at {at}, false matches {self.false_matches}"
        return text if self.is_supported else f"{text}; not supported: {self.answer}"


@dataclass(frozen=True, slots=True, eq=False)
class AllPairs:
    """What is known of all pairs of a set.

    Weighted rates are the headline: every pair of people weighs the same among non-mated pairs (photographs i and j weigh wᵢ·wⱼ
    with w = 1 / photographs of that person), every person with two or more photographs the same among mated ones. Pooled, every
    pair of photographs weighs the same, and people with hundreds of photographs decide. Failures to acquire are in all
    denominators.

    Attributes:
        mated: Scores of pairs of one person; weights by person.
        non_mated: Scores of pairs of two people; weights by pair of people.
        maxima: The highest score of each pair of people.
        n_people: All people.
        n_mated_people: Those with two or more photographs.
        n_person_pairs: Pairs of people compared, those left out not counted.
        n_photographs: All photographs, failures included.
        n_failures: Photographs whose face could not be acquired.
        worst_false_matches: The highest of ``maxima``, at most one pair of photographs a pair of people, by falling score.
        worst_false_non_matches: The lowest mated pair of each person, by rising score.
    """

    mated: ScoreHistogram
    non_mated: ScoreHistogram
    maxima: ScoreHistogram
    n_people: int
    n_mated_people: int
    n_person_pairs: int
    n_photographs: int
    n_failures: int
    worst_false_matches: tuple[ScoredPair, ...]
    worst_false_non_matches: tuple[ScoredPair, ...]

    def at_fmr(self, fmr: float, *, weighted: bool = True) -> AllPairsPoint:
        """Return both rates at the smallest threshold (of the histogram's edges) that keeps a false match rate.

        Raises:
            InputError: ``fmr`` is outside (0, 1], or there are no pairs of one kind.
        """
        self._require_both_kinds()
        return self._point(fmr, self.non_mated.threshold_for(fmr, weighted=weighted), weighted=weighted)

    def at_fmrs(self, fmrs: Sequence[float] = REPORTED_FMRS, *, weighted: bool = True) -> tuple[AllPairsPoint, ...]:
        """Return ``at_fmr`` of each rate, loosest first."""
        return tuple(self.at_fmr(fmr, weighted=weighted) for fmr in sorted(fmrs, reverse=True))

    def at_threshold(self, threshold: float, *, weighted: bool = True) -> AllPairsPoint:
        """Return both rates at a threshold; one between two edges counts as the edge above it.

        Raises:
            InputError: NaN, or there are no pairs of one kind.
        """
        self._require_both_kinds()
        return self._point(None, threshold, weighted=weighted)

    def evidence(self, threshold: float, *, weighted: bool = True) -> Evidence:
        """Return the comparisons behind the false matches at a threshold, and how many pairs of people these are spread over."""
        tenth = self.maxima.threshold_of_nth(MIN_PERSON_PAIRS)
        return Evidence(
            n_comparisons=self.non_mated.total,
            n_false=self.non_mated.count_at_or_above(threshold),
            n_person_pairs=self.maxima.count_at_or_above(threshold),
            n_people=self.n_people,
            spread_floor=1.0 if tenth is None else self.non_mated.share_at_or_above(tenth, weighted=weighted),
        )

    def _point(self, fmr: float | None, threshold: float, *, weighted: bool) -> AllPairsPoint:
        """Return the rates at a threshold."""
        units = ((self.mated, self.n_mated_people, "people"), (self.non_mated, self.n_person_pairs, "pairs of people"))
        rates = [_rate(held, threshold, n_units, unit, weighted=weighted) for held, n_units, unit in units]
        return AllPairsPoint(fmr, threshold, rates[0], rates[1], self.evidence(threshold, weighted=weighted))

    def _require_both_kinds(self) -> None:
        """Raise unless there are mated and non-mated pairs."""
        if self.mated.total == 0 or self.non_mated.total == 0:
            raise InputError(
                f"error rates need two people, and two photographs of one of them: {self.n_photographs} photographs of "
                f"{self.n_people} people give {self.mated.total} mated and {self.non_mated.total} non-mated pairs"
            )
        if self.mated.total == self.mated.n_failures or self.non_mated.total == self.non_mated.n_failures:
            raise InputError(
                f"error rates need scores of both kinds, but faces of {self.n_failures} of {self.n_photographs} photographs could "
                "not be acquired"
            )


def _rate(held: ScoreHistogram, threshold: float, n_units: int, unit: str, *, weighted: bool) -> Rate | WeightedRate:
    """Return the share of a histogram at or above a threshold."""
    count = held.count_at_or_above(threshold)
    if not weighted:
        return Rate(count, held.total)
    return WeightedRate(held.share_at_or_above(threshold), count, held.total, n_units, unit)


def all_pairs(
    vectors: ArrayLike,
    person_ids: ArrayLike,
    *,
    left_out: Iterable[tuple[Any, Any]] = (),
    n_worst: int = DEFAULT_WORST,
    block: int = DEFAULT_BLOCK,
) -> AllPairs:
    """Compare every photograph with every other.

    One pass of matrix products; memory is that of the vectors, three histograms and a tile (see ``PairTiles``), whatever the number
    of pairs.

    Args:
        vectors: Templates of one embedder, float ``(N, D)``, unit norm; a row of NaN is a failure to acquire.
        person_ids: Who is on each photograph, ``(N,)``: whole numbers or strings.
        left_out: Pairs of person ids not to be compared, of neither kind: one person under two names.
        n_worst: False matches and false non-matches to keep, at least 0.
        block: Photographs a side of a tile.

    Raises:
        InputError: As ``PairTiles``, or ``n_worst`` is negative.
    """
    tiles = PairTiles(vectors, person_ids, left_out=left_out, block=block)
    mated, non_mated, maxima = ScoreHistogram(), ScoreHistogram(), ScoreHistogram()
    high, low = _Worst(n_worst), _Worst(n_worst)
    for tile in tiles:
        _count_non_mated(tile, tiles, non_mated)
        _count_maxima(tile, tiles, maxima, high)
        if tile.is_diagonal:
            _count_mated(tile, tiles, mated, low)
    _add_failures(mated, tiles.n_mated, float(tiles.n_mated_people))
    _add_failures(non_mated, tiles.n_non_mated, float(tiles.n_person_pairs))
    _add_failures(maxima, tiles.n_person_pairs, float(tiles.n_person_pairs))
    return AllPairs(
        mated=mated,
        non_mated=non_mated,
        maxima=maxima,
        n_people=tiles.n_people,
        n_mated_people=tiles.n_mated_people,
        n_person_pairs=tiles.n_person_pairs,
        n_photographs=tiles.n_photographs,
        n_failures=tiles.n_failures,
        worst_false_matches=tuple(high.pairs(sign=-1.0)),
        worst_false_non_matches=tuple(low.pairs(sign=1.0)),
    )


def _add_failures(held: ScoreHistogram, total: int, weight: float) -> None:
    """Add the comparisons that have no score: the difference from all there should be."""
    missing = total - held.total
    # Weights of many pairs add up to a whole number but for rounding, which must not pass for a failure.
    held.add_failures(missing, max(0.0, weight - held.total_weight) if missing else 0.0)


def _count_non_mated(tile: Tile, tiles: PairTiles, held: ScoreHistogram) -> None:
    """Count the pairs of two people of a tile."""
    weights = np.multiply.outer(tiles.weight[tile.rows], tiles.weight[tile.columns])
    if tile.non_mated is None:
        held.add(tile.scores, weights)
    else:
        held.add(tile.scores[tile.non_mated], weights[tile.non_mated])


def _count_maxima(tile: Tile, tiles: PairTiles, held: ScoreHistogram, worst: _Worst) -> None:
    """Count the highest score of each pair of people of a tile, and keep the highest of them."""
    scores = tile.scores if tile.non_mated is None else np.where(tile.non_mated, tile.scores, np.float32(-np.inf))
    row_runs, column_runs = tiles.runs(tile.rows), tiles.runs(tile.columns)
    maxima = np.maximum.reduceat(np.maximum.reduceat(scores, column_runs, axis=1), row_runs, axis=0)
    compared = maxima if tile.non_mated is None else maxima[np.isfinite(maxima)]
    held.add(compared)
    row_ends, column_ends = np.append(row_runs[1:], scores.shape[0]), np.append(column_runs[1:], scores.shape[1])
    for one, other in worst.candidates(-maxima):
        part = scores[row_runs[one] : row_ends[one], column_runs[other] : column_ends[other]]
        row, column = np.unravel_index(int(np.argmax(part)), part.shape)
        first = tile.rows.start + int(row_runs[one] + row)
        second = tile.columns.start + int(column_runs[other] + column)
        worst.keep(-float(part[row, column]), int(tiles.order[first]), int(tiles.order[second]))
    worst.trim()


def _count_mated(tile: Tile, tiles: PairTiles, held: ScoreHistogram, worst: _Worst) -> None:
    """Count the pairs of one person of a tile on the diagonal, and keep the lowest of each person."""
    person = tiles.person[tile.rows]
    begins = tiles.runs(tile.rows)
    for begin, end in zip(begins.tolist(), [*begins[1:].tolist(), person.size], strict=True):
        if end - begin < 2:
            continue
        rows, columns = np.triu_indices(end - begin, k=1)
        scores = tile.scores[begin + rows, begin + columns]
        # The person's number of photographs, not of templates: pairs with a failure weigh as much as the others.
        n = int(tiles.n_photographs_of[person[begin]])
        held.add(scores, np.full(scores.size, 2.0 / (n * (n - 1))))
        least = int(np.argmin(scores))
        places = tiles.order[tile.rows.start + begin + np.array([rows[least], columns[least]])]
        worst.keep(float(scores[least]), int(places[0]), int(places[1]))
    worst.trim()


class _Worst:
    """The pairs of lowest key, at most ``n`` once trimmed; equal keys by ascending rows."""

    def __init__(self, n: int) -> None:
        if n < 0:
            raise InputError(f"the number of pairs to keep is at least 0, not {n}")
        self._n = n
        self._kept: list[tuple[float, int, int]] = []

    def candidates(self, keys: NDArray[np.float32]) -> Iterator[tuple[int, int]]:
        """Yield the places in a matrix of keys that may be among the lowest ``n``, infinite ones never."""
        if self._n == 0:
            return
        ceiling = self._kept[-1][0] if len(self._kept) >= self._n else math.inf
        flat = keys.ravel()
        places = np.flatnonzero((flat <= ceiling) & np.isfinite(flat))
        if places.size > self._n:
            bar = np.partition(flat[places], self._n - 1)[self._n - 1]
            places = places[flat[places] <= bar]
        for place in places.tolist():
            yield divmod(place, keys.shape[1])

    def keep(self, key: float, one: int, other: int) -> None:
        """Take a pair in."""
        self._kept.append((key, min(one, other), max(one, other)))

    def trim(self) -> None:
        """Drop all but the lowest ``n``."""
        self._kept = sorted(self._kept)[: self._n]

    def pairs(self, *, sign: float) -> Iterator[ScoredPair]:
        """Yield what is kept, lowest key first; the score is the key times ``sign``."""
        for key, first, second in self._kept:
            yield ScoredPair(sign * key, first, second)
