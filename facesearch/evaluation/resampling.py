"""Intervals of rates over shared photographs, by resampling people.

Comparisons that share a person are not independent, so Wilson's interval is too narrow for them. Here people are drawn with
replacement and every comparison follows its people. It compares nothing again: outcomes are summed by pair of people once, and a
replicate is a product of matrices. It holds thresholds fixed: the interval is of the rate at a threshold, not of the threshold.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.intervals import wilson_interval
from facesearch.evaluation.pair_tiles import DEFAULT_BLOCK, PairTiles

DEFAULT_REPLICATES = 1000
"""Draws of people; the ends of a 95 % interval then rest on 25 of them each."""

MIN_USABLE = 0.8
"""Share of draws that must leave a comparison: with fewer the others are a choice, not a sample (two people: half)."""

CHUNK_NUMBERS = 2**22
"""Numbers held at a time while replicates are computed: 32 MB."""

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class PairSums:
    """Outcomes of trials summed by pair of people: all that a replicate needs.

    Attributes:
        one: int64 ``(K,)``, number of a person.
        other: int64 ``(K,)``, number of the other; the same for trials within one person.
        hits: float64 ``(K, T)``, weighted outcomes of the pair's trials, one column a rate.
        weights: float64 ``(K,)``, weight of the same trials; only for ``mass`` None.
        n_people: People that are drawn, numbered from 0.
        mass: float64 ``(P,)`` where every two people were compared: the trials of a pair weigh the product of both. ``one`` and
            ``other`` then list only the pairs with an outcome.
        left_out: int64 ``(L, 2)``, pairs of people that were not compared all the same.
    """

    one: Whole
    other: Whole
    hits: Floats
    weights: Floats
    n_people: int
    mass: Floats | None = None
    left_out: Whole | None = None

    @property
    def is_within(self) -> bool:
        """Whether every trial is of one person."""
        return self.mass is None and bool((self.one == self.other).all())


@dataclass(frozen=True, slots=True)
class BootstrapInterval:
    """A rate, or a difference of two, with the range that resampling people gives.

    Attributes:
        value: On all people.
        lower: Lower end.
        upper: Upper end.
        confidence: Share of such intervals meant to hold the true value.
        n_replicates: Draws behind it.
        n_people: People drawn from.
        is_degenerate: Whether resampling had nothing to vary (no trial has the outcome, or all have): the open end is then
            Wilson's, as if each person (or each of ⌊people / 2⌋ disjoint pairs of people) were one independent trial. A
            difference keeps its ends, which say nothing.
    """

    value: float
    lower: float
    upper: float
    confidence: float
    n_replicates: int
    n_people: int
    is_degenerate: bool = False

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values."""
        return {
            "value": self.value,
            "lower": self.lower,
            "upper": self.upper,
            "confidence": self.confidence,
            "n_replicates": self.n_replicates,
            "n_people": self.n_people,
            "is_degenerate": self.is_degenerate,
        }

    def __str__(self) -> str:
        """Return value and ends with three significant digits."""
        return f"{self.value:.3g} [{self.lower:.3g}, {self.upper:.3g}]"


