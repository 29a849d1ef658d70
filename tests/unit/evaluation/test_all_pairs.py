from __future__ import annotations

import json
import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import ScoredPair, all_pairs
from facesearch.evaluation.intervals import Rate, WeightedRate

TOLERANCE = 1e-6
"""Scores of a tile and of a loop may differ in the last digits of float32."""


def people(seed=5, sizes=(1, 1, 2, 3, 5, 9, 1, 4), dim=6, spread=0.5, n_failures=0):
    """Templates of people scattered about a direction of their own, in mixed order."""
    rng = np.random.default_rng(seed)
    ids = np.repeat(np.arange(len(sizes)), sizes)
    vectors = rng.normal(size=(len(sizes), dim))[ids] + spread * rng.normal(size=(ids.size, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[rng.choice(ids.size, n_failures, replace=False)] = np.nan
    order = rng.permutation(ids.size)
    return vectors[order].astype(np.float32), np.array([f"person {number}" for number in ids])[order]


def naive_pairs(vectors, ids, left_out=()):
    """Slow and obvious: every pair, whether mated, its score or NaN, and its weight."""
    n_of = {person: list(ids).count(person) for person in ids}
    skipped = {frozenset(pair) for pair in left_out}
    pairs = []
    for one in range(len(ids)):
        for other in range(one + 1, len(ids)):
            a, b = ids[one], ids[other]
            if frozenset((a, b)) in skipped:
                continue
            weight = 2 / (n_of[a] * (n_of[a] - 1)) if a == b else 1 / n_of[a] / n_of[b]
            pairs.append((one, other, a == b, float(vectors[one].astype(float) @ vectors[other].astype(float)), weight))
    return pairs


def naive_rate(pairs, threshold, *, mated, weighted):
    kind = [(score, weight if weighted else 1.0) for _, _, is_mated, score, weight in pairs if is_mated == mated]
    return sum(weight for score, weight in kind if score >= threshold) / sum(weight for _, weight in kind)


@pytest.mark.parametrize("block", [1, 4, 7, 1000])
@pytest.mark.parametrize("n_failures", [0, 3])
@pytest.mark.parametrize("left_out", [(), [("person 2", "person 5"), ("person 6", "person 0"), ("person 1", "nobody")]])
def test_rates_are_those_of_a_loop_over_pairs(block, n_failures, left_out):
    vectors, ids = people(n_failures=n_failures)
    found = all_pairs(vectors, ids, left_out=left_out, block=block)
    pairs = naive_pairs(vectors, ids, left_out)
    assert found.mated.total == sum(pair[2] for pair in pairs)
    assert found.non_mated.total == sum(not pair[2] for pair in pairs)
    assert found.n_failures == n_failures
    edges = found.non_mated.edges[:: 2**11]
    assert edges.size == 33
    # A score that rounding moves across an edge would fail the comparison for a reason of no interest.
    edges = [edge for edge in edges if all(not abs(pair[3] - edge) < TOLERANCE for pair in pairs)]
    assert len(edges) > 25
    for edge in edges:
        for weighted in (True, False):
            point = found.at_threshold(float(edge), weighted=weighted)
            assert point.tar.value == pytest.approx(naive_rate(pairs, edge, mated=True, weighted=weighted))
            assert point.false_matches.value == pytest.approx(naive_rate(pairs, edge, mated=False, weighted=weighted))
            assert point.false_matches.count == sum(not pair[2] and pair[3] >= edge for pair in pairs)
            spread = {frozenset((ids[one], ids[other])) for one, other, mated, score, _ in pairs if not mated and score >= edge}
            assert point.evidence.n_person_pairs == len(spread)


@pytest.mark.parametrize("block", [1, 5, 1000])
def test_worst_pairs_are_one_for_each_pair_of_people_and_each_person(block):
    vectors, ids = people(n_failures=2)
    found = all_pairs(vectors, ids, n_worst=6, block=block)
    highest, lowest = {}, {}
    for one, other, mated, score, _ in naive_pairs(vectors, ids):
        if math.isnan(score):
            continue
        held, key = (lowest, ids[one]) if mated else (highest, frozenset((ids[one], ids[other])))
        if key not in held or (score < held[key][0] if mated else score > held[key][0]):
            held[key] = (score, one, other)
    expected_matches = sorted(highest.values(), key=lambda pair: -pair[0])[:6]
    expected_misses = sorted(lowest.values())[:6]
    for worst, expected in ((found.worst_false_matches, expected_matches), (found.worst_false_non_matches, expected_misses)):
        assert len(worst) == len(expected) >= 5
        for pair, (score, one, other) in zip(worst, expected, strict=True):
            assert (pair.first, pair.second) == (one, other)
            assert pair.score == pytest.approx(score, abs=TOLERANCE)


def test_a_person_with_many_photographs_decides_pooled_but_not_weighted():
    # Two lookalikes with 20 photographs each among 12 people with one: of pairs of people, one of 91.
    eye = np.eye(16, dtype=np.float32)
    vectors = np.concatenate([np.repeat(eye[:1], 40, axis=0), eye[2:14]])
    ids = np.r_[np.zeros(20), np.ones(20), np.arange(2, 14)].astype(int)
    found = all_pairs(vectors, ids)
    weighted, pooled = found.at_threshold(0.5), found.at_threshold(0.5, weighted=False)
    assert isinstance(weighted.false_matches, WeightedRate)
    assert weighted.false_matches.value == pytest.approx(1 / 91)
    assert weighted.false_matches.n_units == 91
    assert pooled.false_matches == Rate(400, 400 + 2 * 20 * 12 + 66)
    assert weighted.evidence.n_person_pairs == 1
    assert not weighted.is_supported
    assert found.at_fmr(0.02).threshold < 0.01  # one pair of people of 91 may match
    assert found.at_fmr(0.01).threshold > 1.0  # none may, and copies score 1
    assert found.at_fmr(0.01).false_matches.count == 0


@settings(max_examples=30)
@given(st.integers(0, 10_000), st.floats(0.001, 1.0), st.booleans())
def test_the_rate_asked_for_is_never_exceeded(seed, fmr, weighted):
    vectors, ids = people(seed=seed)
    found = all_pairs(vectors, ids, n_worst=0)
    point = found.at_fmr(fmr, weighted=weighted)
    assert point.false_matches.value <= fmr * (1 + 1e-9)
    looser = found.at_threshold(point.threshold - found.non_mated.width, weighted=weighted)
    assert point.threshold == -1.0 or looser.false_matches.value > fmr


@settings(max_examples=30)
@given(st.integers(0, 10_000))
def test_both_rates_fall_as_the_threshold_rises(seed):
    vectors, ids = people(seed=seed, n_failures=1)
    found = all_pairs(vectors, ids, n_worst=0)
    points = [found.at_threshold(threshold) for threshold in np.linspace(-1, 1, 9)]
    assert len(points) == 9
    for low, high in pairwise(points):
        assert high.tar.value <= low.tar.value
        assert high.false_matches.value <= low.false_matches.value


def test_the_bound_where_the_evidence_ends():
    vectors, ids = people(sizes=(5,) * 30)
    found = all_pairs(vectors, ids)
    assert found.non_mated.total == 435 * 25
    loose, tight = found.at_fmrs((1e-5, 0.2))
    assert loose.is_supported
    assert loose.evidence.n_person_pairs >= 10
    assert not tight.is_supported
    assert "10875 comparisons support nothing below 2.8e-4" in str(tight)
    # A threshold of its own, at which nothing matches, is answered with the bound as well.
    assert not found.at_threshold(0.9999).is_supported


def test_people_too_few_for_ten_pairs_support_no_rate():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(80, 16))
    found = all_pairs(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.repeat(np.arange(4), 20))
    for fmr in (0.5, 0.01, 1e-3):
        assert (found.at_fmr(fmr).is_supported, found.at_fmr(fmr).as_dict()["bound"]) == (False, 1.0)


def test_ten_pairs_of_people_set_the_bound():
    vectors, ids = people(sizes=(10,) * 12, spread=0.2)
    found = all_pairs(vectors, ids)
    maxima = {}
    for one, other, mated, score, _ in naive_pairs(vectors, ids):
        if not mated:
            pair = frozenset((ids[one], ids[other]))
            maxima[pair] = max(score, maxima.get(pair, -1.0))
    tenth = sorted(maxima.values(), reverse=True)[9]
    bound = found.at_fmr(1e-3).evidence.bound
    assert bound == pytest.approx(found.non_mated.share_at_or_above(tenth - found.non_mated.width))
    assert found.at_fmr(bound).is_supported
    assert not found.at_fmr(bound * 0.8).is_supported


def test_as_plain_values():
    vectors, ids = people(sizes=(5,) * 30)
    plain = json.loads(json.dumps(all_pairs(vectors, ids).at_fmr(1e-5).as_dict(), allow_nan=False))
    assert plain["is_supported"] is False
    assert plain["bound"] == pytest.approx(plain["evidence"]["bound"])
    assert plain["false_matches"]["total"] == 10875
    assert plain["tar"]["n_units"] == 30


def test_whole_number_ids_and_order_of_rows_do_not_matter():
    vectors, ids = people()
    numbers = np.array([int(name.split()[1]) for name in ids])
    turned = np.arange(len(ids))[::-1]
    one, other = all_pairs(vectors, ids), all_pairs(vectors[turned], numbers[turned])
    assert (one.mated.counts == other.mated.counts).all()
    assert one.at_fmr(0.05).threshold == other.at_fmr(0.05).threshold


def test_one_person_two_photographs_and_no_pair_of_a_kind():
    vectors, _ = people()
    with pytest.raises(InputError, match=r"two people.*2 photographs of 1 people give 1 mated and 0 non-mated"):
        all_pairs(vectors[:2], ["a", "a"]).at_fmr(0.1)
    with pytest.raises(InputError, match=r"two photographs of one.*give 0 mated and 3 non-mated"):
        all_pairs(vectors[:3], ["a", "b", "c"]).at_threshold(0.1)
    with pytest.raises(InputError, match="a pair needs two photographs, there are 1"):
        all_pairs(vectors[:1], ["a"])


def test_all_faces_missing():
    failed = np.full((4, 6), np.nan)
    found = all_pairs(failed, ["a", "a", "b", "b"])
    assert (found.mated.n_failures, found.non_mated.n_failures, found.n_failures) == (2, 4, 4)
    assert found.worst_false_matches == ()
    with pytest.raises(InputError, match="faces of 4 of 4 photographs could not be acquired"):
        found.at_fmr(0.1)


def test_malformed_input():
    vectors, ids = people()
    holed = vectors.copy()
    holed[3, 2] = np.nan
    for bad, names, message in (
        (vectors, ids[:-1], "one person id a vector"),
        (vectors[0], ids, "one person id a vector"),
        (holed, ids, "NaN in part"),
        (vectors * 2, ids, "unit norm"),
        (np.where(np.isfinite(vectors), np.inf, 0), ids, "unit norm"),
    ):
        with pytest.raises(InputError, match=message):
            all_pairs(bad, names)
    with pytest.raises(InputError, match="twice"):
        all_pairs(vectors, ids, left_out=[("person 1", "person 1")])
    with pytest.raises(InputError, match="at least 0"):
        all_pairs(vectors, ids, n_worst=-1)
    with pytest.raises(InputError, match="at least 1"):
        all_pairs(vectors, ids, block=0)
    assert all_pairs(vectors, ids, n_worst=1).worst_false_matches[0].first < len(ids)
    assert ScoredPair(0.5, 1, 2).second == 2
