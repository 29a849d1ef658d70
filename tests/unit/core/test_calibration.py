"""A calibration's reading of scores: linear or a staircase, clamped, and a probability only with a prior."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.calibration import Calibration, CalibrationMethod, sigmoid
from facesearch.core.decision import OperatingPoint, Reason, Verification
from facesearch.core.errors import IncompatibleTemplatesError, InputError

WHEN = datetime(2026, 1, 2, tzinfo=UTC)
LINE = Calibration(
    "toy@1", CalibrationMethod.LOGISTIC, (-1.0, 1.0), (-20.0, 12.0), 0.5, (-5.0, 9.0), 100, 9000, 60, "", "toy", WHEN
)
STAIRS = replace(LINE, method=CalibrationMethod.ISOTONIC, knots=(-0.5, 0.2, 0.6), llrs=(-4.0, 1.0, 8.0))


def test_a_line_is_linear_between_its_ends():
    assert LINE.unclamped(0.0) == -4.0
    assert LINE.unclamped(0.25) == pytest.approx(0.0)
    assert (LINE.unclamped(-1.0), LINE.unclamped(1.0)) == (-20.0, 12.0)


def test_a_staircase_takes_the_step_at_or_below():
    assert [STAIRS.unclamped(score) for score in (-1.0, -0.5, 0.1999, 0.2, 0.59, 0.6, 1.0)] == [-4, -4, -4, 1, 1, 8, 8]


def test_the_clamp_holds_and_is_told():
    assert (LINE.log_likelihood_ratio(1.0), LINE.is_clamped(1.0)) == (9.0, True)
    assert (LINE.log_likelihood_ratio(-0.5), LINE.is_clamped(-0.5)) == (-5.0, True)
    assert (LINE.log_likelihood_ratio(0.5), LINE.is_clamped(0.5)) == (pytest.approx(4.0), False)


def test_a_probability_is_bayes_rule():
    odds = math.exp(LINE.log_likelihood_ratio(0.5)) * 0.001 / 0.999
    assert LINE.probability(0.5, prior=0.001) == pytest.approx(odds / (1 + odds))
    assert LINE.probability(0.25) == pytest.approx(0.5)


@given(st.floats(-1, 1), st.floats(-1, 1), st.floats(0.001, 0.999))
def test_more_alike_is_never_less_probable(one, other, prior):
    low, high = sorted((one, other))
    for calibration in (LINE, STAIRS):
        assert calibration.probability(low, prior) <= calibration.probability(high, prior)
        assert 0.0 < calibration.probability(low, prior) < 1.0


def test_a_sigmoid_does_not_overflow():
    assert (sigmoid(-1e4), sigmoid(1e4), sigmoid(0.0)) == (0.0, 1.0, 0.5)


@pytest.mark.parametrize("score", [math.nan, math.inf, 1.5, -1.01])
def test_no_cosine_no_ratio(score):
    with pytest.raises(InputError, match="cosine similarity"):
        LINE.log_likelihood_ratio(score)


@pytest.mark.parametrize(
    "changes",
    [
        {"prior": 0.0},
        {"prior": 1.0},
        {"prior": math.nan},
        {"knots": (), "llrs": ()},
        {"knots": (1.0, -1.0)},
        {"llrs": (3.0, -3.0)},
        {"llrs": (-3.0, math.inf)},
        {"llrs": (-3.0,)},
        {"clamp": (1.0, -1.0)},
        {"clamp": (-1.0, math.nan)},
    ],
    ids=str,
)
def test_a_calibration_that_means_nothing_is_refused(changes):
    with pytest.raises(InputError):
        replace(LINE, **changes)


def test_an_answer_has_a_probability_only_with_a_calibration_of_its_embedder():
    point = OperatingPoint(0.4, 1e-4, "toy@1", 1000)
    plain = Verification(0.5, point)
    assert (plain.probability, plain.log_likelihood_ratio, plain.is_llr_clamped) == (None, None, None)
    told = Verification(0.5, point, calibration=LINE)
    assert told.probability == LINE.probability(0.5)
    assert (told.log_likelihood_ratio, told.is_llr_clamped) == (LINE.log_likelihood_ratio(0.5), False)
    with pytest.raises(IncompatibleTemplatesError, match="toy@2"):
        Verification(0.5, point, calibration=replace(LINE, embedder_id="toy@2"))


def test_floors_and_rejections_only_take_matches_away():
    point = OperatingPoint(0.4, 1e-4, "toy@1", 1000)
    assert Verification(0.5, point, floor=0.3).threshold == 0.4
    assert Verification(0.5, point, floor=0.3).is_match
    assert not Verification(0.5, point, floor=0.5).is_match
    assert Verification(math.nextafter(0.5, 1), point, floor=0.5).is_match
    rejected = Verification(0.9, point, is_rejected=True)
    assert (rejected.is_match, rejected.reason) == (False, Reason.REJECTED)
