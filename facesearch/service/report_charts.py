"""The charts of a report: score histograms, both errors over the threshold, DET, FNIR over FPIR, and error-versus-reject.

It lays out what was measured and computes no rate of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from facesearch.evaluation.charts import Axis, Chart, Mark, Series, Tone, histogram_series
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.one_to_many import OpenSetPoint, open_set_curve
from facesearch.evaluation.one_to_one import error_curve
from facesearch.evaluation.searches import SearchTrials
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.evaluate_people import PeopleEvaluation
from facesearch.service.evaluate_quality import QualityCurve

N_BINS = 128
"""Bars of a histogram of scores."""

Floats = NDArray[np.float64]


def rate_text(rate: float | None) -> str:
    """Return a rate as short as it goes: ``0.01``, ``1e-4``; nothing for None."""
    if rate is None:
        return ""
    if rate >= 1e-3:
        return f"{rate:g}"
    digits, power = f"{rate:.2e}".split("e")
    return f"{float(digits):g}e{int(power)}"


def all_pairs_charts(people: PeopleEvaluation) -> tuple[Chart, ...]:
    """Return histograms, errors over the threshold and DET of all pairs, every person weighing the same."""
    pairs = people.pairs
    edges = np.append(pairs.mated.edges, math.nextafter(1.0, 2.0))
    fmr, fnmr = pairs.non_mated.shares(), 1.0 - pairs.mated.shares()
    marks = _marks([(point.fmr, point.threshold) for point in people.points])
    bound = people.points[-1].evidence.bound
    dots = [(point.false_matches.value, 1.0 - point.tar.value) for point in people.points if point.false_matches.value > 0]
    return (
        _histograms(_coarse(pairs.mated), _coarse(pairs.non_mated), marks),
        _errors(edges, fmr, fnmr, marks, bound),
        _det(fmr, fnmr, dots, bound),
    )


def trials_charts(trials: VerificationTrials, thresholds: Sequence[tuple[float, float]]) -> tuple[Chart, ...]:
    """Return the same charts of a list of pairs.

    Args:
        trials: The pairs.
        thresholds: FMR and threshold of the operating points.
    """
    curve = error_curve(trials)
    marks = _marks(thresholds)
    bins = np.linspace(-1.0, 1.0, N_BINS + 1)
    mated, non_mated = (np.histogram(scores, bins)[0] for scores in (trials.mated_scores(), trials.non_mated_scores()))
    bound = min(1.0, 3 / trials.n_non_mated)
    places = [int(np.searchsorted(curve.thresholds, cut)) for _, cut in thresholds]
    dots = [
        (float(curve.fmr[place]), float(curve.fnmr[place])) for place in places if place < curve.fmr.size and curve.fmr[place] > 0
    ]
    return (
        _histograms(mated.astype(np.float64), non_mated.astype(np.float64), marks),
        _errors(curve.thresholds, curve.fmr, curve.fnmr, marks, bound),
        _det(curve.fmr, curve.fnmr, dots, bound),
    )


def open_set_charts(trials: SearchTrials, points: Sequence[OpenSetPoint]) -> tuple[Chart, ...]:
    """Return FNIR over FPIR, and histograms of the best scores of enrolled people and of strangers."""
    curve = open_set_curve(trials)
    n_strangers = int((~trials.is_enrolled).sum())
    floor = _floor_of(np.array([1.0 / n_strangers]))
    low = _floor_of(curve.fnir)
    dots = [(point.false_positives.value, point.fnir.value) for point in points if point.false_positives.value > 0]
    kept = curve.fpir > 0
    trade = Chart(
        "FNIR over FPIR",
        Axis("FPIR: strangers returned as somebody", floor, 1.0, is_log=True),
        Axis("FNIR: enrolled people not found", low, 1.0, is_log=True),
        (
            Series("all thresholds", curve.fpir[kept], curve.fnir[kept], "first"),
            Series("reported points", [x for x, _ in dots], [y for _, y in dots], "second", "dots"),
        ),
        note=f"Nearer the lower left corner is better. {n_strangers:,} searches for strangers.",
    )
    bins = np.linspace(-1.0, 1.0, N_BINS + 1)
    right = trials.top_scores[trials.is_top_right]
    strangers = trials.top_scores[~trials.is_enrolled & ~np.isnan(trials.top_scores)]
    heights = [np.histogram(scores, bins)[0].astype(np.float64) for scores in (right, strangers)]
    marks = tuple(Mark(point.threshold, f"FPIR {rate_text(point.fpir)}") for point in points if point.threshold <= 1.0)
    names = ("right person first", "strangers")
    best = _histograms(heights[0], heights[1], marks, title="Best score of a search", names=names, is_wide=False)
    return trade, best


def quality_chart(quality: QualityCurve) -> Chart:
    """Return the FNMR over the share of photographs refused, with what the gates leave."""
    x = [100 * one.refused.value for one in quality.curve]
    y = [100 * one.fnmr.by_person for one in quality.curve]
    gates = [(100 * one.refused.value, 100 * one.fnmr.value) for one in quality.gates]
    ends = [100 * one.interval[1] for one in quality.listed if one.interval is not None]
    series = [
        Series("nothing refused", [0.0, x[-1]], [y[0], y[0]], "muted", "dashed"),
        Series("lowest quality refused first", x, y, "first"),
        *interval_lines([(100 * one.refused.value, one.interval) for one in quality.listed], "first", scale=100.0),
    ]
    if gates:
        name = " and ".join(one.name for one in quality.gates)
        series.append(Series(name, [place for place, _ in gates], [height for _, height in gates], "second", "dots"))
    axes = (
        Axis("photographs refused, %", 0.0, float(math.ceil(max([1.0, x[-1], *(place for place, _ in gates)])))),
        Axis("FNMR, %", 0.0, max([*y, *ends, *(height for _, height in gates), 0.01]) * 1.08),
    )
    note = (
        "The threshold stays where it is while photographs go. The closer to the broken line, the less the quality says about "
        "errors; upright lines are 95 % intervals."
    )
    return Chart("Error-versus-reject", *axes, tuple(series), note=note, is_wide=True)


def interval_lines(
    placed: Sequence[tuple[float, tuple[float, float] | None]], tone: Tone, *, scale: float = 1.0
) -> tuple[Series, ...]:
    """Return intervals as upright lines: one series without a name, or none where there is no interval.

    Args:
        placed: Where each stands, and its ends or None.
        tone: Their colour.
        scale: What the ends are multiplied by, 100 for percent.
    """
    known = [(x, *interval) for x, interval in placed if interval is not None]
    if not known:
        return ()
    xs = np.repeat([x for x, _, _ in known], 3)
    ys = np.array([(scale * low, scale * high, np.nan) for _, low, high in known]).ravel()
    return (Series("", xs, ys, tone, "thin"),)


def _coarse(held: ScoreHistogram) -> Floats:
    """Return a histogram's weights in ``N_BINS`` bars; a score of exactly 1 belongs to the last."""
    weights = held.weights.copy()
    weights[-2] += weights[-1]
    bars: Floats = weights[:-1].reshape(N_BINS, -1).sum(axis=1)
    return bars


