"""Fitted evidence: right where the truth is known, cheaper than not looking on people left out, refused where counts are few."""

from __future__ import annotations

import math

import numpy as np
import pytest

from facesearch.core.calibration import CalibrationMethod
from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import AllPairs, all_pairs
from facesearch.evaluation.calibration import check_calibration, cllr, fit_calibration, reliability, supported_llrs
from facesearch.evaluation.histogram import ScoreHistogram
from facesearch.evaluation.lfw import read_people

ABOUT = {"embedder_id": "toy@1", "data_digest": "", "source": "toy"}


def pairs_of(mated, non_mated, *, n_people=400):
    """Return all pairs with these scores, each of the same weight."""
    held = []
    for scores in (mated, non_mated):
        histogram = ScoreHistogram()
        histogram.add(np.asarray(scores, dtype=np.float64))
        held.append(histogram)
    n_pairs = n_people * (n_people - 1) // 2
    return AllPairs(held[0], held[1], held[1], n_people, n_people, n_pairs, 2 * n_people, 0, (), ())


def normal_pairs(seed, n=20_000, *, mean=0.55, away=0.1, spread=0.1):
    """Scores of two normal distributions of one spread: the true log-likelihood ratio is a straight line."""
    rng = np.random.default_rng(seed)
    return pairs_of(np.clip(rng.normal(mean, spread, n), -1, 1), np.clip(rng.normal(away, spread, n), -1, 1))


def slow_cllr(mated_llrs, non_mated_llrs):
    total = sum(math.log2(1 + math.exp(-llr)) for llr in mated_llrs) / len(mated_llrs)
    return 0.5 * (total + sum(math.log2(1 + math.exp(llr)) for llr in non_mated_llrs) / len(non_mated_llrs))


def test_logistic_finds_the_line_of_two_normals():
    made = fit_calibration(normal_pairs(1, mean=0.4, away=0.2), method=CalibrationMethod.LOGISTIC, **ABOUT)
    slope = (made.llrs[1] - made.llrs[0]) / 2
    assert slope == pytest.approx(0.2 / 0.1**2, rel=0.05)  # (difference of means) / variance
    assert made.unclamped(0.3) == pytest.approx(0.0, abs=0.05)


def test_isotonic_is_near_the_line_where_there_are_scores():
    made = fit_calibration(normal_pairs(1, mean=0.4, away=0.2), method=CalibrationMethod.ISOTONIC, **ABOUT)
    for score in (0.15, 0.3, 0.45):
        assert made.unclamped(score) == pytest.approx(20 * (score - 0.3), abs=0.5)


@pytest.mark.parametrize("method", CalibrationMethod)
def test_the_prior_of_the_data_does_not_matter(method):
    rng = np.random.default_rng(2)
    mated, non_mated = rng.normal(0.4, 0.1, 2000).clip(-1, 1), rng.normal(0.2, 0.1, 200_000).clip(-1, 1)
    few = fit_calibration(pairs_of(mated, non_mated), method=method, **ABOUT)
    assert few.unclamped(0.3) == pytest.approx(0.0, abs=0.4)


def test_every_person_weighs_the_same():
    rng = np.random.default_rng(3)
    mated, non_mated = ScoreHistogram(), ScoreHistogram()
    mated.add(rng.normal(0.5, 0.1, 1000).clip(-1, 1), np.ones(1000))
    mated.add(np.full(100_000, 0.05), np.full(100_000, 1e-5))  # one person of very many bad photographs
    non_mated.add(rng.normal(0.1, 0.1, 10_000).clip(-1, 1), np.ones(10_000))
    pairs = AllPairs(mated, non_mated, non_mated, 400, 400, 79_800, 800, 0, (), ())
    made = fit_calibration(pairs, **ABOUT)
    assert made.unclamped(0.05) < -3


@pytest.mark.parametrize("method", CalibrationMethod)
def test_held_out_it_costs_less_than_the_raw_score_and_than_not_looking(method):
    made = fit_calibration(normal_pairs(4), method=method, **ABOUT)
    checked = check_calibration(made, normal_pairs(5))
    assert checked.min_cllr <= checked.cllr < 0.2 < checked.uncalibrated < checked.prior_only == 1.0


