"""Curves of both errors over the threshold: points to plot, and single figures read off them.

It draws nothing, and chooses no threshold to decide at: an equal error rate is for comparing systems, not for using one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from facesearch.core.errors import InputError
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.one_to_one import ErrorCurve


@dataclass(frozen=True, slots=True)
class EqualErrorRate:
    """Where FMR and FNMR are the same.

    Attributes:
        value: The rate, in [0, 1].
        threshold: Where it is reached, interpolated between two scores.
    """

    value: float
    threshold: float


def histogram_curve(mated: ScoreHistogram, non_mated: ScoreHistogram, *, weighted: bool = True) -> ErrorCurve:
    """Return both errors at every edge of two histograms at which either changes, and above the highest score.

    Raises:
        InputError: The histograms have different bins, or nothing was counted in one of them.
    """
    if mated.bits != non_mated.bits:
        raise InputError(f"histograms of 2**{mated.bits} and 2**{non_mated.bits} bins have no thresholds in common")
    fmr, tar = non_mated.shares(weighted=weighted), mated.shares(weighted=weighted)
    thresholds = np.append(non_mated.edges, 1.0 + non_mated.width)
    held = np.flatnonzero(mated.counts + non_mated.counts)
    if held.size == 0:
        raise InputError("no pair has a score: there is no threshold to look at")
    # Beside a bin with scores, the edge above it: there the rates have changed.
    places = np.union1d(held, held[-1:] + 1)
    return ErrorCurve(thresholds[places], fmr[places], 1.0 - tar[places])


def equal_error_rate(curve: ErrorCurve) -> EqualErrorRate:
    """Return the error where the curve, neighbouring points joined by straight lines, has FMR = FNMR.

    Where failures to acquire keep FNMR above FMR at every threshold, it is the FNMR of the lowest threshold.
    """
    gap = curve.fnmr - curve.fmr  # never falls with the threshold, and ends at 1
    place = int(np.argmax(gap >= 0.0))
    if place == 0:
        return EqualErrorRate(float(curve.fnmr[0]), float(curve.thresholds[0]))
    share = float(-gap[place - 1] / (gap[place] - gap[place - 1]))
    fmr = float(curve.fmr[place - 1] + share * (curve.fmr[place] - curve.fmr[place - 1]))
    low, high = float(curve.thresholds[place - 1]), float(curve.thresholds[place])
    return EqualErrorRate(fmr, low + share * (high - low))


def area_under_roc(curve: ErrorCurve) -> float:
    """Return the area under TAR over FMR by the trapezium rule, in [0, 1].

    Without failures to acquire it is the chance that a mated pair scores higher than a non-mated one, ties counted half. Beyond the
    FMR of the lowest threshold, TAR stays what it is there.
    """
    fmr = np.append(curve.fmr[::-1], 1.0)
    tar = np.append(1.0 - curve.fnmr[::-1], 1.0 - curve.fnmr[0])
    return float(np.sum(np.diff(fmr) * (tar[1:] + tar[:-1]) / 2.0))


def det_points(curve: ErrorCurve, n_points: int = 400) -> ErrorCurve:
    """Return at most ``n_points`` points of a curve that suffice to plot it with FMR on a logarithmic (or probit) axis.

    Points are dropped, never moved: the first and last are kept, and between them those nearest to rates evenly spaced in log FMR
    and in FNMR.

    Raises:
        InputError: Fewer than four points are wanted.
    """
    if n_points < 4:
        raise InputError(f"a curve is drawn with at least 4 points, not {n_points}")
    if curve.thresholds.size <= n_points:
        return curve
    each = (n_points - 2) // 2
    positive = curve.fmr[curve.fmr > 0.0]
    by_fmr = np.geomspace(positive[0], positive[-1], each) if positive.size else np.zeros(0)
    # Both searches need rising keys: FMR falls with the threshold, FNMR rises.
    places = np.concatenate(
        [
            [0, curve.thresholds.size - 1],
            curve.fmr.size - 1 - np.searchsorted(curve.fmr[::-1], by_fmr),
            np.searchsorted(curve.fnmr, np.linspace(curve.fnmr[0], curve.fnmr[-1], each)),
        ]
    ).astype(np.int64)
    kept = np.unique(np.clip(places, 0, curve.thresholds.size - 1))
    return ErrorCurve(curve.thresholds[kept], curve.fmr[kept], curve.fnmr[kept])
