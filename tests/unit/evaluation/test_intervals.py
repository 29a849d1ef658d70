from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.intervals import Rate, WeightedRate, percent, wilson_interval


def test_a_rate_prints_its_counts():
    assert str(Rate(2978, 3000)) == "99.27 % (2978/3000)"
    assert str(Rate(0, 3000)) == "0.00 % (0/3000)"
    assert str(Rate(3, 3000)) == "0.10 % (3/3000)"
    assert str(Rate(1, 45_140_155)) == "2.2e-06 % (1/45140155)"


def test_a_rate_as_plain_values():
    assert Rate(1, 4).as_dict() == {"rate": 0.25, "count": 1, "total": 4}


@pytest.mark.parametrize(("count", "total"), [(0, 0), (-1, 5), (6, 5)])
def test_counts_that_are_no_share_are_refused(count, total):
    with pytest.raises(InputError, match=str(total)):
        Rate(count, total)
    with pytest.raises(InputError):
        wilson_interval(count, total)


@pytest.mark.parametrize("confidence", [0.0, 1.0, math.nan])
def test_confidence_out_of_range(confidence):
    with pytest.raises(InputError, match="confidence"):
        wilson_interval(1, 2, confidence)


def test_wilson_interval_matches_published_values():
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20 and 1/29.
    for (count, total), (lower, upper) in {
        (81, 263): (0.2553, 0.3662),
        (15, 148): (0.0624, 0.1605),
        (0, 20): (0.0, 0.1611),
        (1, 29): (0.0061, 0.1718),
    }.items():
        assert wilson_interval(count, total) == pytest.approx((lower, upper), abs=5e-5)


@given(st.integers(1, 10_000).flatmap(lambda total: st.tuples(st.integers(0, total), st.just(total))))
def test_the_interval_holds_the_share_and_solves_the_score_equation(counts):
    count, total = counts
    lower, upper = wilson_interval(count, total)
    share = count / total
    assert 0.0 <= lower <= share <= upper <= 1.0
    z = 1.959963984540054
    for end in (lower, upper):
        if 0.0 < end < 1.0:
            assert abs(share - end) == pytest.approx(z * math.sqrt(end * (1 - end) / total), rel=1e-6, abs=1e-9)


@given(st.integers(0, 50))
def test_more_confidence_is_wider(count):
    narrow, wide = wilson_interval(count, 50, 0.8), wilson_interval(count, 50, 0.99)
    assert wide[0] <= narrow[0]
    assert narrow[1] <= wide[1]


def test_a_weighted_rate_prints_the_weighted_share_and_all_counts():
    rate = WeightedRate(0.00098, 17, 9000, 40)
    assert str(rate) == "0.098 % (17/9000 of 40 people)"
    assert str(rate.pooled) == "0.19 % (17/9000)"
    assert rate.as_dict() == {"rate": 0.00098, "count": 17, "total": 9000, "n_units": 40}
    assert str(WeightedRate(0.0, 0, 5, 3, "pairs of people")) == "0.00 % (0/5 of 3 pairs of people)"


@pytest.mark.parametrize(
    ("value", "count", "total", "n_units"), [(1.1, 1, 2, 2), (-0.1, 1, 2, 2), (0.5, 3, 2, 2), (0.5, 0, 0, 2), (0.5, 1, 2, 0)]
)
def test_weighted_shares_that_cannot_be(value, count, total, n_units):
    with pytest.raises(InputError):
        WeightedRate(value, count, total, n_units)


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.0, "0.00 %"), (0.9927, "99.27 %"), (0.001, "0.10 %"), (0.00098, "0.098 %"), (1e-5, "0.001 %"), (1.0, "100.00 %")],
)
def test_percentages_keep_two_digits(share, text):
    assert percent(share) == text
