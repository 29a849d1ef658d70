from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import all_pairs
from facesearch.evaluation.intervals import wilson_interval
from facesearch.evaluation.resampling import (
    all_pairs_sums,
    bootstrap_differences,
    bootstrap_intervals,
    identity_bootstrap,
    person_sums,
)

seeds = st.integers(0, 10_000)


def photographs(seed=3, sizes=(1, 2, 3, 5, 1, 4), dim=5, n_failures=0):
    rng = np.random.default_rng(seed)
    ids = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    vectors = rng.normal(size=(len(sizes), dim))[ids] + 0.6 * rng.normal(size=(ids.size, dim))
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    vectors[rng.choice(ids.size, n_failures, replace=False)] = np.nan
    return vectors, ids


def naive_replicates(trials, n_people, n_replicates, seed):
    """Slow and obvious: the same draws, every trial as often as its people were drawn together."""
    rng = np.random.default_rng(seed)
    rates = []
    for _ in range(n_replicates):
        drawn = rng.multinomial(n_people, np.full(n_people, 1 / n_people))
        hit = total = 0.0
        for outcome, a, b, weight in trials:
            times = drawn[a] if a == b else drawn[a] * drawn[b]
            hit += times * weight * outcome
            total += times * weight
        rates.append(hit / total if total else np.nan)
    return np.array(rates)


def naive_trials(vectors, ids, threshold, *, mated, weighted, left_out=()):
    n_of = np.bincount(ids)
    trials = []
    for one in range(len(ids)):
        for other in range(one + 1, len(ids)):
            a, b = int(ids[one]), int(ids[other])
            if (a == b) != mated or (a, b) in left_out or (b, a) in left_out:
                continue
            weight = 2 / (n_of[a] * (n_of[a] - 1)) if mated else 1 / n_of[a] / n_of[b]
            score = float(vectors[one].astype(float) @ vectors[other].astype(float))
            trials.append((score >= threshold, a, b, weight if weighted else 1.0))
    return trials


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("n_failures", [0, 2])
@pytest.mark.parametrize("left_out", [(), ((1, 3), (0, 5))])
def test_all_pairs_against_drawing_and_counting_trial_by_trial(weighted, n_failures, left_out):
    vectors, ids = photographs(n_failures=n_failures)
    cuts = (0.2, 0.6)
    sums = all_pairs_sums(vectors, ids, cuts, weighted=weighted, left_out=left_out, block=4)
    assert len(sums) == 2
    for kind, mated in zip(sums, (True, False), strict=True):
        found = bootstrap_intervals(kind, n_replicates=150, confidence=0.9, seed=11)
        assert len(found) == 2
        for interval, cut in zip(found, cuts, strict=True):
            trials = naive_trials(vectors, ids, cut, mated=mated, weighted=weighted, left_out=left_out)
            value = sum(w * hit for hit, _, _, w in trials) / sum(w for *_, w in trials)
            assert interval.value == pytest.approx(value)
            drawn = naive_replicates(trials, 6, 150, seed=11)
            ends = np.nanquantile(drawn, [0.05, 0.95])
            if not interval.is_degenerate:
                assert (interval.lower, interval.upper) == pytest.approx((min(ends[0], value), max(ends[1], value)))


def test_rates_are_those_of_all_pairs():
    vectors, ids = photographs(sizes=(3,) * 12)
    found = all_pairs(vectors, ids)
    thresholds = [found.at_fmr(rate).threshold for rate in (0.3, 0.1, 0.05)]
    mated, non_mated = all_pairs_sums(vectors, ids, thresholds)
    for interval, threshold in zip(bootstrap_intervals(mated, n_replicates=100), thresholds, strict=True):
        assert interval.value == pytest.approx(found.at_threshold(threshold).tar.value)
        assert interval.lower <= interval.value <= interval.upper
    for interval, threshold in zip(bootstrap_intervals(non_mated, n_replicates=100), thresholds, strict=True):
        assert interval.value == pytest.approx(found.at_threshold(threshold).false_matches.value)


@given(seeds)
def test_trials_given_one_by_one_are_the_same(seed):
    vectors, ids = photographs(seed=seed % 50)
    trials = naive_trials(vectors, ids, 0.2, mated=False, weighted=True)
    outcomes, one, other, weights = (list(column) for column in zip(*trials, strict=True))
    interval = identity_bootstrap(outcomes, one, other, weights=weights, n_replicates=100, seed=seed)
    assert interval.value == pytest.approx(np.average(outcomes, weights=weights))
    complete = bootstrap_intervals(all_pairs_sums(vectors, ids, [0.2])[1], n_replicates=100, seed=seed)[0]
    assert (interval.value, interval.lower, interval.upper) == pytest.approx((complete.value, complete.lower, complete.upper))


def test_trials_of_one_and_of_two_people_together():
    rng = np.random.default_rng(9)
    one, other = rng.integers(0, 5, 60), rng.integers(0, 5, 60)
    assert (one == other).any()
    outcomes = rng.random(60) < np.where(one == other, 0.9, 0.2)
    interval = identity_bootstrap(outcomes, one, other, n_replicates=150, seed=3)
    trials = list(zip(outcomes.tolist(), one.tolist(), other.tolist(), [1.0] * 60, strict=True))
    ends = np.nanquantile(naive_replicates(trials, 5, 150, seed=3), [0.025, 0.975])
    assert (interval.lower, interval.upper) == pytest.approx(tuple(ends))