def person_sums(
    outcomes: ArrayLike, person_a: ArrayLike, person_b: ArrayLike | None = None, *, weights: ArrayLike | None = None
) -> PairSums:
    """Sum trials by the people they compare.

    Args:
        outcomes: ``(N,)`` or, for several rates on the same trials, ``(N, T)``: yes/no, or numbers to be averaged; no NaN.
        person_a: Who is on the one side of each trial, ``(N,)``.
        person_b: Who is on the other, ``(N,)``; left out for trials of one person each (mated pairs, probes by person).
        weights: Of each trial, positive, ``(N,)``; 1 where left out.

    Raises:
        InputError: Shapes that do not fit, NaN, weights that are not positive, or fewer than two people.
    """
    values = np.asarray(outcomes, dtype=np.float64)
    columns = values[:, None] if values.ndim == 1 else values
    ids_a = np.asarray(person_a)
    ids_b = ids_a if person_b is None else np.asarray(person_b)
    heavy = np.ones(columns.shape[0]) if weights is None else np.asarray(weights, dtype=np.float64)
    if columns.ndim != 2 or not columns.shape[0] == ids_a.size == ids_b.size == heavy.size or 0 in columns.shape:
        raise InputError(f"one person (or two) and one weight a trial are needed: {values.shape}, {ids_a.shape}, {heavy.shape}")
    if not (np.isfinite(columns).all() and np.isfinite(heavy).all() and bool((heavy > 0).all())):
        raise InputError("outcomes are finite, weights finite and positive")
    people, numbers = np.unique(np.concatenate([ids_a, ids_b]), return_inverse=True)
    _require_people(people.size)
    numbers = numbers.reshape(-1).astype(np.int64)
    side_a, side_b = numbers[: ids_a.size], numbers[ids_a.size :]
    keys = np.minimum(side_a, side_b) * people.size + np.maximum(side_a, side_b)
    pairs, place = np.unique(keys, return_inverse=True)
    place = place.reshape(-1)
    sums = [np.bincount(place, weights=heavy * column, minlength=pairs.size) for column in columns.T]
    hits = np.array(sums, dtype=np.float64).T
    total = np.asarray(np.bincount(place, weights=heavy, minlength=pairs.size), dtype=np.float64)
    one, other = pairs // people.size, pairs % people.size
    return PairSums(one, other, hits, total, int(people.size))


def all_pairs_sums(
    vectors: ArrayLike,
    person_ids: ArrayLike,
    thresholds: Sequence[float],
    *,
    weighted: bool = True,
    left_out: Iterable[tuple[Any, Any]] = (),
    block: int = DEFAULT_BLOCK,
) -> tuple[PairSums, PairSums]:
    """Return the sums of all mated and of all non-mated pairs of photographs that match at thresholds.

    Another pass over the pairs, as ``all_pairs`` makes one to find the thresholds. Memory grows with the number of pairs of
    photographs at or above the lowest threshold, some 60 bytes each.

    Args:
        vectors: As for ``all_pairs``.
        person_ids: As for ``all_pairs``.
        thresholds: At least one; each a column of the sums.
        weighted: Whether every person and every pair of people weighs the same, else every pair of photographs.
        left_out: As for ``all_pairs``.
        block: As for ``all_pairs``.

    Returns:
        The sums of mated pairs (one row a person with two or more photographs) and those of non-mated pairs.

    Raises:
        InputError: As ``PairTiles``, no threshold, fewer than two people, or nobody with two photographs.
    """
    cuts = np.asarray(thresholds, dtype=np.float64)
    if cuts.ndim != 1 or cuts.size == 0 or np.isnan(cuts).any():
        raise InputError(f"at least one threshold is needed, without NaN, not {thresholds}")
    tiles = PairTiles(vectors, person_ids, left_out=left_out, block=block)
    _require_people(tiles.n_people)
    if tiles.n_mated_people == 0:
        raise InputError(f"none of the {tiles.n_people} people has two photographs: there is no mated pair")
    found: tuple[list[tuple[Whole, Whole, Floats]], ...] = ([], [])
    for tile in tiles:
        high = tile.scores >= cuts.min()
        kinds = [(1, high if tile.non_mated is None else high & tile.non_mated)]
        if tile.is_diagonal:
            person = tiles.person[tile.rows]
            kinds.append((0, high & np.triu(person[:, None] == person[None, :], k=1)))
        for kind, wanted in kinds:
            rows, columns = np.nonzero(wanted)
            scores = tile.scores[rows, columns].astype(np.float64)
            found[kind].append((rows + tile.rows.start, columns + tile.columns.start, scores))
    return _mated_sums(tiles, found[0], cuts, weighted=weighted), _non_mated_sums(tiles, found[1], cuts, weighted=weighted)


def _mated_sums(tiles: PairTiles, found: list[tuple[Whole, Whole, Floats]], cuts: Floats, *, weighted: bool) -> PairSums:
    """Return the sums of mated pairs by person."""
    rows, _, scores = _joined(found)
    able = np.flatnonzero(tiles.n_photographs_of >= 2)
    n_pairs = tiles.n_photographs_of[able] * (tiles.n_photographs_of[able] - 1) // 2
    people = tiles.person[rows]
    hits = np.stack([np.bincount(people[scores >= cut], minlength=tiles.n_people)[able] for cut in cuts], axis=1).astype(np.float64)
    if weighted:
        return PairSums(able, able, hits / n_pairs[:, None], np.ones(able.size), tiles.n_people)
    return PairSums(able, able, hits, n_pairs.astype(np.float64), tiles.n_people)


