"""Intervals of a reliability diagram: those of a slow loop over all pairs of copies, and honest where a bin holds one kind only."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from itertools import combinations

import numpy as np
import pytest

from facesearch.core.calibration import Calibration, CalibrationMethod
from facesearch.core.errors import InputError
from facesearch.evaluation import reliability as under_test
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.calibration import reliability
from facesearch.evaluation.intervals import wilson_interval
from facesearch.evaluation.reliability import bin_thresholds, reliability_intervals

N_PEOPLE, N_REPLICATES, PRIOR = 9, 1000, 0.3


def calibration(slope=5.0, prior=PRIOR):
    return Calibration(
        *("fake@0", CalibrationMethod.LOGISTIC, (-1.0, 1.0), (-1.2 * slope, 0.8 * slope), prior, (-4.0, 4.0)),
        *(10, 10, N_PEOPLE, "ab", "nowhere", datetime(2026, 1, 1, tzinfo=UTC)),
    )


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(5)
    owners = np.repeat(np.arange(N_PEOPLE), rng.integers(1, 5, N_PEOPLE))
    centres = rng.normal(size=(N_PEOPLE, 6)) + 0.8
    vectors = centres[owners] + 0.9 * rng.normal(size=(owners.size, 6))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), owners


@cache
def place_of_score(made, score, n_bins):
    return min(int(made.probability(score) * n_bins), n_bins - 1)


def place_of(made, vectors, a, b, n_bins):
    return place_of_score(made, float(np.clip(vectors[a] @ vectors[b], -1, 1)), n_bins)


def naive_observed(made, vectors, owners, drawn, n_bins):
    """Observed share of each bin when person p was drawn ``drawn[p]`` times, pair by pair."""
    counts = np.bincount(owners)
    sums, totals = np.zeros((2, n_bins)), np.zeros(2)
    for a, b in combinations(range(owners.size), 2):
        p, q = owners[a], owners[b]
        kind = int(p != q)
        weight = drawn[p] * drawn[q] / (counts[p] * counts[q]) if kind else drawn[p] * 2.0 / (counts[p] * (counts[p] - 1))
        sums[kind, place_of(made, vectors, a, b, n_bins)] += weight
        totals[kind] += weight
    same, different = made.prior * sums[0] / totals[0], (1 - made.prior) * sums[1] / totals[1]
    with np.errstate(invalid="ignore"):
        return same / (same + different)


def test_intervals_are_those_of_a_slow_loop(people):
    vectors, owners = people
    made, pairs = calibration(), all_pairs(vectors, owners)
    bins = reliability_intervals(made, pairs, vectors, owners, n_bins=4)
    generator = np.random.default_rng(0)
    draws = generator.multinomial(N_PEOPLE, np.full(N_PEOPLE, 1 / N_PEOPLE), size=N_REPLICATES)
    slow = np.array([naive_observed(made, vectors, owners, drawn, 4) for drawn in draws])
    plain = naive_observed(made, vectors, owners, np.ones(N_PEOPLE), 4)
    n_compared = 0
    for one in bins:
        place = min(int(one.stated * 4), 3)
        assert one.observed == pytest.approx(plain[place], abs=1e-9)
        if one.n_mated and one.n_non_mated:
            n_compared += 1
            low, high = np.nanquantile(slow[:, place], [0.025, 0.975])
            assert one.interval == (
                pytest.approx(min(low, one.observed), abs=1e-6),
                pytest.approx(max(high, one.observed), abs=1e-6),
            )
    assert n_compared >= 3


def test_the_bins_are_those_of_reliability(people):
    vectors, owners = people
    made, pairs = calibration(), all_pairs(vectors, owners)
    plain, with_intervals = reliability(made, pairs), reliability_intervals(made, pairs, vectors, owners)
    assert len(plain) == len(with_intervals) >= 5
    for one, other in zip(plain, with_intervals, strict=True):
        assert (one.stated, one.observed, one.n_mated, one.n_non_mated) == (
            *(other.stated, other.observed, other.n_mated, other.n_non_mated),
        )
        assert other.interval is None or 0.0 <= other.interval[0] <= one.observed <= other.interval[1] <= 1.0
    cuts = bin_thresholds(made, pairs, 10)
    assert cuts[0] == -1.0
    assert (np.diff(cuts) >= 0).all()
    held = [one for one in plain if one.stated >= 0.5]
    assert sum(one.n_mated for one in held) == pairs.mated.count_at_or_above(float(cuts[5]))


def test_a_bin_of_one_kind_only_is_not_certain():
    rng = np.random.default_rng(0)
    owners = np.repeat(np.arange(8), 2)
    vectors = (np.eye(8)[owners] + 0.05 * rng.normal(size=(16, 8))).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = calibration(slope=8.0, prior=0.5)
    low, high = reliability_intervals(made, all_pairs(vectors, owners), vectors, owners, n_bins=2)
    assert (low.observed, low.n_mated, high.observed, high.n_non_mated) == (0.0, 0, 1.0, 0)
    unseen_mated, unseen_other = wilson_interval(0, 8)[1], wilson_interval(0, 4)[1]
    assert low.interval == (0.0, pytest.approx(unseen_mated / (unseen_mated + 1.0)))
    assert high.interval == (pytest.approx(1.0 / (1.0 + unseen_other)), 1.0)


def test_too_many_comparisons_cost_the_intervals_only(people, monkeypatch):
    vectors, owners = people
    made, pairs = calibration(), all_pairs(vectors, owners)
    monkeypatch.setattr(under_test, "MAX_HELD", 1)
    assert reliability_intervals(made, pairs, vectors, owners) == reliability(made, pairs)


def test_one_bin_and_missing_kinds(people):
    vectors, owners = people
    (whole,) = reliability_intervals(calibration(), all_pairs(vectors, owners), vectors, owners, n_bins=1)
    assert whole.observed == pytest.approx(PRIOR)
    assert whole.interval == pytest.approx((PRIOR, PRIOR))
    singles = np.arange(4)
    with pytest.raises(InputError, match="both kinds"):
        reliability_intervals(calibration(), all_pairs(vectors[:4], singles), vectors[:4], singles)
