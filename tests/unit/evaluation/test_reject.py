"""Error-versus-reject against a slow twin, and what it refuses to say."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.core.errors import InputError
from facesearch.evaluation.reject import MatedPairs, error_versus_reject, keep_best, random_rejections


def pairs_of(*rows):
    first, second, person, missed = zip(*rows, strict=True)
    return MatedPairs(np.array(first), np.array(second), np.array(person), np.array(missed, dtype=np.bool_))


SMALL = pairs_of((0, 1, 7, True), (0, 2, 7, True), (1, 2, 7, False), (3, 4, 9, False))


def test_the_bad_photograph_goes_first_and_takes_its_misses_along():
    before, after = error_versus_reject(SMALL, [0.1, 0.9, 0.8, 0.7, 0.6], [0.0, 0.2])
    assert (before.fnmr.pooled.count, before.fnmr.pooled.total, before.fnmr.n_people) == (2, 4, 2)
    assert before.fnmr.by_person == pytest.approx((2 / 3 + 0) / 2)
    assert (after.refused.count, after.refused.total) == (1, 5)
    assert (after.fnmr.pooled.count, after.fnmr.pooled.total, after.fnmr.by_person) == (0, 2, 0.0)
    assert str(before.fnmr) == "33.333 % over 2 people, pooled 50.00 % (2/4)"


def test_of_equal_qualities_the_earlier_goes_first():
    assert keep_best([0.5, 0.5, 0.5, 0.5], 0.5).tolist() == [False, False, True, True]


def test_a_person_without_pairs_left_does_not_count():
    point = error_versus_reject(SMALL, [0.9, 0.9, 0.9, 0.1, 0.9], [0.2])[0]
    assert point.fnmr.n_people == 1


@pytest.mark.parametrize("seed", range(5))
def test_the_curve_equals_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    n = 40
    owner = rng.integers(0, 8, n)
    quality = rng.integers(0, 12, n) / 12
    rows = [(i, j, owner[i], rng.random() < 0.3) for i in range(n) for j in range(i + 1, n) if owner[i] == owner[j]]
    shares = [0.0, 0.1, 0.35, 0.6]
    points = error_versus_reject(pairs_of(*rows), quality, shares)
    assert len(points) == len(shares)
    for share, point in zip(shares, points, strict=True):
        gone = sorted(range(n), key=lambda i: (quality[i], i))[: round(share * n)]
        left = [row for row in rows if row[0] not in gone and row[1] not in gone]
        people = {row[2] for row in left}
        rates = [np.mean([missed for *_, who, missed in left if who == one]) for one in people]
        assert (point.fnmr.pooled.count, point.fnmr.pooled.total) == (sum(row[3] for row in left), len(left))
        assert point.fnmr.n_people == len(people)
        assert point.fnmr.by_person == pytest.approx(np.mean(rates))


def test_random_rejections_are_repeatable_and_centred_on_no_rejection():
    rng = np.random.default_rng(1)
    rows = [(4 * who + i, 4 * who + j, who, rng.random() < 0.2) for who in range(100) for i in range(4) for j in range(i)]
    pairs = pairs_of(*rows)
    rates = random_rejections(pairs, 400, share=0.05, n=50, seed=3)
    assert rates.shape == (50,)
    assert rates == pytest.approx(random_rejections(pairs, 400, share=0.05, n=50, seed=3))
    assert rates.std() > 0
    assert rates.mean() == pytest.approx(pairs.fnmr(np.ones(400, dtype=np.bool_)).by_person, abs=0.01)


def test_bad_input():
    with pytest.raises(InputError, match="finite"):
        keep_best([0.1, np.nan], 0.5)
    with pytest.raises(InputError, match=r"\[0, 1\), not 1"):
        keep_best([0.1, 0.2], 1.0)
    with pytest.raises(InputError, match="3 qualities were given for 5"):
        error_versus_reject(SMALL, [0.1, 0.2, 0.3], [0.0])
    with pytest.raises(InputError, match="no mated pair is left of 4"):
        SMALL.fnmr(np.zeros(5, dtype=np.bool_))
    with pytest.raises(InputError, match="two different photographs"):
        pairs_of((1, 1, 0, False))
    with pytest.raises(InputError, match="one length"):
        MatedPairs(np.array([0, 1]), np.array([1]), np.array([0]), np.array([True]))