def _non_mated_sums(tiles: PairTiles, found: list[tuple[Whole, Whole, Floats]], cuts: Floats, *, weighted: bool) -> PairSums:
    """Return the sums of non-mated pairs by pair of people."""
    rows, columns, scores = _joined(found)
    keys = tiles.person[rows] * tiles.n_people + tiles.person[columns]
    pairs, place = np.unique(keys, return_inverse=True)
    place = place.reshape(-1)
    heavy = tiles.weight[rows] * tiles.weight[columns] if weighted else np.ones(rows.size)
    sums = [np.bincount(place, weights=np.where(scores >= cut, heavy, 0.0), minlength=pairs.size) for cut in cuts]
    mass = np.ones(tiles.n_people) if weighted else tiles.n_photographs_of.astype(np.float64)
    one, other = pairs // tiles.n_people, pairs % tiles.n_people
    return PairSums(one, other, np.stack(sums, axis=1), np.zeros(pairs.size), tiles.n_people, mass, tiles.left_out)


def _joined(found: list[tuple[Whole, Whole, Floats]]) -> tuple[Whole, Whole, Floats]:
    """Return the pieces of each column as one."""
    empty = np.zeros(0, dtype=np.int64)
    rows = np.concatenate([empty, *(piece[0] for piece in found)])
    columns = np.concatenate([empty, *(piece[1] for piece in found)])
    return rows, columns, np.concatenate([np.zeros(0), *(piece[2] for piece in found)])


def _require_people(n_people: int) -> None:
    """Raise unless people can be resampled."""
    if n_people < 2:
        raise InputError(f"an interval by resampling people needs at least two, not {n_people}")


def _rates(sums: PairSums, multiplicity: Floats) -> Floats:
    """Return the rates under multiplicities ``(R, P)`` as ``(R, T)``; NaN where no trial is left.

    A pair of people is there as often as the product of how often both were drawn. Trials within a person come once for each time
    that the person was drawn: the comparison of one copy with another would be of a photograph with itself.
    """
    drawn = multiplicity[:, sums.one]
    if not sums.is_within:
        apart = sums.one != sums.other
        drawn = np.where(apart, drawn * multiplicity[:, sums.other], drawn)
    if sums.mass is None:
        total = drawn @ sums.weights
    else:
        heavy = multiplicity * sums.mass
        total = (heavy.sum(axis=1) ** 2 - (heavy**2).sum(axis=1)) / 2.0
        if sums.left_out is not None and len(sums.left_out):
            total = total - (heavy[:, sums.left_out[:, 0]] * heavy[:, sums.left_out[:, 1]]).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates: Floats = np.where(total[:, None] > 0.0, (drawn @ sums.hits) / total[:, None], np.nan)
    return rates


def _multiplicities(n_people: int, n_replicates: int, seed: int, n_each: int) -> Iterator[Floats]:
    """Yield how often each person is drawn, ``(r, P)``, for all replicates; the same for the same seed and number of people."""
    generator = np.random.default_rng(seed)
    chances = np.full(n_people, 1.0 / n_people)
    for at in range(0, n_replicates, n_each):
        size = min(n_each, n_replicates - at)
        yield generator.multinomial(n_people, chances, size=size).astype(np.float64)


