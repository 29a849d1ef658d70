from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.one_to_one import (
    best_threshold,
    error_curve,
    fold_accuracy,
    tar_at_fmr,
    verification_report,
)
from facesearch.evaluation.trials import VerificationTrials

NAN = math.nan

# Few distinct values, so that ties happen all the time; NaN is a failure to acquire.
scores_with_ties = st.one_of(st.integers(-4, 4).map(lambda step: step / 4), st.just(NAN))
one_pair = st.tuples(scores_with_ties, st.booleans())


def trials_of(pairs):
    return VerificationTrials([score for score, _ in pairs], [mated for _, mated in pairs])


@st.composite
def both_kinds(draw):
    pairs = draw(st.lists(one_pair, max_size=40))
    pairs += [(draw(st.floats(-1, 1)), True), (draw(st.floats(-1, 1)), False)]
    return trials_of(draw(st.permutations(pairs)))


def n_right(trials, threshold):
    """Slow and obvious: ask each pair."""
    right = 0
    for score, mated in zip(trials.scores, trials.is_mated, strict=True):
        if math.isnan(score):
            continue
        if mated and score >= threshold:
            right += 1
        if not mated and score < threshold:
            right += 1
    return right


def n_matches(trials, threshold, *, mated):
    return sum(
        not math.isnan(score) and score >= threshold
        for score, is_mated in zip(trials.scores, trials.is_mated, strict=True)
        if is_mated == mated
    )


class TestBestThreshold:
    @given(both_kinds())
    def test_no_threshold_is_better(self, trials):
        threshold = best_threshold(trials)
        candidates = [score + shift for score in trials.scores if not math.isnan(score) for shift in (-1e-9, 0.0, 1e-9)]
        assert candidates
        assert n_right(trials, threshold) == max(n_right(trials, candidate) for candidate in candidates)

    def test_middle_of_the_gap(self):
        assert best_threshold(VerificationTrials([0.1, 0.3, 0.5, 0.9], [False, False, True, True])) == pytest.approx(0.4)

    def test_of_equal_gaps_the_highest(self):
        # Between 0.1 and 0.2, and between 0.3 and 0.4, three of four pairs are right.
        assert best_threshold(VerificationTrials([0.1, 0.2, 0.3, 0.4], [False, True, False, True])) == pytest.approx(0.35)

    def test_all_mated_accepts_all_and_all_non_mated_rejects_all(self):
        assert best_threshold(VerificationTrials([0.2, 0.4], [True, True])) == 0.2
        assert best_threshold(VerificationTrials([0.2, 0.4], [False, False])) > 0.4

    def test_neighbouring_floats_are_still_told_apart(self):
        low = 0.5
        high = float(np.nextafter(low, 1.0))
        assert best_threshold(VerificationTrials([low, high], [False, True])) == high

    def test_no_score_at_all(self):
        with pytest.raises(InputError, match="no pair has a score"):
            best_threshold(VerificationTrials([NAN, NAN], [True, False]))


class TestFoldAccuracy:
    def trials(self, seed=7, n_folds=10, n_each=30):
        rng = np.random.default_rng(seed)
        is_mated = np.tile(np.repeat([True, False], n_each), n_folds)
        scores = np.where(is_mated, rng.normal(0.6, 0.15, is_mated.size), rng.normal(0.1, 0.15, is_mated.size))
        scores[rng.choice(is_mated.size, 7, replace=False)] = NAN
        return VerificationTrials(scores, is_mated, np.repeat(np.arange(n_folds), 2 * n_each))

    def test_against_a_loop_over_folds_and_pairs(self):
        trials = self.trials()
        result = fold_accuracy(trials)
        assert len(result.folds) == 10
        shares = []
        for fold in range(10):
            others = trials.folds != fold
            threshold = best_threshold(VerificationTrials(trials.scores[others], trials.is_mated[others]))
            own = VerificationTrials(trials.scores[~others], trials.is_mated[~others])
            shares.append(n_right(own, threshold) / len(own))
            assert result.folds[fold].threshold == threshold
            assert result.folds[fold].accuracy.total == 60
        assert result.mean == pytest.approx(sum(shares) / 10)
        mean = sum(shares) / 10
        assert result.standard_error == pytest.approx(math.sqrt(sum((share - mean) ** 2 for share in shares) / 9) / math.sqrt(10))

    def test_a_folds_own_truth_does_not_move_its_threshold(self):
        trials = self.trials()
        turned = VerificationTrials(trials.scores, np.where(trials.folds == 3, ~trials.is_mated, trials.is_mated), trials.folds)
        assert fold_accuracy(turned).folds[3].threshold == fold_accuracy(trials).folds[3].threshold

    def test_a_failure_is_wrong_whether_mated_or_not(self):
        scores, mated, folds = [0.9, 0.1, 0.9, 0.1, NAN, NAN], [True, False, True, False, True, False], [0, 0, 1, 1, 1, 1]
        result = fold_accuracy(VerificationTrials(scores, mated, folds))
        assert [(fold.accuracy.count, fold.accuracy.total) for fold in result.folds] == [(2, 2), (2, 4)]

    def test_printed_with_counts(self):
        scores, mated, folds = [0.9, 0.1, 0.9, 0.1, 0.0, 0.1], [True, False, True, False, True, False], [0, 0, 1, 1, 1, 1]
        assert str(fold_accuracy(VerificationTrials(scores, mated, folds))) == "87.50 ± 12.50 % (5/6)"

    def test_one_fold_is_refused(self):
        with pytest.raises(InputError, match="two folds"):
            fold_accuracy(VerificationTrials([0.5, 0.1], [True, False]))


