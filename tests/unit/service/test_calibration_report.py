"""The report of a calibration: what was fitted, its costs and its bins with counts, and nothing that a name could break."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from facesearch.core.calibration import Calibration, CalibrationMethod
from facesearch.evaluation.calibration import CalibrationCheck, ReliabilityBin
from facesearch.evaluation.report import render_report
from facesearch.service.calibrate import CalibrationOutcome, HeldOutCheck
from facesearch.service.calibration_report import calibration_report

WHEN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
MADE = Calibration(
    *("fake@0", CalibrationMethod.LOGISTIC, (-1.0, 1.0), (-30.0, 14.0), 0.2, (-3.5, 5.25)),
    *(1234, 56789, 321, "abcd", "1,000 photographs in <b>office</b>", WHEN),
)
BINS = (ReliabilityBin(0.03, 0.01, 0, 1705, (0.0, 0.0625)), ReliabilityBin(0.97, 0.99, 60, 5))
CHECKS = (
    HeldOutCheck(CalibrationCheck(0.1416, 0.0062, 0.8356, 60, 1710), BINS),
    HeldOutCheck(CalibrationCheck(0.15, 0.007, 0.83, 61, 1711), BINS[::-1]),
)
OUTCOME = CalibrationOutcome(MADE, CHECKS, ("one & the same",))


def test_everything_is_in_the_page():
    html = render_report(calibration_report(OUTCOME, when=WHEN))
    for part in ("logistic", "0.2 of the same person", "1,234", "56,789", "321 people", "from -3.50 to 5.25", "2026-01-02"):
        assert part in html
    for part in (
        "0.1416 bits",
        "0.0062",
        "0.8356",
        "prior only 1",
        "Reliability diagram",
        "0.0000 to 0.0625",
        "1,705",
        "probability 0.5",
    ):
        assert part in html
    assert "<b>office" not in html
    assert "&lt;b&gt;office" in html
    assert "one &amp; the same" in html


def test_the_diagram_shows_stated_against_observed():
    _, held_out = calibration_report(OUTCOME, when=WHEN).sections
    (chart,) = held_out.charts
    dots = [one for one in chart.series if one.style == "dots"]
    assert [one.name for one in dots] == ["check 1", "check 2"]
    np.testing.assert_array_equal([dots[0].x, dots[0].y], [[0.03, 0.97], [0.01, 0.99]])
    thin = [one for one in chart.series if one.style == "thin"]
    assert len(thin) == 2
    np.testing.assert_array_equal(thin[0].y, [0.0, 0.0625, np.nan])
    assert len(held_out.tables) == 3
    assert held_out.tables[1].rows[1] == (0.97, 0.99, "", "60", "5")


def test_the_mapping_is_the_calibrations_and_shows_the_clamp():
    (chart,) = calibration_report(OUTCOME, when=WHEN).sections[0].charts
    beyond, stated = chart.series
    assert len(stated.x) > 100
    np.testing.assert_allclose(stated.y, [MADE.log_likelihood_ratio(score) for score in stated.x])
    assert (min(stated.y), max(stated.y)) == MADE.clamp
    is_shown = ~np.isnan(np.asarray(beyond.y))
    np.testing.assert_allclose(np.asarray(beyond.y)[is_shown], [MADE.unclamped(score) for score in np.asarray(beyond.x)[is_shown]])
    assert all(MADE.is_clamped(score) for score in np.asarray(beyond.x)[is_shown])
    (mark,) = chart.marks
    assert MADE.probability(mark.x) == pytest.approx(0.5, abs=0.02)
    assert chart.x.low <= min(stated.x)


def test_a_staircase_and_people_too_few_to_check_have_a_report_too():
    steps = replace(MADE, method=CalibrationMethod.ISOTONIC, knots=(0.1,), llrs=(0.0,), prior=0.5)
    report = calibration_report(CalibrationOutcome(steps, (), ("half of them are too few",)), when=WHEN)
    assert (len(report.sections), report.headlines) == (1, ())
    html = render_report(report)
    assert "half of them are too few" in html
    assert "Reliability" not in html
