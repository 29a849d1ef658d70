"""Made-up people spread as they were measured to, and the same seed makes the same ones."""

from __future__ import annotations

import numpy as np

from benchmarks.made_people import BINS, People, Spread, made_histograms, measured

DIM = 6
N_PEOPLE = 1500
EACH = 3


def spread(between: np.ndarray, within: np.ndarray) -> Spread:
    counts = np.zeros(len(BINS) - 1, dtype=np.int64)
    return Spread(np.zeros(len(between)), between, within, counts, counts, 0, 0, "made up")


def test_the_covariances_that_went_in_are_measured_again() -> None:
    rng = np.random.default_rng(1)
    between, within = np.diag(np.linspace(1.0, 2.0, DIM)), np.diag(np.linspace(0.8, 0.2, DIM))
    people = rng.normal(size=(N_PEOPLE, DIM)) @ np.sqrt(between)
    owners = np.repeat(np.arange(N_PEOPLE), EACH)
    vectors = people[owners] + rng.normal(size=(N_PEOPLE * EACH, DIM)) @ np.sqrt(within) + 3.0
    found = measured(vectors, owners, "made up")
    np.testing.assert_allclose(found.mean, 3.0, atol=0.1)
    np.testing.assert_allclose(found.between, between, atol=0.2)
    np.testing.assert_allclose(found.within, within, atol=0.05)
    assert (found.n_people, found.n_vectors) == (N_PEOPLE, N_PEOPLE * EACH)


def test_histograms_count_every_pair_once() -> None:
    vectors = np.random.default_rng(2).normal(size=(1203, DIM))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= 0.49  # scores stay within the bins
    owners = np.arange(1203) // 3
    found = measured(vectors, owners, "made up")
    assert int(found.mated.sum()) == 401 * 3
    assert int(found.non_mated.sum()) == 1203 * 1202 // 2 - 401 * 3


def test_the_same_seed_makes_the_same_people_and_another_series_other_photographs() -> None:
    made = [People(spread(np.eye(DIM), 0.3 * np.eye(DIM)), 50, seed) for seed in (4, 4, 5)]
    numbers = np.arange(50)
    first, again, other = (people.photographs(numbers, 0) for people in made)
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)
    series = made[0].photographs(numbers, 1)
    assert float(np.einsum("ij,ij->i", first, series).mean()) > 0.5 > float((first @ other.T).mean())
    np.testing.assert_allclose(np.linalg.norm(series, axis=1), 1.0, atol=1e-6)


def test_the_shipped_spread_makes_scores_like_the_real_ones() -> None:
    real = Spread.load()
    mated, non_mated = made_histograms(People(real, 3000, 7), 3000)
    centres = (BINS[:-1] + BINS[1:]) / 2
    for counts, truth in ((mated, real.mated), (non_mated, real.non_mated)):
        assert counts.sum() > 0
        assert abs(np.average(centres, weights=counts) - np.average(centres, weights=truth)) < 0.04
