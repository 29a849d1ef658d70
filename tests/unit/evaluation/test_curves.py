from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import auc, det_curve, roc_auc_score, roc_curve

from facesearch.core.errors import InputError
from facesearch.evaluation.curves import area_under_roc, det_points, equal_error_rate, histogram_curve
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.one_to_one import error_curve, tar_at_fmr
from facesearch.evaluation.trials import VerificationTrials

seeds = st.integers(0, 10_000)


def random_trials(seed, n=300, n_failures=0, decimals=2):
    """Overlapping scores with ties."""
    rng = np.random.default_rng(seed)
    is_mated = rng.random(n) < 0.4
    is_mated[:2] = True, False
    scores = np.clip(np.round(np.where(is_mated, rng.normal(0.4, 0.2, n), rng.normal(0.1, 0.2, n)), decimals), -1, 1)
    scores[rng.choice(np.arange(2, n), n_failures, replace=False)] = np.nan
    return VerificationTrials(scores, is_mated)


@given(seeds)
def test_the_curve_is_scikit_learns(seed):
    trials = random_trials(seed)
    curve = error_curve(trials)
    fpr, tpr, thresholds = roc_curve(trials.is_mated, trials.scores, drop_intermediate=False)
    # scikit-learn's first point is "above everything", at infinity; ours is the next number.
    assert curve.thresholds[:-1][::-1] == pytest.approx(thresholds[1:])
    assert curve.fmr[::-1] == pytest.approx(fpr)
    assert 1 - curve.fnmr[::-1] == pytest.approx(tpr)


@given(seeds)
def test_det_is_scikit_learns(seed):
    trials = random_trials(seed)
    curve = error_curve(trials)
    fpr, fnr, thresholds = det_curve(trials.is_mated, trials.scores)
    assert thresholds.size > 10
    for rate, miss, threshold in zip(fpr, fnr, thresholds, strict=True):
        if np.isinf(threshold):
            continue
        place = int(np.searchsorted(curve.thresholds, threshold))
        assert curve.fmr[place] == pytest.approx(rate)
        assert curve.fnmr[place] == pytest.approx(miss)


@given(seeds)
def test_the_area_is_scikit_learns_and_the_chance_that_a_mated_pair_scores_higher(seed):
    trials = random_trials(seed)
    area = area_under_roc(error_curve(trials))
    assert area == pytest.approx(roc_auc_score(trials.is_mated, trials.scores))
    mated, other = trials.mated_scores()[:, None], trials.non_mated_scores()[None, :]
    assert area == pytest.approx(float((mated > other).mean() + (mated == other).mean() / 2))


@given(seeds, st.sampled_from([0.5, 0.2, 0.05, 0.01]))
def test_tar_is_the_highest_point_of_scikit_learns_roc_within_the_rate(seed, fmr):
    trials = random_trials(seed)
    fpr, tpr, _ = roc_curve(trials.is_mated, trials.scores, drop_intermediate=False)
    assert tar_at_fmr(trials, fmr).tar.value == pytest.approx(tpr[fpr <= fmr * (1 + 1e-12)].max())


@given(seeds)
def test_equal_error_rate_is_where_the_joined_points_meet(seed):
    from scipy.interpolate import interp1d
    from scipy.optimize import brentq

    trials = random_trials(seed)
    curve = error_curve(trials)
    found = equal_error_rate(curve)
    # Along the curve, by the place of its points: a polyline may be vertical, which fnmr over fmr could not express.
    places = np.arange(curve.fmr.size)
    fmr, fnmr = interp1d(places, curve.fmr), interp1d(places, curve.fnmr)
    at = brentq(lambda place: float(fnmr(place) - fmr(place)), 0, places[-1])
    assert found.value == pytest.approx(float(fmr(at)), abs=1e-9)
    place = np.searchsorted(curve.thresholds, found.threshold)
    assert min(curve.fmr[place], curve.fnmr[max(place - 1, 0)]) - 1e-9 <= found.value
    assert found.value <= max(curve.fmr[max(place - 1, 0)], curve.fnmr[place]) + 1e-9


