"""The value ``Quality``: its score, its reasons, the gates."""

from __future__ import annotations

import math
from dataclasses import fields, replace

import pytest

from facesearch.core.errors import InputError
from facesearch.core.quality import GATE_LIMITS, SCORE_WEIGHTS, Quality, QualityGate, QualityReason, checked_gate

GOOD = Quality(
    face_px=93.0,
    detail_px=46.0,
    acuity=17.0,
    sharpness=0.12,
    yaw=0.1,
    pitch=0.03,
    roll=-1.0,
    brightness=0.5,
    dark_share=0.0,
    bright_share=0.0,
    visible=0.5,
    detection_score=0.9999,
)
"""About the median of LFW."""

WORSE = {
    QualityReason.TOO_SMALL: {"face_px": 10.0, "detail_px": 10.0},
    QualityReason.BLURRED: {"acuity": 4.0},
    QualityReason.TURNED_AWAY: {"yaw": -1.8},
    QualityReason.TOO_DARK: {"brightness": 0.01, "dark_share": 1.0},
    QualityReason.TOO_BRIGHT: {"bright_share": 0.9},
    QualityReason.OCCLUDED: {"visible": 0.02},
    QualityReason.WEAK_DETECTION: {"detection_score": 0.8},
}


def test_an_ordinary_face_passes_every_gate():
    assert GOOD.reasons == ()
    assert [GOOD.shortfalls(gate) for gate in QualityGate] == [(), (), ()]
    assert GOOD.score > 0.9


def test_every_reason_has_an_example():
    assert set(WORSE) == set(QualityReason)


@pytest.mark.parametrize("reason", QualityReason)
def test_each_fault_is_named_alone_and_lowers_the_score(reason):
    poor = replace(GOOD, **WORSE[reason])
    assert poor.reasons == (reason,)
    if reason is QualityReason.TOO_SMALL:
        poor = replace(poor, acuity=poor.detail_px / 2)  # so few pixels hold no more periods, and only so the score knows them
    assert poor.score < GOOD.score
    assert 0.0 <= poor.score <= 1.0
    assert poor.shortfalls(QualityGate.OFF) == ()


@pytest.mark.parametrize("reason", QualityReason)
def test_strict_demands_at_least_what_standard_does(reason):
    standard = {limit.measure: limit for limit in GATE_LIMITS[QualityGate.STANDARD] if limit.reason is reason}
    strict = {limit.measure: limit for limit in GATE_LIMITS[QualityGate.STRICT] if limit.reason is reason}
    assert standard
    assert set(standard) == set(strict)
    for measure, limit in standard.items():
        tighter = strict[measure].needed
        assert tighter < limit.needed if limit.is_ceiling else tighter > limit.needed


@pytest.mark.parametrize("gate", [QualityGate.STANDARD, QualityGate.STRICT])
def test_a_face_on_the_limit_passes_and_one_beyond_does_not(gate):
    limits = GATE_LIMITS[gate]
    assert len(limits) >= 7
    for limit in limits:
        beyond = math.nextafter(limit.needed, math.inf if limit.is_ceiling else -math.inf)
        assert replace(GOOD, **{limit.measure: limit.needed}).shortfalls(gate) == ()
        missing = replace(GOOD, **{limit.measure: beyond}).shortfalls(gate)
        assert [(one.reason, one.measure, one.needed) for one in missing] == [(limit.reason, limit.measure, limit.needed)]


def test_a_turn_counts_alike_to_both_sides():
    assert replace(GOOD, yaw=1.8).reasons == replace(GOOD, yaw=-1.8).reasons == (QualityReason.TURNED_AWAY,)


def test_a_shortfall_says_both_values():
    one = replace(GOOD, acuity=4.0).shortfalls(QualityGate.STANDARD)[0]
    assert str(one) == "blurred: acuity 4, at least 5.5 needed"
    assert one.as_dict() == {"reason": "blurred", "measure": "acuity", "measured": 4.0, "needed": 5.5, "is_ceiling": False}
    other = replace(GOOD, bright_share=0.9).shortfalls(QualityGate.STANDARD)[0]
    assert str(other) == "too_bright: bright_share 0.9, at most 0.7 needed"


def test_figures_are_the_score_and_every_measure():
    figures = GOOD.figures()
    assert list(figures) == ["score", *(one.name for one in fields(Quality))]
    assert figures["score"] == round(GOOD.score, 4)
    assert all(isinstance(value, float) for value in figures.values())


@pytest.mark.parametrize(("extreme", "share"), [(0.0, 0.0), (0.0, 1.0), (1e9, 0.0), (1e9, 1.0)])
def test_the_score_stays_a_share_whatever_is_measured(extreme, share):
    odd = Quality(*[extreme] * 7, brightness=share, dark_share=share, bright_share=share, visible=extreme, detection_score=share)
    assert 0.0 <= odd.score <= 1.0
    assert len(odd.terms()) == len(SCORE_WEIGHTS)
    assert all(map(math.isfinite, odd.terms()))


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_figures_are_finite(value):
    with pytest.raises(InputError, match="acuity"):
        replace(GOOD, acuity=value)


@pytest.mark.parametrize("name", ["brightness", "dark_share", "bright_share", "detection_score"])
def test_shares_are_shares(name):
    with pytest.raises(InputError, match=rf"{name} is 1\.01; it lies in \[0, 1\]"):
        replace(GOOD, **{name: 1.01})


def test_gates_by_name():
    assert checked_gate(None) is None
    assert checked_gate("strict") is QualityGate.STRICT
    assert checked_gate(QualityGate.OFF) is QualityGate.OFF
    with pytest.raises(InputError, match="off, standard, strict, not 'lax'"):
        checked_gate("lax")
