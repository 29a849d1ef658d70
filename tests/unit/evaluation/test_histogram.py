from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from facesearch.core.errors import InputError
from facesearch.evaluation.histogram import ScoreHistogram

scores_32 = arrays.arrays(np.float32, st.integers(1, 60), elements=st.floats(-1, 1, width=32))
rates = st.floats(1e-4, 1.0)


def histogram_of(scores, weights=None, bits=6):
    held = ScoreHistogram(bits)
    held.add(scores, weights)
    return held


def weights_for(scores, seed=3):
    return np.random.default_rng(seed).uniform(0.1, 2.0, len(scores))


@given(scores_32)
def test_counts_at_every_edge_are_those_of_a_loop(scores):
    held = histogram_of(scores)
    assert held.edges.size == 65
    for edge in held.edges:
        assert held.count_at_or_above(float(edge)) == sum(float(score) >= edge for score in scores)


@given(scores_32, rates)
def test_threshold_is_the_smallest_edge_that_keeps_the_rate(scores, rate):
    weights = weights_for(scores)
    held = histogram_of(scores, weights)
    threshold = held.threshold_for(rate)
    share = sum(weight for score, weight in zip(scores.tolist(), weights, strict=True) if score >= threshold) / weights.sum()
    assert share <= rate * (1 + 1e-9)
    lower = [edge for edge in held.edges if edge < threshold]
    if lower:
        passed = sum(weight for score, weight in zip(scores.tolist(), weights, strict=True) if score >= max(lower)) / weights.sum()
        assert passed > rate * (1 - 1e-9)


@given(scores_32, rates)
def test_at_most_one_bin_above_the_exact_threshold(scores, rate):
    held = histogram_of(scores, bits=10)
    exact = np.sort(scores)[::-1]
    allowed = math.floor(rate * scores.size * (1 + 1e-12))
    least = float(np.nextafter(exact[allowed], np.float32(2))) if allowed < scores.size else -1.0
    assert least <= held.threshold_for(rate, weighted=False) + 1e-12
    assert held.threshold_for(rate, weighted=False) <= max(least, -1.0) + held.width


@given(scores_32)
def test_shares_never_rise_and_end_at_nothing(scores):
    held = histogram_of(scores, weights_for(scores))
    for weighted in (True, False):
        shares = held.shares(weighted=weighted)
        assert shares.size == held.edges.size + 1
        assert (np.diff(shares) <= 1e-15).all()
        assert shares[0] == pytest.approx(1.0)
        assert shares[-1] == 0.0


@given(scores_32, scores_32)
def test_merging_is_adding_everything(one, other):
    both = histogram_of(np.concatenate([one, other]), weights_for(np.concatenate([one, other])))
    weights = weights_for(np.concatenate([one, other]))
    merged = histogram_of(one, weights[: len(one)])
    merged.merge(histogram_of(other, weights[len(one) :]))
    assert (merged.counts == both.counts).all()
    assert merged.weights == pytest.approx(both.weights)


def test_a_score_just_below_an_edge_is_below_it_in_float32():
    # Adding 1 first would round this score onto 0 in float32.
    just_below = np.float32(-1e-9)
    held = histogram_of([just_below], bits=16)
    assert held.count_at_or_above(0.0) == 0
    assert histogram_of(np.array([0.0], np.float32), bits=16).count_at_or_above(0.0) == 1


def test_failures_stay_in_the_denominators_and_never_match():
    held = histogram_of([0.5, 0.1], [3.0, 1.0])
    held.add_failures(2, 4.0)
    assert (held.total, held.total_weight) == (4, 8.0)
    assert held.share_at_or_above(-1.0) == 0.5
    assert held.share_at_or_above(0.3) == pytest.approx(3 / 8)
    assert held.share_at_or_above(0.3, weighted=False) == 0.25
    assert held.threshold_for(0.5) == -1.0


def test_identical_photographs_leave_only_a_threshold_above_one():
    held = histogram_of([1.0, 1.0, 0.2])
    assert held.threshold_for(0.1) == 1.0 + held.width
    assert held.count_at_or_above(held.threshold_for(0.1)) == 0
    assert held.threshold_for(0.7) < 1.0


def test_rounding_beyond_one_is_one():
    held = histogram_of(np.array([1.0000001, -1.0000001], np.float32))
    assert held.counts[-1] == 1
    assert held.counts[0] == 1


def test_thresholds_beyond_the_scale():
    held = histogram_of([0.5])
    assert held.count_at_or_above(math.inf) == 0
    assert held.count_at_or_above(-math.inf) == 1
    assert held.count_at_or_above(1.5) == 0


def test_the_threshold_that_the_nth_reaches():
    held = histogram_of([0.9, 0.5, 0.5, 0.1], bits=16)
    for n, score in ((1, 0.9), (2, 0.5), (3, 0.5), (4, 0.1)):
        threshold = held.threshold_of_nth(n)
        assert score - held.width < threshold <= score
        assert held.count_at_or_above(threshold) >= n
    assert held.threshold_of_nth(5) is None


def test_exact_rate_is_kept_despite_floats():
    held = histogram_of(np.arange(3000) / 3000, bits=16)
    assert held.count_at_or_above(held.threshold_for(1e-3)) == 3
    # In floats 0.1 + 0.1 + 0.1 is more than 0.3.
    weighted = histogram_of([0.9, 0.8, 0.7, 0.1], [0.1, 0.1, 0.1, 0.7])
    assert weighted.count_at_or_above(weighted.threshold_for(0.3)) == 3


@pytest.mark.parametrize("scores", [[math.nan], [math.inf], [1.1], [-1.5], [0.1, math.nan]])
def test_scores_that_are_none_are_refused_and_nothing_counted(scores):
    held = ScoreHistogram(6)
    with pytest.raises(InputError, match=r"\[-1, 1\] without NaN"):
        held.add(scores)
    assert held.total == 0


def test_other_bad_input():
    held = ScoreHistogram(6)
    held.add([])
    with pytest.raises(InputError, match="no comparison"):
        held.threshold_for(0.1)
    with pytest.raises(InputError, match="one weight a score"):
        held.add([0.1, 0.2], [1.0])
    for weight in (-1.0, math.nan, math.inf):
        with pytest.raises(InputError, match="weights are finite"):
            held.add([0.1], [weight])
    held.add([0.1])
    for rate in (0.0, -1.0, 1.5, math.nan):
        with pytest.raises(InputError, match="rate"):
            held.threshold_for(rate)
    with pytest.raises(InputError, match="NaN"):
        held.count_at_or_above(math.nan)
    with pytest.raises(InputError, match="merged"):
        held.merge(ScoreHistogram(7))
    with pytest.raises(InputError, match=r"2\*\*"):
        ScoreHistogram(0)
    with pytest.raises(InputError, match="failures"):
        held.add_failures(-1)
