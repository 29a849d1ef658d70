"""Operating points, verification and identification: arithmetic on scores."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.decision import Candidate, Identification, OperatingPoint, OperatingPoints, Reason, Verification
from facesearch.core.errors import IncompatibleTemplatesError, InputError, OperatingPointError
from tests.world import EMBEDDER, POINTS, face_at


def candidate(rank: int, score: float, identity_id: int | None = None) -> Candidate:
    return Candidate(rank, identity_id or rank, f"person {rank}", rank, score)


def test_measured_points_are_returned_as_they_are():
    for point in POINTS:
        assert POINTS.at_fmr(point.fmr) == point
    assert len(tuple(POINTS)) == 5


def test_threshold_between_points_is_linear_in_log_fmr():
    middle = POINTS.at_fmr(math.sqrt(1e-3 * 1e-4))
    assert middle.threshold == pytest.approx((0.37 + 0.43) / 2)
    assert middle.is_supported


def test_looser_than_the_loosest_gets_the_loosest():
    assert POINTS.at_fmr(0.5).threshold == 0.30


def test_tighter_than_the_evidence_gets_the_tightest_and_says_so():
    point = POINTS.at_fmr(1e-7)
    assert (point.threshold, point.fmr, point.is_supported) == (0.55, 1e-6, False)


def test_the_fpir_threshold_is_that_of_the_union_bound():
    assert POINTS.at_fpir(1e-2, 100).threshold == POINTS.at_fmr(1e-4).threshold
    assert POINTS.at_fpir(1e-2, 1).threshold == POINTS.at_fmr(1e-2).threshold
    assert POINTS.at_fpir(1e-2, 0).threshold == POINTS.at_fmr(1e-2).threshold
    assert POINTS.at_fpir(1e-2, 10_000).is_supported
    assert not POINTS.at_fpir(1e-2, 10_001).is_supported


@given(st.floats(1e-9, 1.0), st.floats(1e-9, 1.0))
def test_a_tighter_rate_never_lowers_the_threshold(a: float, b: float):
    loose, tight = max(a, b), min(a, b)
    assert POINTS.at_fmr(tight).threshold >= POINTS.at_fmr(loose).threshold


@pytest.mark.parametrize("rate", [0.0, -1e-3, 1.5, math.nan, math.inf])
def test_rates_out_of_range_are_refused(rate: float):
    with pytest.raises(InputError, match="FMR"):
        POINTS.at_fmr(rate)
    with pytest.raises(InputError, match="FPIR"):
        POINTS.at_fpir(rate, 10)


def test_points_must_rise_and_be_of_one_embedder():
    loose, tight = OperatingPoint(0.5, 1e-2, EMBEDDER, 1), OperatingPoint(0.4, 1e-3, EMBEDDER, 1)
    with pytest.raises(OperatingPointError, match="must rise"):
        OperatingPoints((loose, tight))
    with pytest.raises(IncompatibleTemplatesError):
        OperatingPoints((loose, OperatingPoint(0.6, 1e-3, "other@111111111111", 1)))
    with pytest.raises(OperatingPointError, match="cannot decide"):
        OperatingPoints(())


def test_points_are_sorted():
    assert [point.fmr for point in OperatingPoints(tuple(reversed(POINTS.points)))] == [1e-2, 1e-3, 1e-4, 1e-5, 1e-6]


@pytest.mark.parametrize("threshold", [math.nan, 1.2, -1.2])
def test_a_threshold_is_a_cosine(threshold: float):
    with pytest.raises(InputError, match="threshold"):
        OperatingPoint(threshold, 1e-3, EMBEDDER, 1)


def test_a_score_equal_to_the_threshold_is_a_match():
    point = POINTS.at_fmr(1e-4)
    assert Verification(point.threshold, point).is_match
    assert not Verification(np.nextafter(point.threshold, -1.0), point).is_match


def test_verification_carries_both_measures():
    answer = Verification(0.5, POINTS.at_fmr(1e-4))
    assert answer.squared_distance == pytest.approx(1.0)
    assert (answer.reason, answer.threshold) == (Reason.MATCH, 0.43)
    assert Verification(0.1, POINTS.at_fmr(1e-4)).reason is Reason.BELOW_THRESHOLD


def test_identification_takes_the_top_candidate_or_nobody():
    point = POINTS.at_fmr(1e-4)
    known = Identification(face_at(0, 0, 10), (candidate(1, 0.9), candidate(2, 0.8)), point, 1e-2, 100)
    assert (known.label, known.is_match, known.reason) == ("person 1", True, Reason.MATCH)
    unknown = Identification(face_at(0, 0, 10), (candidate(1, 0.42),), point, 1e-2, 100)
    assert (unknown.label, unknown.match, unknown.reason) == (None, None, Reason.BELOW_THRESHOLD)
    empty = Identification(face_at(0, 0, 10), (), point, 1e-2, 0)
    assert (empty.is_match, empty.reason) == (False, Reason.EMPTY_GALLERY)


@pytest.mark.parametrize(
    "candidates",
    [
        (candidate(1, 0.5), candidate(2, 0.6)),
        (candidate(2, 0.5),),
        (candidate(1, 0.6, identity_id=7), candidate(2, 0.5, identity_id=7)),
    ],
    ids=["rising scores", "rank from 2", "one person twice"],
)
def test_candidates_out_of_order_are_refused(candidates: tuple[Candidate, ...]):
    with pytest.raises(InputError):
        Identification(face_at(0, 0, 10), candidates, POINTS.at_fmr(1e-4), 1e-2, 100)