def test_equal_error_rates_known_by_hand():
    apart = error_curve(VerificationTrials([0.1, 0.2, 0.8, 0.9], [False, False, True, True]))
    assert equal_error_rate(apart).value == 0.0
    crossed = error_curve(VerificationTrials([0.1, 0.6, 0.5, 0.9], [False, False, True, True]))
    assert equal_error_rate(crossed).value == pytest.approx(0.5)
    # All tied: FMR goes from 1 to 0 while FNMR goes from 0 to 1; they meet half way.
    assert equal_error_rate(error_curve(VerificationTrials([0.3, 0.3], [False, True]))).value == pytest.approx(0.5)


def test_failures_alone_can_be_the_equal_error_rate():
    curve = error_curve(VerificationTrials([np.nan, np.nan, 0.9, np.nan, 0.1], [True, True, True, False, False]))
    assert equal_error_rate(curve).value == pytest.approx(2 / 3)


@given(seeds, st.booleans())
def test_histograms_give_the_same_curve_within_a_bin(seed, weighted):
    trials = random_trials(seed, n_failures=5, decimals=3)
    mated, non_mated = ScoreHistogram(14), ScoreHistogram(14)
    mated.add(trials.mated_scores())
    non_mated.add(trials.non_mated_scores())
    mated.add_failures(trials.n_mated - trials.mated_scores().size)
    non_mated.add_failures(trials.n_non_mated - trials.non_mated_scores().size)
    exact, coarse = error_curve(trials), histogram_curve(mated, non_mated, weighted=weighted)
    # Scores lie 1e-3 apart, bins 1.2e-4: every score has a bin of its own.
    assert coarse.fmr == pytest.approx(exact.fmr)
    assert coarse.fnmr == pytest.approx(exact.fnmr)
    assert coarse.thresholds == pytest.approx(exact.thresholds, abs=mated.width)
    assert (coarse.thresholds[:-1] <= exact.thresholds[:-1]).all()


def test_weights_reach_the_curve():
    mated, non_mated = ScoreHistogram(6), ScoreHistogram(6)
    mated.add([0.5, 0.9], [3.0, 1.0])
    non_mated.add([0.1, 0.6], [1.0, 4.0])
    curve = histogram_curve(mated, non_mated)
    assert curve.fmr.tolist() == [1.0, 0.8, 0.8, 0.0, 0.0]
    assert curve.fnmr.tolist() == [0.0, 0.0, 0.75, 0.75, 1.0]
    pooled = histogram_curve(mated, non_mated, weighted=False)
    assert pooled.fnmr.tolist() == [0.0, 0.0, 0.5, 0.5, 1.0]


@given(seeds, st.integers(4, 60))
def test_points_to_plot_are_few_and_all_of_the_curve(seed, n_points):
    curve = error_curve(random_trials(seed, decimals=6))
    thinned = det_points(curve, n_points)
    assert 2 <= thinned.thresholds.size <= n_points
    places = np.searchsorted(curve.thresholds, thinned.thresholds)
    assert (curve.fmr[places] == thinned.fmr).all()
    assert (curve.fnmr[places] == thinned.fnmr).all()
    assert thinned.thresholds[[0, -1]].tolist() == curve.thresholds[[0, -1]].tolist()
    assert (np.diff(thinned.thresholds) > 0).all()


def test_points_to_plot_keep_the_tail():
    rng = np.random.default_rng(1)
    scores = np.concatenate([rng.normal(0, 0.1, 20_000), rng.normal(0.5, 0.1, 2000)])
    curve = error_curve(VerificationTrials(scores, np.arange(22_000) >= 20_000))
    thinned = det_points(curve, 100)
    assert auc(thinned.fmr[::-1], thinned.fnmr[::-1]) == pytest.approx(auc(curve.fmr[::-1], curve.fnmr[::-1]), abs=0.01)
    for rate in (1e-1, 1e-2, 1e-3):
        assert ((thinned.fmr > rate / 2) & (thinned.fmr < rate * 2)).any()


def test_bad_input():
    with pytest.raises(InputError, match="no thresholds in common"):
        histogram_curve(ScoreHistogram(4), ScoreHistogram(5))
    with pytest.raises(InputError, match="no comparison"):
        histogram_curve(ScoreHistogram(4), ScoreHistogram(4))
    held = ScoreHistogram(4)
    held.add_failures(3)
    with pytest.raises(InputError, match="no pair has a score"):
        histogram_curve(held, held)
    with pytest.raises(InputError, match="4 points"):
        det_points(error_curve(random_trials(1)), 3)
