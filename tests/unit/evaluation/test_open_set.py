from __future__ import annotations

import json
import math
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.gallery_size import best_place_chances, expected_fpir, gallery_size_thresholds
from facesearch.evaluation.one_to_many import cmc, fnir_at_fpir, open_set_curve, open_set_point, open_set_result
from facesearch.evaluation.searches import SearchTrials, person_scores, search_trials

NAN = math.nan
seeds = st.integers(0, 10_000)


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def random_search(seed, n_failures=2):
    """Gallery, its ids, probes and their ids; people 0–5 enrolled, 6–11 not."""
    rng = np.random.default_rng(seed)
    centres = unit(rng, 12, 5)
    gallery_ids, probe_ids = rng.permutation(np.repeat(np.arange(6), 2)), rng.permutation(np.repeat(np.arange(12), 3))
    gallery = centres[gallery_ids] + 0.5 * unit(rng, gallery_ids.size, 5)
    probes = centres[probe_ids] + 0.5 * unit(rng, probe_ids.size, 5)
    gallery, probes = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (gallery, probes))
    probes[rng.choice(probe_ids.size, n_failures, replace=False)] = NAN
    return gallery.astype(np.float32), gallery_ids, probes.astype(np.float32), probe_ids


class TestSearch:
    @pytest.mark.parametrize("seed", range(5))
    def test_against_a_loop_over_probes(self, seed):
        gallery, gallery_ids, probes, probe_ids = random_search(seed)
        trials = search_trials(gallery, gallery_ids, probes, probe_ids)
        assert len(trials) == 36
        assert np.isnan(trials.top_scores).sum() == 2
        for row, (probe, person) in enumerate(zip(probes, probe_ids, strict=True)):
            assert trials.is_enrolled[row] == (person < 6)
            if np.isnan(probe).any():
                assert (trials.ranks[row], trials.is_top_right[row]) == (0, False)
                continue
            best = {one: max(float(probe @ v) for v, i in zip(gallery, gallery_ids, strict=True) if i == one) for one in range(6)}
            ranking = sorted(best, key=lambda one: -best[one])
            assert trials.top_scores[row] == pytest.approx(best[ranking[0]], abs=1e-6)
            assert trials.ranks[row] == (ranking.index(person) + 1 if person < 6 else 0)
            assert trials.is_top_right[row] == (ranking[0] == person)

    def test_scores_by_person(self):
        gallery, gallery_ids, probes, _ = random_search(1, n_failures=0)
        people, scores = person_scores(gallery, gallery_ids, probes)
        assert people.tolist() == [0, 1, 2, 3, 4, 5]
        for column, person in enumerate(people):
            assert scores[:, column] == pytest.approx((probes @ gallery[gallery_ids == person].T).max(axis=1), abs=1e-6)

    def test_who_could_not_be_enrolled_is_missed_and_no_stranger(self):
        gallery, gallery_ids, probes, probe_ids = random_search(2)
        gallery[gallery_ids == 3] = NAN
        gallery[np.flatnonzero(gallery_ids == 4)[0]] = NAN  # the other photograph still stands for the person
        trials = search_trials(gallery, gallery_ids, probes, probe_ids)
        lost = probe_ids == 3
        assert trials.is_enrolled.sum() == 18
        assert trials.is_enrolled[lost].all()
        assert (trials.ranks[lost] == 0).all()
        assert (trials.ranks[(probe_ids == 4) & ~np.isnan(trials.top_scores)] >= 1).all()

    def test_of_equal_scores_the_first_enrolled_comes_first(self):
        gallery = np.array([[1, 0], [1, 0], [0, 1]], np.float32)
        trials = search_trials(gallery, ["a", "b", "c"], gallery, ["a", "b", "c"])
        assert trials.ranks.tolist() == [1, 2, 1]
        assert trials.is_top_right.tolist() == [True, False, True]

    def test_malformed(self):
        gallery, gallery_ids, probes, probe_ids = random_search(3)
        with pytest.raises(InputError, match="do not fit"):
            person_scores(gallery, gallery_ids, probes[:, :3])
        with pytest.raises(InputError, match="one person id a template"):
            search_trials(gallery, gallery_ids[1:], probes, probe_ids)
        with pytest.raises(InputError, match="one person id a probe"):
            search_trials(gallery, gallery_ids, probes, probe_ids[1:])
        with pytest.raises(InputError, match="at least one template"):
            search_trials(np.full((1, 5), NAN), [0], probes, probe_ids)
        with pytest.raises(InputError, match="both kinds"):
            SearchTrials([0.1, 0.2], [True, False], [False, False], person_ids=[1, 1])
        with pytest.raises(InputError, match="disagree"):
            SearchTrials([0.1, 0.2], [True, True], [True, False], ranks=[2, 3])
        with pytest.raises(InputError, match="whole number"):
            SearchTrials([0.1], [True], [True], ranks=[1.0])


