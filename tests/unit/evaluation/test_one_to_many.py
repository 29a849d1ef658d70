from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.intervals import Rate
from facesearch.evaluation.one_to_many import SearchTrials, open_set_result

NAN = math.nan

# (top score, enrolled, best candidate right)
search = st.tuples(st.one_of(st.integers(-4, 4).map(lambda step: step / 4), st.just(NAN)), st.booleans(), st.booleans()).map(
    lambda one: (one[0], one[1], one[1] and one[2])
)


def trials_of(searches):
    return SearchTrials(*(list(column) for column in zip(*searches, strict=True)))


@given(st.lists(st.tuples(search, st.integers(-4, 4)), min_size=1, max_size=40))
def test_against_a_loop_over_searches(cases):
    searches, thresholds = [case[0] for case in cases], [case[1] / 4 for case in cases]
    false_positives = misses = misidentified = strangers = enrolled = 0
    for (score, is_enrolled, is_right), threshold in zip(searches, thresholds, strict=True):
        is_somebody = not math.isnan(score) and score >= threshold
        if is_enrolled:
            enrolled += 1
            misses += not (is_somebody and is_right)
            misidentified += is_somebody and not is_right
        else:
            strangers += 1
            false_positives += is_somebody
    result = open_set_result(trials_of(searches), thresholds)
    assert result.fpir == (Rate(false_positives, strangers) if strangers else None)
    assert result.fnir == (Rate(misses, enrolled) if enrolled else None)
    assert result.n_misidentified == misidentified
    assert result.n_failures == sum(math.isnan(score) for score, _, _ in searches)


@given(st.lists(search, min_size=1, max_size=40), st.floats(-1, 1), st.floats(-1, 1))
def test_fpir_never_rises_and_fnir_never_falls_with_the_threshold(searches, one, other):
    low, high = (open_set_result(trials_of(searches), threshold) for threshold in sorted((one, other)))
    if low.fpir is not None:
        assert high.fpir.count <= low.fpir.count
    if low.fnir is not None:
        assert high.fnir.count >= low.fnir.count


def test_failures_are_counted():
    result = open_set_result(SearchTrials([NAN, NAN, 0.9, 0.9], [True, False, True, False], [False, False, True, False]), 0.5)
    assert str(result) == "FPIR 50.00 % (1/2), FNIR 50.00 % (1/2)"
    assert result.as_dict() == {
        "fpir": {"rate": 0.5, "count": 1, "total": 2},
        "fnir": {"rate": 0.5, "count": 1, "total": 2},
        "n_misidentified": 0,
        "n_failures": 2,
    }


def test_only_strangers():
    result = open_set_result(SearchTrials([0.1], [False], [False]), 0.5)
    assert str(result) == "FPIR 0.00 % (0/1), FNIR not measured"
    assert result.as_dict()["fnir"] is None


def test_malformed_searches_and_thresholds():
    with pytest.raises(InputError, match="not enrolled"):
        SearchTrials([0.1], [False], [True])
    trials = SearchTrials([0.1, 0.2], [True, False], [True, False])
    assert len(trials) == 2
    for thresholds in ([0.1], [[0.1, 0.2]], NAN):
        with pytest.raises(InputError, match="thresholds"):
            open_set_result(trials, thresholds)
