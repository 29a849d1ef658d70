from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.evidence import Evidence, RateBound, SupportedRate, rate_text


def test_six_hundred_comparisons():
    answer = Evidence(600, 0).answer(1e-4)
    assert isinstance(answer, RateBound)
    assert str(answer) == "600 comparisons support nothing below 5e-3"
    assert answer.bound == pytest.approx(5e-3)


def test_three_expected_false_matches_are_enough_where_people_are_not_known():
    assert Evidence(3000, 3).supports(1e-3)
    assert not Evidence(2999, 3).supports(1e-3)
    assert isinstance(Evidence(3000, 3).answer(1e-3), SupportedRate)


def test_false_matches_of_few_people_are_no_rate():
    spread = Evidence(1_000_000, 1000, 10, 500, spread_floor=4e-4)
    assert spread.supports(1e-3)
    twins = Evidence(1_000_000, 1000, 9, 500, spread_floor=2.31e-3)
    answer = twins.answer(1e-3)
    assert isinstance(answer, RateBound)
    assert answer.bound == 2.31e-3
    assert str(answer) == (
        "false matches at FMR 1e-3 (1000) fall on fewer than 10 pairs of people (9): "
        "1000000 comparisons support nothing below 2.4e-3"
    )


def test_without_ten_pairs_of_people_at_any_threshold_the_bound_is_what_ten_would_need():
    assert Evidence(100_000, 50, 4).bound == pytest.approx(1e-4)
    assert Evidence(8, 3, 3).bound == 1.0


def test_the_bound_lies_above_a_rate_that_is_refused():
    few = Evidence(2400, 240, 6, 4)
    assert few.answer(0.001).bound == pytest.approx(10 / 2400)
    answer = few.answer(0.1)
    assert answer.bound == 1.0
    assert str(answer) == (
        "false matches at FMR 1e-1 (240) fall on fewer than 10 pairs of people (6): 2400 comparisons support no FMR at all"
    )


def test_nothing_at_all():
    answer = Evidence(0, 0).answer(0.5)
    assert not answer.is_supported
    assert str(answer) == "0 comparisons support no FMR at all"
    assert Evidence(0, 0).bound == 1.0


@given(st.integers(1, 10**9), st.floats(1e-9, 1.0))
def test_a_supported_rate_is_never_below_the_bound_and_looser_rates_stay_supported(n, rate):
    evidence = Evidence(n, 0)
    if evidence.supports(rate):
        assert rate >= evidence.bound * (1 - 1e-6)
        assert evidence.supports(min(1.0, rate * 2))
    else:
        assert rate <= evidence.bound


@given(st.floats(1e-9, 0.999))
def test_rates_in_words_round_up(rate):
    assert float(rate_text(rate)) >= rate * (1 - 1e-5)
    assert float(rate_text(rate)) <= rate * 1.11


@pytest.mark.parametrize(
    ("rate", "text"),
    [(5e-3, "5e-3"), (3 / 700, "4.3e-3"), (1e-4, "1e-4"), (0.0999, "1e-1"), (1.0, "1"), (0.996, "1"), (0.3, "3e-1")],
)
def test_rates_in_words(rate, text):
    assert rate_text(rate) == text


def test_counts_that_cannot_be():
    with pytest.raises(InputError, match="cannot be false"):
        Evidence(3, 4)
    with pytest.raises(InputError, match="cannot be spread"):
        Evidence(100, 4, 5)
    for rate in (0.0, 1.5):
        with pytest.raises(InputError, match="FPIR"):
            Evidence(100, 4, what="FPIR").supports(rate)