def naive_rates(trials, threshold):
    """Slow and obvious: average over people of the share of each one's probes."""
    shares = {True: {}, False: {}}
    for score, enrolled, right, person in zip(
        trials.top_scores.tolist(), trials.is_enrolled.tolist(), trials.is_top_right.tolist(), trials.people.tolist(), strict=True
    ):
        somebody = not math.isnan(score) and score >= threshold
        wrong = not (somebody and right) if enrolled else somebody
        shares[enrolled].setdefault(person, []).append(wrong)
    means = {kind: [sum(outcomes) / len(outcomes) for outcomes in people.values()] for kind, people in shares.items()}
    return sum(means[False]) / len(means[False]), sum(means[True]) / len(means[True])


def random_trials(seed, n=60):
    rng = np.random.default_rng(seed)
    people = np.r_[rng.integers(0, 20, n), 0, 10]
    scores = np.where(rng.random(n + 2) < 0.05, NAN, np.round(rng.uniform(-0.2, 1, n + 2), 1))
    scores[-2:] = 0.4, 0.6
    enrolled = people < 10
    ranks = np.where(enrolled & ~np.isnan(scores), rng.integers(1, 6, n + 2), 0)
    return SearchTrials(scores, enrolled, ranks == 1, person_ids=people, ranks=ranks)