def test_one_person_a_trial_is_the_ordinary_bootstrap():
    rng = np.random.default_rng(2)
    outcomes = rng.random(400) < 0.2
    interval = identity_bootstrap(outcomes, np.arange(400), n_replicates=4000)
    assert (interval.lower, interval.upper) == pytest.approx(wilson_interval(int(outcomes.sum()), 400), abs=0.01)


def test_trials_that_share_people_give_a_wider_interval_than_wilsons():
    # 40 people with 25 trials each, alike within a person: 40 independent trials, not 1,000.
    rng = np.random.default_rng(4)
    outcomes = np.repeat(rng.random(40) < 0.3, 25)
    interval = identity_bootstrap(outcomes, np.repeat(np.arange(40), 25))
    lower, upper = wilson_interval(int(outcomes.sum()), outcomes.size)
    assert interval.upper - interval.lower > 3 * (upper - lower)
    lower, upper = wilson_interval(int(outcomes.sum()) // 25, 40)
    assert interval.upper - interval.lower == pytest.approx(upper - lower, rel=0.2)


def test_the_interval_covers():
    """Of 200 populations of 60 people whose pairs match by chance and by two traits of theirs, about 95 % hold the true rate."""
    rng = np.random.default_rng(8)
    one, other = np.triu_indices(60, k=1)
    # A pair matches with chance p(a) p(b), p in {0.2, 0.6} with equal chance: 0.4² on average.
    hits = 0
    for seed in range(200):
        p = rng.choice([0.2, 0.6], 60)
        outcomes = rng.random(one.size) < p[one] * p[other]
        interval = identity_bootstrap(outcomes, one, other, n_replicates=200, seed=seed)
        hits += interval.lower <= 0.16 <= interval.upper
    assert 180 <= hits <= 200
    # Wilson's, on the last population: several times too narrow.
    lower, upper = wilson_interval(int(outcomes.sum()), outcomes.size)
    assert interval.upper - interval.lower > 2 * (upper - lower)


def test_paired_differences_are_narrower_than_the_rates():
    rng = np.random.default_rng(6)
    people = np.repeat(np.arange(80), 5)
    hard = np.repeat(rng.random(80) < 0.3, 5)
    # Both systems fail on the same hard people; the second fails on a few more photographs.
    first, second = hard & (rng.random(400) < 0.9), hard & (rng.random(400) < 0.9)
    second = second | (rng.random(400) < 0.05)
    (gap,) = bootstrap_differences(person_sums(second, people), person_sums(first, people))
    assert gap.value == pytest.approx(second.mean() - first.mean())
    assert gap.lower <= gap.value <= gap.upper
    rate = identity_bootstrap(first, people)
    assert gap.upper - gap.lower < (rate.upper - rate.lower) / 2
    (none,) = bootstrap_differences(person_sums(first, people), person_sums(first, people))
    assert (none.value, none.lower, none.upper, none.is_degenerate) == (0.0, 0.0, 0.0, True)


def test_nothing_seen_is_bounded_by_wilsons_of_independent_people():
    interval = identity_bootstrap(np.zeros(500), np.repeat(np.arange(50), 10))
    assert interval.is_degenerate
    assert (interval.lower, interval.upper) == wilson_interval(0, 50)
    one, other = np.triu_indices(20, k=1)
    assert identity_bootstrap(np.ones(one.size), one, other).lower == wilson_interval(10, 10)[0]


def test_seeded():
    outcomes, people = np.arange(30) % 4 / 3, np.arange(30) // 3
    assert identity_bootstrap(outcomes, people, seed=1) == identity_bootstrap(outcomes, people, seed=1)
    assert identity_bootstrap(outcomes, people, seed=1) != identity_bootstrap(outcomes, people, seed=2)
    assert str(identity_bootstrap([1, 0, 0], ["a", "b", "c"])) == "0.333 [0, 1]"


def test_bad_input():
    vectors, ids = photographs()
    with pytest.raises(InputError, match="at least two, not 1"):
        identity_bootstrap([True, False], ["a", "a"])
    with pytest.raises(InputError, match="finite"):
        identity_bootstrap([0.1, np.nan], ["a", "b"])
    for weights in ([1.0, 0.0], [1.0, np.nan]):
        with pytest.raises(InputError, match="positive"):
            identity_bootstrap([1, 0], ["a", "b"], weights=weights)
    with pytest.raises(InputError, match="one weight a trial"):
        identity_bootstrap([1, 0], ["a", "b", "c"])
    with pytest.raises(InputError, match="one outcome a trial"):
        identity_bootstrap(np.ones((3, 2)), ["a", "b", "c"])
    with pytest.raises(InputError, match="100 replicates"):
        identity_bootstrap([1, 0], ["a", "b"], n_replicates=10)
    with pytest.raises(InputError, match="confidence"):
        identity_bootstrap([1, 0], ["a", "b"], confidence=1.0)
    with pytest.raises(InputError, match="too few people"):
        # Half of the draws hold one of the two twice, and leave no pair.
        identity_bootstrap([1, 0], ["a", "a"], ["b", "b"])
    with pytest.raises(InputError, match="threshold"):
        all_pairs_sums(vectors, ids, [])
    with pytest.raises(InputError, match="has two photographs"):
        all_pairs_sums(vectors[:3], [1, 2, 3], [0.5])
    with pytest.raises(InputError, match="the same people"):
        bootstrap_differences(person_sums([1, 0], ["a", "b"]), person_sums([1, 0, 1], ["a", "b", "c"]))