def test_cllr_equals_its_slow_twin():
    rng = np.random.default_rng(6)
    width = ScoreHistogram().width
    mated, non_mated = (np.floor(rng.uniform(-1, 0.99, 300) / width) * width + width / 2 for _ in range(2))
    fast = cllr(pairs_of(mated, non_mated), lambda scores: 7 * scores - 1)
    assert fast == pytest.approx(slow_cllr(7 * mated - 1, 7 * non_mated - 1), rel=1e-9)


def test_never_looking_costs_one_bit():
    assert cllr(normal_pairs(7), np.zeros_like) == pytest.approx(1.0)


def test_stated_probabilities_come_true():
    made = fit_calibration(normal_pairs(8, mean=0.4, away=0.2), prior=0.2, **ABOUT)
    bins = reliability(made, normal_pairs(9, mean=0.4, away=0.2))
    assert len(bins) == 10
    for one in bins:
        assert one.observed == pytest.approx(one.stated, abs=0.05)
    assert sum(one.n_mated for one in bins) == sum(one.n_non_mated for one in bins) == 20_000


def test_the_clamp_is_what_the_counts_support():
    pairs = normal_pairs(10, n=1000, mean=0.9, away=-0.5)
    least, greatest = supported_llrs(pairs)
    assert least == pytest.approx(math.log(3 / 400))
    assert greatest == pytest.approx(-math.log(3 / 1000))  # 1,000 comparisons say less than 79,800 pairs of people would
    made = fit_calibration(pairs, **ABOUT)
    assert (made.log_likelihood_ratio(1.0), made.log_likelihood_ratio(-1.0)) == (greatest, least)


def test_few_pairs_of_people_clamp_however_many_comparisons():
    rng = np.random.default_rng(11)
    pairs = pairs_of(rng.uniform(0.5, 0.9, 5000), rng.uniform(-0.3, 0.3, 50_000), n_people=6)
    assert supported_llrs(pairs)[1] == pytest.approx(math.log(15 / 10))


def people(n_people, n_photographs, seed=1):
    rng = np.random.default_rng(seed)
    owners = np.repeat(np.arange(n_people), n_photographs)
    vectors = rng.normal(size=(n_people, 16))[owners] + 0.5 * rng.normal(size=(owners.size, 16))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32), owners


@pytest.mark.parametrize(
    ("n_people", "n_photographs", "what"),
    [(1, 5, "at least two people"), (30, 1, "two photographs"), (3, 4, "3 people with two photographs and 3 pairs of people")],
)
def test_one_person_one_class_or_too_few_is_refused(n_people, n_photographs, what):
    with pytest.raises(InputError, match=what):
        fit_calibration(all_pairs(*people(n_people, n_photographs)), **ABOUT)


def test_scores_the_wrong_way_round_are_refused():
    with pytest.raises(InputError, match="check the labels"):
        fit_calibration(normal_pairs(12, mean=0.1, away=0.5), **ABOUT)


@pytest.mark.parametrize("prior", [0.0, 1.0, -1.0, math.nan])
def test_a_prior_is_a_probability(prior):
    with pytest.raises(InputError, match="prior"):
        fit_calibration(normal_pairs(13, n=1000), prior=prior, **ABOUT)


@pytest.mark.slow
@pytest.mark.data
def test_on_people_of_lfw_left_out_it_beats_the_raw_score_and_the_prior(lfw_folder):
    """Fitted on folds 1-5 of ``people.txt``, checked on 6-10, then the other way round; through our own detector."""
    from facesearch.bootstrap import Parts
    from facesearch.settings import Settings

    listed = read_people(lfw_folder / "people.txt")
    embedded = Parts(Settings()).embed_photographs(lfw_folder / "images", [path for person in listed for path in person.paths])
    fold_of = {person.name: person.fold for person in listed}
    names = np.array([path.parts[-2] for path in embedded.acquired_paths()])
    is_first = np.array([fold_of[name] < 5 for name in names])
    halves = [all_pairs(embedded.vectors[chosen], names[chosen]) for chosen in (is_first, ~is_first)]
    for method in CalibrationMethod:
        for fit_on, check_on in (halves, halves[::-1]):
            made = fit_calibration(fit_on, method=method, **ABOUT)
            checked = check_calibration(made, check_on)
            print(f"{method}: {checked}")
            assert checked.min_cllr <= checked.cllr < 0.05 < checked.uncalibrated < checked.prior_only