def replicated_rates(sums: PairSums, n_replicates: int = DEFAULT_REPLICATES, seed: int = 0) -> Floats:
    """Return the rates of all replicates, ``(R, T)``; NaN where a draw left no trial. One seed draws the same of as many people."""
    if n_replicates < 100:
        raise InputError(f"an interval needs at least 100 replicates, not {n_replicates}")
    n_each = max(1, CHUNK_NUMBERS // max(sums.one.size, sums.n_people))
    return np.concatenate([_rates(sums, drawn) for drawn in _multiplicities(sums.n_people, n_replicates, seed, n_each)])


def replicate_ends(replicates: Floats, confidence: float = 0.95) -> Floats:
    """Return the percentiles of replicates, ``(2, T)``; raises InputError where too many draws left no comparison."""
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie in (0, 1), not {confidence}")
    kept = replicates[~np.isnan(replicates).any(axis=1)]
    if len(kept) < MIN_USABLE * len(replicates):
        raise InputError(
            f"only {len(kept)} of {len(replicates)} draws of people leave a comparison: there are too few people for an interval"
        )
    ends: Floats = np.quantile(kept, [(1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0], axis=0)
    return ends


def bootstrap_intervals(
    sums: PairSums, *, n_replicates: int = DEFAULT_REPLICATES, confidence: float = 0.95, seed: int = 0
) -> tuple[BootstrapInterval, ...]:
    """Return the percentile interval of each rate, people being drawn with replacement.

    A person drawn w times weighs w: pair (i, j) of two people wᵢ·wⱼ, trials within a person wᵢ (the vertex bootstrap of Snijders &
    Borgatti 1999; compared with others for face verification by Fogliato, Patil & Perona 2024).

    Args:
        sums: From ``person_sums`` or ``all_pairs_sums``.
        n_replicates: Draws, at least 100.
        confidence: In (0, 1).
        seed: The same seed gives the same interval.

    Raises:
        InputError: A number out of range, or so few people that many draws leave no comparison.
    """
    values = _rates(sums, np.ones((1, sums.n_people)))[0]
    lower, upper = replicate_ends(replicated_rates(sums, n_replicates, seed), confidence)
    n_units = np.unique(sums.one).size if sums.is_within else sums.n_people // 2
    intervals = []
    for value, low, high in zip(values.tolist(), lower.tolist(), upper.tolist(), strict=True):
        is_degenerate = low == high and (value < 1e-12 or abs(value - 1.0) < 1e-12)
        if is_degenerate:
            low, high = wilson_interval(0 if value < 0.5 else n_units, n_units, confidence)
        intervals.append(
            BootstrapInterval(value, min(low, value), max(high, value), confidence, n_replicates, sums.n_people, is_degenerate)
        )
    return tuple(intervals)


def bootstrap_differences(
    first: PairSums, second: PairSums, *, n_replicates: int = DEFAULT_REPLICATES, confidence: float = 0.95, seed: int = 0
) -> tuple[BootstrapInterval, ...]:
    """Return the interval of each rate of ``first`` less that of ``second``, the same people being drawn for both.

    What both systems find hard then moves both alike, and the interval is narrower than those of the two rates suggest.

    Raises:
        InputError: The sums are not of the same people or number of rates, else as ``bootstrap_intervals``.
    """
    if first.n_people != second.n_people or first.hits.shape[1] != second.hits.shape[1]:
        raise InputError(
            f"differences need the same people and rates: {first.n_people} and {second.n_people} people, {first.hits.shape[1]} and "
            f"{second.hits.shape[1]} rates"
        )
    everybody = np.ones((1, first.n_people))
    values = (_rates(first, everybody) - _rates(second, everybody))[0]
    gaps = replicated_rates(first, n_replicates, seed) - replicated_rates(second, n_replicates, seed)
    lower, upper = replicate_ends(gaps, confidence)
    return tuple(
        BootstrapInterval(value, min(low, value), max(high, value), confidence, n_replicates, first.n_people, low == high)
        for value, low, high in zip(values.tolist(), lower.tolist(), upper.tolist(), strict=True)
    )


def identity_bootstrap(
    outcomes: ArrayLike,
    person_a: ArrayLike,
    person_b: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
    n_replicates: int = DEFAULT_REPLICATES,
    confidence: float = 0.95,
    seed: int = 0,
) -> BootstrapInterval:
    """Return the interval of the weighted mean of outcomes: ``bootstrap_intervals`` of ``person_sums`` with one column.

    Raises:
        InputError: As these two, or more than one column.
    """
    sums = person_sums(outcomes, person_a, person_b, weights=weights)
    if sums.hits.shape[1] != 1:
        raise InputError(f"one outcome a trial is needed, not {sums.hits.shape[1]}")
    return bootstrap_intervals(sums, n_replicates=n_replicates, confidence=confidence, seed=seed)[0]