class TestTarAtFmr:
    @given(both_kinds(), st.sampled_from([1e-3, 0.01, 0.1, 0.25, 0.5, 1.0]))
    def test_the_smallest_threshold_that_keeps_the_rate(self, trials, fmr):
        result = tar_at_fmr(trials, fmr)
        assert result.false_matches.count == n_matches(trials, result.threshold, mated=False)
        assert result.tar.count == n_matches(trials, result.threshold, mated=True)
        assert (result.tar.total, result.false_matches.total) == (trials.n_mated, trials.n_non_mated)
        assert result.false_matches.value <= fmr
        # Any lower threshold that changes an answer lets too many strangers pass.
        lower = [score for score in trials.scores if score < result.threshold]
        if lower:
            assert n_matches(trials, max(lower), mated=False) / trials.n_non_mated > fmr

    def test_exact_counts_at_lfws_size(self):
        # 3,000 non-mated pairs scored 0 … 2999: at 1e-3 the top three pass.
        scores = np.concatenate([np.arange(3000) / 3000, [0.9999, 0.0]])
        result = tar_at_fmr(VerificationTrials(scores, np.arange(3002) >= 3000), 1e-3)
        assert (result.false_matches.count, result.false_matches.total) == (3, 3000)
        assert (result.tar.count, result.tar.total) == (1, 2)
        assert result.is_supported
        assert tar_at_fmr(VerificationTrials(scores, np.arange(3002) >= 3000), 1e-2).false_matches.count == 30

    def test_a_product_of_floats_just_below_a_whole_number_is_that_number(self):
        # 0.29 × 100 is 28.999999999999996 in floats.
        trials = VerificationTrials(np.arange(101) / 101, np.arange(101) == 100)
        assert tar_at_fmr(trials, 0.29).false_matches.count == 29

    def test_ties_at_the_threshold_are_all_refused(self):
        scores, mated = [0.9, 0.5, 0.5, 0.1, 0.5, 0.6], [False] * 4 + [True] * 2
        result = tar_at_fmr(VerificationTrials(scores, mated), 0.5)
        assert (result.false_matches.count, result.tar.count) == (1, 1)

    def test_three_expected_false_matches_are_the_least_evidence(self):
        scores = np.linspace(0, 1, 301)
        is_mated = np.arange(301) == 300
        assert tar_at_fmr(VerificationTrials(scores, is_mated), 1e-2).is_supported
        assert not tar_at_fmr(VerificationTrials(scores[1:], is_mated[1:]), 1e-2).is_supported

    def test_too_few_strangers_are_said_so(self):
        result = tar_at_fmr(VerificationTrials([0.9, 0.5, 0.4], [True, False, False]), 1e-3)
        assert (result.false_matches.count, result.tar.count, result.is_supported) == (0, 1, False)

    def test_failures_stay_in_the_denominators(self):
        scores, mated = [0.9, NAN, 0.5, NAN], [True, True, False, False]
        result = tar_at_fmr(VerificationTrials(scores, mated), 0.5)
        assert str(result.tar) == "50.00 % (1/2)"
        assert str(result.false_matches) == "50.00 % (1/2)"

    def test_missing_kinds_and_scores(self):
        with pytest.raises(InputError, match="both kinds"):
            tar_at_fmr(VerificationTrials([0.5], [True]), 0.1)
        with pytest.raises(InputError, match="no pair has a score"):
            tar_at_fmr(VerificationTrials([NAN, NAN], [True, False]), 0.1)
        for fmr in (0.0, -0.1, 1.5, NAN):
            with pytest.raises(InputError, match="FMR"):
                tar_at_fmr(VerificationTrials([0.5, 0.1], [True, False]), fmr)