class TestOpenSet:
    @given(seeds)
    def test_the_curve_is_that_of_a_loop_and_monotone(self, seed):
        trials = random_trials(seed)
        curve = open_set_curve(trials)
        assert curve.thresholds.size >= 3
        for threshold, fpir, fnir in zip(curve.thresholds.tolist(), curve.fpir, curve.fnir, strict=True):
            assert (fpir, fnir) == pytest.approx(naive_rates(trials, threshold))
        assert (np.diff(curve.fpir) <= 0).all()
        assert (np.diff(curve.fnir) >= 0).all()
        assert (curve.fpir[-1], curve.fnir[-1]) == (0.0, 1.0)

    @given(seeds, st.sampled_from([0.01, 0.05, 0.1, 0.3, 0.7, 1.0]))
    def test_the_smallest_threshold_that_keeps_the_rate(self, seed, fpir):
        trials = random_trials(seed)
        point = fnir_at_fpir(trials, fpir)
        rates = naive_rates(trials, point.threshold)
        assert (point.false_positives.value, point.fnir.value) == pytest.approx(rates)
        assert rates[0] <= fpir * (1 + 1e-9)
        lower = [score for score in trials.top_scores.tolist() if score < point.threshold]
        if lower:
            assert naive_rates(trials, max(lower))[0] > fpir * (1 - 1e-9)

    def test_one_probe_a_person_is_the_plain_result(self):
        trials = SearchTrials([0.9, 0.4, 0.8, 0.3, NAN], [True, True, False, False, True], [True, False, False, False, False])
        plain, point = open_set_result(trials, 0.35), open_set_point(trials, 0.35)
        assert (point.fnir.pooled, point.false_positives.pooled) == (plain.fnir, plain.fpir)
        assert point.fnir.value == pytest.approx(plain.fnir.value)
        assert point.n_misidentified == plain.n_misidentified == 1
        assert point.tpir.value == pytest.approx(1 / 3)

    def test_a_person_with_many_probes_weighs_as_much_as_one_with_a_single_one(self):
        trials = SearchTrials([0.9] * 9 + [0.1, 0.2], [True] * 10 + [False], [True] * 10 + [False], person_ids=[0] * 9 + [1, 2])
        point = open_set_point(trials, 0.5)
        assert str(point.fnir) == "50.00 % (1/10 of 2 people)"
        assert str(point.tpir) == "50.00 % (9/10 of 2 people)"

    def test_evidence_counts_searches_and_strangers(self):
        # 300 strangers with two probes each; the ten highest people score above 0.5.
        people = np.r_[np.repeat(np.arange(300), 2), 1000]
        scores = np.r_[np.repeat(np.linspace(1.0, 0.0, 300), 2), 0.9]
        trials = SearchTrials(scores, people == 1000, people == 1000, person_ids=people)
        point = fnir_at_fpir(trials, 0.05)
        assert (point.evidence.n_comparisons, point.evidence.n_false, point.evidence.n_person_pairs) == (600, 30, 15)
        assert point.is_supported
        tight = fnir_at_fpir(trials, 0.01)
        assert not tight.is_supported
        assert tight.evidence.bound == pytest.approx(10 / 300)
        assert "fewer than 10" in str(tight.evidence.answer(0.01))
        assert str(tight.evidence.answer(1e-3)) == "600 comparisons support nothing below 5e-3"

    def test_as_text_and_plain_values(self):
        trials = SearchTrials([0.9, 0.4, 0.8, 0.3], [True, True, False, False], [True, True, False, False])
        point = fnir_at_fpir(trials, 0.5)
        assert str(point) == (
            "FNIR 0.00 % (0/2 of 2 people) at FPIR 0.5, threshold 0.3000, false positives 50.00 % (1/2 of 2 people)"
        )
        plain = json.loads(json.dumps(point.as_dict(), allow_nan=False))
        assert plain["tpir"]["rate"] == 1.0
        assert plain["is_supported"] is False

    def test_one_kind_only_no_score_and_bad_rates(self):
        for enrolled in (True, False):
            with pytest.raises(InputError, match="of enrolled people and of strangers"):
                fnir_at_fpir(SearchTrials([0.1, 0.2], [enrolled] * 2, [False] * 2), 0.1)
        with pytest.raises(InputError, match="no probe has a score"):
            open_set_curve(SearchTrials([NAN, NAN], [True, False], [False, False]))
        trials = SearchTrials([0.1, 0.2], [True, False], [True, False])
        with pytest.raises(InputError, match="FPIR"):
            fnir_at_fpir(trials, 0.0)
        with pytest.raises(InputError, match="NaN"):
            open_set_point(trials, NAN)


class TestRankK:
    @given(seeds)
    def test_against_a_loop_and_never_falling(self, seed):
        trials = random_trials(seed)
        rates = cmc(trials, (1, 2, 3, 5))
        assert [rank for rank, _ in rates] == [1, 2, 3, 5]
        for rank, rate in rates:
            by_person = {}
            for place, person, enrolled in zip(trials.ranks, trials.people, trials.is_enrolled, strict=True):
                if enrolled:
                    by_person.setdefault(person, []).append(1 <= place <= rank)
            assert rate.value == pytest.approx(np.mean([np.mean(hits) for hits in by_person.values()]))
            assert rate.count == sum(sum(hits) for hits in by_person.values())
        for low, high in pairwise(rates):
            assert high[1].value >= low[1].value - 1e-12

    def test_bad_input(self):
        with pytest.raises(InputError, match="enrolled"):
            cmc(SearchTrials([0.1], [False], [False]))
        with pytest.raises(InputError, match="from 1"):
            cmc(SearchTrials([0.1], [True], [True]), (0, 1))


