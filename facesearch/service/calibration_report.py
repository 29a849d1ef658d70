"""A calibration laid out as a report: what was fitted, what it costs on people left out, and whether its probabilities hold.

It fits and checks nothing: see ``calibrate``.
"""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

from facesearch.core.calibration import Calibration
from facesearch.evaluation.charts import Axis, Chart, Mark, Series, Tone
from facesearch.evaluation.report import Headline, Report, Section, Table
from facesearch.service.calibrate import CalibrationOutcome, HeldOutCheck
from facesearch.service.report_charts import interval_lines

REMARKS = (
    "A log-likelihood ratio (natural logarithm) says how much likelier a score is of one person than of two; the probability "
    "follows from it and from the prior, which is a property of the use and not of the faces. Both hold for comparisons of one "
    "photograph with one other only.",
    "Cllr is the cost of log-likelihood ratios in bits a comparison: 0 is perfect, 1 is what never looking costs (Brümmer & du "
    "Preez 2006). The least possible is that of the best reading of these scores in hindsight: what the embedder alone loses.",
    "Every person, and every pair of people, weighs the same, and both kinds of comparisons are weighted to the prior. Photographs "
    "without a face have no score and are left out here, and here only.",
)

_TONES: tuple[Tone, Tone] = ("first", "second")
_N_PLACES = 801


def calibration_report(outcome: CalibrationOutcome, *, when: datetime) -> Report:
    """Return the report of a calibration; ``render_report`` makes a page of it.

    Args:
        outcome: What ``calibrate`` returned.
        when: Date of the report.
    """
    made = outcome.calibration
    facts = (
        ("date", when.strftime("%Y-%m-%d %H:%M %Z").strip()),
        ("measured on", made.source),
        ("embedder", made.embedder_id),
        ("data digest", made.data_digest),
        ("method", str(made.method)),
        ("prior", f"{made.prior:g} of the same person before the score is seen"),
        ("comparisons", f"{made.n_mated:,} of the same person, {made.n_non_mated:,} of different people; {made.n_people:,} people"),
        ("clamp", f"{_clamp(made)}, as far as the counts go"),
    )
    sections = [Section("What a score is worth", charts=(_mapping_chart(made),)), *_held_out(outcome)]
    return Report("Calibration", facts, _headlines(outcome), outcome.warnings, tuple(sections), REMARKS)


def _headlines(outcome: CalibrationOutcome) -> tuple[Headline, ...]:
    return tuple(
        Headline(
            f"Cllr on people left out ({number} of {len(outcome.held_out)})",
            f"{one.check.cllr:.4f} bits",
            f"least possible {one.check.min_cllr:.4f}, uncalibrated {one.check.uncalibrated:.4f}, prior only "
            f"{one.check.prior_only:g}; {one.check.n_mated:,} comparisons of the same person, "
            f"{one.check.n_non_mated:,} of different people",
        )
        for number, one in enumerate(outcome.held_out, start=1)
    )


def _held_out(outcome: CalibrationOutcome) -> list[Section]:
    if not outcome.held_out:
        return []
    costs = tuple(
        (
            number,
            one.check.cllr,
            one.check.min_cllr,
            one.check.uncalibrated,
            one.check.prior_only,
            f"{one.check.n_mated:,}",
            f"{one.check.n_non_mated:,}",
        )
        for number, one in enumerate(outcome.held_out, start=1)
    )
    columns = ("check", "Cllr", "least possible", "uncalibrated", "prior only", "same person", "different people")
    tables = [Table(columns, costs, "Cost in bits a comparison")]
    tables += [_bins_table(number, one) for number, one in enumerate(outcome.held_out, start=1)]
    text = "The people are drawn into two halves; a fit on each is checked on the other. What is stored is fitted on everybody."
    return [Section("On people left out", text, (_reliability_chart(outcome),), tuple(tables))]


def _bins_table(number: int, one: HeldOutCheck) -> Table:
    rows = tuple(
        (
            bin_.stated,
            bin_.observed,
            "" if bin_.interval is None else f"{bin_.interval[0]:.4f} to {bin_.interval[1]:.4f}",
            f"{bin_.n_mated:,}",
            f"{bin_.n_non_mated:,}",
        )
        for bin_ in one.bins
    )
    columns = ("stated probability", "observed share", "95 % interval", "same person", "different people")
    note = (
        "Shares are at the stated prior, every person weighing the same: they are not the ratio of the counts. Intervals by "
        "resampling people."
    )
    return Table(columns, rows, f"Check {number}: stated and observed", note)


def _reliability_chart(outcome: CalibrationOutcome) -> Chart:
    series = [Series("as stated", [0.0, 1.0], [0.0, 1.0], "muted", "dashed")]
    for number, (one, tone) in enumerate(zip(outcome.held_out, _TONES, strict=False), start=1):
        series += interval_lines([(bin_.stated, bin_.interval) for bin_ in one.bins], tone)
        stated, observed = [bin_.stated for bin_ in one.bins], [bin_.observed for bin_ in one.bins]
        series.append(Series(f"check {number}", stated, observed, tone, "dots"))
    note = (
        f"At a prior of {outcome.calibration.prior:g}. On the broken line a stated probability is what is observed; dots above it: "
        "stated too low, below: too high. Upright lines are 95 % intervals; counts are in the tables."
    )
    axes = Axis("stated probability of the same person", 0.0, 1.0), Axis("observed share", 0.0, 1.0)
    return Chart("Reliability diagram", *axes, tuple(series), note=note, is_wide=True)


def _mapping_chart(made: Calibration) -> Chart:
    least, greatest = made.clamp
    margin = 0.3 * (greatest - least)
    scores = np.linspace(-1.0, 1.0, _N_PLACES)
    stated = np.array([made.log_likelihood_ratio(score) for score in scores])
    fitted = np.array([made.unclamped(score) for score in scores])
    # Beyond the clamp the fit is drawn a little way only: how far it goes on is no evidence of anything.
    is_shown = (fitted >= least - margin) & (fitted <= greatest + margin) & (fitted != stated)
    turns = scores[(stated > least) & (stated < greatest)]
    low = math.floor((float(turns.min()) if turns.size else -0.5) * 10 - 2) / 10
    even = math.log((1.0 - made.prior) / made.prior)
    marks: tuple[Mark, ...] = ()
    if made.unclamped(-1.0) < even < made.unclamped(1.0) and least < even < greatest:
        marks = (Mark(float(scores[np.argmax(stated >= even)]), "probability 0.5"),)
    axes = (
        Axis("score", max(-1.0, low), 1.0),
        Axis("log-likelihood ratio (natural)", min(least - margin, -0.5), max(greatest + margin, 0.5)),
    )
    # What lies left of the axis would be drawn on its edge.
    kept = scores >= axes[0].low
    beyond = np.where(is_shown, fitted, np.nan)
    series = (
        Series("beyond what the counts support", scores[kept], beyond[kept], "muted", "dashed"),
        Series("stated", scores[kept], stated[kept], "first"),
    )
    note = f"Clamped to {_clamp(made)}: {made.n_people:,} people support no stronger statement."
    return Chart("Log-likelihood ratio of a score", *axes, series, marks, note, is_wide=True)


def _clamp(made: Calibration) -> str:
    return f"natural log-likelihood ratios from {made.clamp[0]:.2f} to {made.clamp[1]:.2f}"