class TestErrorCurve:
    @given(both_kinds())
    def test_fmr_never_rises_and_fnmr_never_falls(self, trials):
        curve = error_curve(trials)
        assert curve.thresholds.size >= 2
        assert (np.diff(curve.thresholds) > 0).all()
        assert (np.diff(curve.fmr) <= 0).all()
        assert (np.diff(curve.fnmr) >= 0).all()
        assert curve.fmr[-1] == 0
        assert curve.fnmr[-1] == 1

    @given(both_kinds())
    def test_against_a_loop_over_pairs(self, trials):
        curve = error_curve(trials)
        assert curve.thresholds.size >= 2
        for threshold, fmr, fnmr in zip(curve.thresholds, curve.fmr, curve.fnmr, strict=True):
            assert fmr == n_matches(trials, threshold, mated=False) / trials.n_non_mated
            assert fnmr == pytest.approx(1 - n_matches(trials, threshold, mated=True) / trials.n_mated)

    def test_missing_kinds_and_scores(self):
        with pytest.raises(InputError, match="both kinds"):
            error_curve(VerificationTrials([0.5], [False]))
        with pytest.raises(InputError, match="no pair has a score"):
            error_curve(VerificationTrials([NAN, NAN], [True, False]))


class TestReport:
    def test_all_figures_as_text_and_as_plain_values(self):
        scores, mated, folds = [0.9, 0.1, 0.9, 0.1, NAN, 0.2], [True, False] * 3, [0, 0, 1, 1, 2, 2]
        report = verification_report(VerificationTrials(scores, mated, folds), fmrs=(0.1, 0.5))
        assert str(report).splitlines() == [
            "accuracy 83.33 ± 16.67 % (5/6)",
            "TAR 66.67 % (2/3) at FMR 0.5 (threshold 0.1000, false matches 33.33 % (1/3))",
            "TAR 66.67 % (2/3) at FMR 0.1 (threshold 0.2000, false matches 0.00 % (0/3))",
            "failures to acquire: 1 of 6 pairs",
        ]
        plain = json.loads(json.dumps(report.as_dict(), allow_nan=False))
        assert plain["accuracy"]["mean"] == pytest.approx(5 / 6)
        assert [fold["count"] for fold in plain["accuracy"]["folds"]] == [2, 2, 1]
        assert [point["tar"]["count"] for point in plain["tar"]] == [2, 2]
        assert plain["n_failures"] == 1

    def test_without_folds_there_is_no_accuracy(self):
        report = verification_report(VerificationTrials([0.9, 0.1], [True, False]))
        assert report.accuracy is None
        assert [point.fmr for point in report.tar] == [1e-2, 1e-3]
        assert "accuracy" not in str(report)


class TestTrials:
    @pytest.mark.parametrize(
        ("scores", "mated", "folds"),
        [
            ([], [], None),
            ([[0.1]], [True], None),
            ([0.1, math.inf], [True, False], None),
            ([0.1, 0.2], [True], None),
            ([0.1, 0.2], [1, 0], None),
            ([0.1, 0.2], [True, False], [0]),
            ([0.1, 0.2], [True, False], [0.0, 1.0]),
        ],
    )
    def test_malformed_trials_are_refused(self, scores, mated, folds):
        with pytest.raises(InputError):
            VerificationTrials(scores, mated, folds)

    def test_arrays_are_copied_and_read_only(self):
        scores = np.array([0.1, 0.2])
        trials = VerificationTrials(scores, np.array([True, False]))
        scores[0] = 0.7
        assert trials.scores[0] == 0.1
        with pytest.raises(ValueError, match="read-only"):
            trials.scores[0] = 1.0
        assert (trials.n_mated, trials.n_non_mated, trials.n_failures, len(trials)) == (1, 1, 0, 2)
