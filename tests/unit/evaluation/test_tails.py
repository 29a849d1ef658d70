"""Tails of strangers' scores: recovered where they are known, equal to counting where there is enough to count, else no number."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError, OperatingPointError
from facesearch.evaluation.tails import ParetoTail, fit_maxima_tail, fit_pareto_tail, independent_fmr, union_fmr

TAIL = ParetoTail(start=0.3, rate=1e-3, shape=-0.1, scale=0.04, n_above=1000, n_comparisons=1_000_000)


@given(st.floats(1e-6, 1.0), st.integers(1, 100_000))
def test_independence_asks_no_more_than_the_union_bound(fpir, n):
    assert union_fmr(fpir, n) <= independent_fmr(fpir, n) * (1 + 1e-12)
    assert 0 < independent_fmr(fpir, n) <= 1
    if fpir < 0.99:
        assert 1 - (1 - independent_fmr(fpir, n)) ** n == pytest.approx(fpir, rel=1e-3)


@pytest.mark.parametrize("shape", [-0.2, 0.0, 0.15])
def test_threshold_and_rate_undo_each_other(shape):
    tail = ParetoTail(0.3, 1e-3, shape, 0.04, 1000, 1_000_000)
    for fmr in (1e-3, 1e-4, 3e-6):
        assert tail.fmr(tail.threshold(fmr)) == pytest.approx(fmr, rel=1e-9)
    assert tail.threshold(1e-3) == pytest.approx(0.3)


def test_a_tail_that_ends_has_rate_zero_beyond_its_end():
    assert TAIL.fmr(0.3 + 0.04 / 0.1 + 0.01) == 0.0


def test_a_fit_recovers_a_known_tail():
    rng = np.random.default_rng(1)
    scores = np.clip(0.02 * rng.exponential(size=500_000), 0, 1)  # exponential: shape 0, whatever the quantile
    tail = fit_pareto_tail(scores, rate=1e-2)
    assert abs(tail.shape) < 0.06
    assert tail.scale == pytest.approx(0.02, rel=0.06)
    assert tail.start == pytest.approx(0.02 * math.log(100), rel=0.02)
    assert (tail.n_above, tail.n_comparisons) == (5000, 500_000)
    assert tail.threshold(1e-4) == pytest.approx(0.02 * math.log(1e4), rel=0.03)


def test_failures_to_acquire_stay_in_the_denominator():
    rng = np.random.default_rng(2)
    scores = rng.uniform(-1, 1, 10_000)
    with_failures = np.concatenate([scores, np.full(10_000, np.nan)])
    assert fit_pareto_tail(with_failures, rate=0.01).start < fit_pareto_tail(scores, rate=0.01).start


def test_beyond_the_evidence_there_is_a_bound_and_no_number():
    with pytest.raises(OperatingPointError, match="nothing below FMR 3e-06") as caught:
        TAIL.threshold(1e-6)
    assert caught.value.context["bound"] == 3e-6
    maxima = fit_maxima_tail(np.random.default_rng(3).normal(0, 0.1, (200, 60)), block=20)
    with pytest.raises(OperatingPointError, match=r"200 strangers support nothing below FPIR 0\.015"):
        maxima.threshold(1e-2, 50)


def test_above_the_tail_counting_answers():
    with pytest.raises(InputError, match="count instead"):
        TAIL.threshold(1e-2)
    for threshold in (0.29, math.nan):
        with pytest.raises(InputError, match="begins at"):
            TAIL.fmr(threshold)


def test_maxima_scale_with_the_number_of_templates():
    rng = np.random.default_rng(4)
    maxima = fit_maxima_tail(0.05 * rng.gumbel(size=(3000, 100)), block=50)
    for n in (50, 400):  # the best of n Gumbel scores exceeds 0.05 · (ln n − ln(−ln(1 − p))) with probability p
        assert maxima.threshold(0.05, n) == pytest.approx(0.05 * (math.log(n) - math.log(-math.log(0.95))), rel=0.05)


@pytest.mark.parametrize(
    ("scores", "rate"),
    [(np.zeros(0), 0.1), (np.linspace(0, 1, 100), 0.1), (np.array([np.inf] * 1000), 0.5), (np.ones(1000), 0.5), (np.ones(10), 0.0)],
    ids=["none", "few", "infinite", "all equal", "no share"],
)
def test_too_little_for_a_fit_is_refused(scores, rate):
    with pytest.raises(InputError):
        fit_pareto_tail(scores, rate=rate)


def test_maxima_need_strangers_and_scores():
    table = np.random.default_rng(5).normal(size=(60, 10))
    with pytest.raises(InputError, match="at least 50"):
        fit_maxima_tail(table[:10], block=5)
    table[3, 2:] = np.nan
    with pytest.raises(InputError, match="stranger 3 has 2 scores"):
        fit_maxima_tail(table, block=5)


@pytest.mark.parametrize("n", [0, -1])
def test_a_search_compares_with_something(n):
    with pytest.raises(InputError, match="at least one template"):
        union_fmr(0.1, n)