class TestGallerySize:
    def naive_fpir(self, scores, weights, threshold, size):
        """Slow and obvious: every gallery that can be drawn."""
        return float(
            np.mean(
                [
                    sum(w for w, row in zip(weights, scores, strict=True) if (row[list(gallery)] >= threshold).any())
                    for gallery in combinations(range(scores.shape[1]), size)
                ]
            )
        )

    def scores(self, seed):
        scores = np.round(np.random.default_rng(seed).uniform(-1, 1, (8, 7)), 1)
        scores[3] = NAN
        return scores, np.array([0, 0, 0, 1, 2, 2, 3, 4])

    @given(seeds, st.integers(1, 7), st.floats(-1, 1))
    def test_the_mean_over_all_galleries(self, seed, size, threshold):
        scores, people = self.scores(seed)
        assert expected_fpir(scores, threshold, size) == pytest.approx(self.naive_fpir(scores, np.full(8, 1 / 8), threshold, size))
        weights = np.array([1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2, 1, 1]) / 5
        assert expected_fpir(scores, threshold, size, stranger_ids=people) == pytest.approx(
            self.naive_fpir(scores, weights, threshold, size)
        )

    @given(seeds, st.sampled_from([0.02, 0.1, 0.3, 0.6, 1.0]))
    def test_the_smallest_threshold_that_keeps_the_mean(self, seed, fpir):
        scores, people = self.scores(seed)
        found = gallery_size_thresholds(scores, (1, 3, 7), fpir, stranger_ids=people)
        assert [one.n_people for one in found] == [1, 3, 7]
        for one in found:
            assert expected_fpir(scores, one.threshold, one.n_people, stranger_ids=people) == pytest.approx(
                one.expected_fpir, abs=1e-9
            )
            assert one.expected_fpir <= fpir * (1 + 1e-9)
            lower = scores[scores < one.threshold]
            if lower.size and fpir < 1.0:  # all strangers that have a score may pass at 1
                assert expected_fpir(scores, lower.max(), one.n_people, stranger_ids=people) > fpir * (1 - 1e-9)
            assert (one.n_probes, one.n_strangers, one.n_available) == (8, 5, 7)
        # More people enrolled, more chances for a stranger.
        for small, large in pairwise(found):
            assert large.threshold >= small.threshold

    @pytest.mark.parametrize(("available", "size"), [(1, 1), (5, 1), (5, 5), (1680, 100), (1680, 1600)])
    def test_chances_of_places_add_up(self, available, size):
        chances = best_place_chances(available, size)
        assert chances.sum() == pytest.approx(1.0)
        assert chances[0] == pytest.approx(size / available)
        exact = [math.comb(available - 1 - place, size - 1) / math.comb(available, size) for place in range(min(4, chances.size))]
        assert chances[:4] == pytest.approx(exact)

    def test_bad_input(self):
        scores, people = self.scores(1)
        for size in (0, 8):
            with pytest.raises(InputError, match="cannot be drawn from 7"):
                gallery_size_thresholds(scores, (size,), 0.1)
        with pytest.raises(InputError, match="FPIR"):
            gallery_size_thresholds(scores, (1,), 0.0)
        with pytest.raises(InputError, match="all NaN"):
            expected_fpir([[0.1, NAN]], 0.1, 1)
        with pytest.raises(InputError, match="at least 1 × 1"):
            expected_fpir(np.zeros((0, 3)), 0.1, 1)
        with pytest.raises(InputError, match="one person id"):
            expected_fpir(scores, 0.1, 1, stranger_ids=people[1:])
        assert gallery_size_thresholds([[NAN, NAN]], (1,), 0.1)[0].expected_fpir == 0.0