def _marks(thresholds: Sequence[tuple[float | None, float]]) -> tuple[Mark, ...]:
    return tuple(Mark(cut, f"FMR {rate_text(fmr)}") for fmr, cut in thresholds if fmr is not None and cut <= 1.0)


def _histograms(
    mated: Floats,
    non_mated: Floats,
    marks: tuple[Mark, ...],
    *,
    title: str = "Scores",
    names: tuple[str, str] = ("one person (mated)", "two people (non-mated)"),
    is_wide: bool = True,
) -> Chart:
    bins = np.linspace(-1.0, 1.0, N_BINS + 1)
    low = _first_score(mated + non_mated, bins)
    others, high_others = histogram_series(names[1], non_mated, bins, "non-mated")
    own, high_own = histogram_series(names[0], mated, bins, "mated")
    top = max(high_others, high_own, 1e-9) * 1.08
    note = "Both areas are of the same size. Upright lines: thresholds of the operating points."
    return Chart(title, Axis("score", low, 1.0), Axis("density", 0.0, top), (others, own), marks, note, is_wide=is_wide)


def _first_score(counts: Floats, bins: Floats) -> float:
    """Return where a score axis begins: a tenth below the lowest bar, so that empty space is left out."""
    filled = np.flatnonzero(counts)
    lowest = float(bins[filled[0]]) if filled.size else -1.0
    return max(-1.0, math.floor(lowest * 10) / 10)


def _errors(thresholds: Floats, fmr: Floats, fnmr: Floats, marks: tuple[Mark, ...], bound: float) -> Chart:
    floor = _floor_of(np.array([bound, 0.01]))
    inside = (thresholds >= -0.2) & (thresholds <= 1.0)
    x = thresholds[inside]
    note = "At a threshold, read both errors above each other. A curve ends where no error is left."
    series = (
        Series("FMR: strangers who match", x, np.where(fmr[inside] > 0, fmr[inside], np.nan), "non-mated"),
        Series("FNMR: same person, no match", x, np.where(fnmr[inside] > 0, fnmr[inside], np.nan), "mated"),
    )
    low = float(x.min()) if x.size else -0.2
    axes = (Axis("threshold", min(0.0, math.floor(low * 10) / 10), 1.0), Axis("error rate", floor, 1.0, is_log=True))
    return Chart("Both errors over the threshold", *axes, series, marks, note)


def _det(fmr: Floats, fnmr: Floats, dots: Sequence[tuple[float, float]], bound: float) -> Chart:
    floor = _floor_of(np.array([bound]))
    known, unknown = fmr >= bound, (fmr > 0) & (fmr <= bound)
    series = [Series("all thresholds", fmr[known], fnmr[known], "first")]
    if unknown.any():
        series.append(Series("beyond the evidence", fmr[unknown], fnmr[unknown], "muted", "dashed"))
    series.append(Series("operating points", [x for x, _ in dots], [y for _, y in dots], "second", "dots"))
    axes = (
        Axis("FMR: strangers who match", floor, 1.0, is_log=True),
        Axis("FNMR: same person, no match", _floor_of(fnmr), 1.0, is_log=True),
    )
    note = f"Detection error trade-off; nearer the lower left corner is better. The comparisons support nothing below {bound:.2g}."
    return Chart("DET", *axes, tuple(series), note=note)


def _floor_of(rates: Floats) -> float:
    """Return the power of ten at or below the lowest rate above 0, at least 1e-9."""
    above = rates[rates > 0]
    lowest = min(float(above.min()), 0.1) if above.size else 0.01
    return float(10.0 ** max(-9, math.floor(math.log10(lowest) + 1e-9)))
