"""Samplers: every batch is P × K, pairs are what they say, and a step's batch depends on the seed and the step alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.errors import InputError
from facesearch.training.samplers import PairSampler, PeopleSampler, TurnSampler, shard

COUNTS = [1, 1, 2, 3, 4, 5, 9]
LABELS = np.repeat(np.arange(len(COUNTS)), COUNTS)


@given(
    counts=st.lists(st.integers(1, 7), min_size=4, max_size=12),
    n_each=st.integers(2, 5),
    singles=st.booleans(),
    step=st.integers(0, 50),
    seed=st.integers(0, 2**31),
)
def test_every_batch_is_p_people_with_k_photographs(counts: list[int], n_each: int, singles: bool, step: int, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    able = [n for n in counts if n >= (1 if singles else 2)]
    if len(able) < 3:
        with pytest.raises(InputError, match="cannot be drawn"):
            PeopleSampler(labels, 3, n_each, singles=singles, seed=seed)
        return
    sampler = PeopleSampler(labels, 3, n_each, singles=singles, seed=seed)
    rows = sampler.batch(step)
    assert rows.shape == (3 * n_each,)
    people = labels[rows].reshape(3, n_each)
    assert (people == people[:, :1]).all()
    assert len(set(people[:, 0].tolist())) == 3
    for own in rows.reshape(3, n_each):
        n_own = counts[labels[own[0]]]
        most = np.unique(own, return_counts=True)[1]
        # Each photograph as often as any other, give or take one; none twice where there are enough.
        assert most.size == min(n_own, n_each)
        assert most.max() <= -(-n_each // n_own)
    np.testing.assert_array_equal(rows, PeopleSampler(labels, 3, n_each, singles=singles, seed=seed).batch(step))


def test_an_epoch_shows_nobody_twice() -> None:
    sampler = PeopleSampler(LABELS, 2, 2, seed=3)
    assert sampler.steps_per_epoch == 2  # five people with two or more
    seen = [int(one) for step in range(2) for one in np.unique(LABELS[sampler.batch(step)])]
    assert len(seen) == 4
    assert len(set(seen)) == 4
    later = {int(one) for step in range(40) for one in LABELS[sampler.batch(step)]}
    assert later == {2, 3, 4, 5, 6}


def test_people_with_few_photographs_are_repeated_or_left_out_and_it_says_so() -> None:
    repeated = PeopleSampler(LABELS, 2, 4)
    assert "5 of 7 people take part, 2 of them with fewer than 4 photographs" in str(repeated)
    assert "2 left out (2 people have one photograph)" in str(repeated)
    strict = PeopleSampler(LABELS, 2, 4, few="leave-out")
    assert "3 of 7 people take part, 0 of them" in str(strict)
    assert {int(one) for step in range(30) for one in LABELS[strict.batch(step)]} == {4, 5, 6}


@pytest.mark.parametrize(
    "make", [lambda ids: PeopleSampler(ids, 2, 2), lambda ids: PairSampler(ids, 4), lambda ids: TurnSampler(ids, 2)]
)
def test_one_person_alone_is_refused(make) -> None:
    with pytest.raises(InputError, match=r"1 people|there are 1"):
        make(np.zeros(6, dtype=np.int64))


def test_teachers_tell_of_one_person_too() -> None:
    sampler = TurnSampler(np.zeros(6, dtype=np.int64), 3, least_people=1)
    assert sorted(np.concatenate([sampler.batch(step) for step in range(2)]).tolist()) == list(range(6))


def test_people_with_one_photograph_alone_are_refused() -> None:
    with pytest.raises(InputError, match="people with one photograph: 6"):
        PeopleSampler(np.arange(6), 2, 2)
    with pytest.raises(InputError, match="0 with two or more"):
        PairSampler(np.arange(6), 2)


def test_pairs_are_mated_and_non_mated_in_turn() -> None:
    sampler = PairSampler(LABELS, 6, seed=1)
    for step in range(20):
        rows = sampler.batch(step).reshape(-1, 2)
        assert rows.shape == (6, 2)
        people = LABELS[rows]
        assert (people[::2, 0] == people[::2, 1]).all()
        assert (rows[::2, 0] != rows[::2, 1]).all()
        assert (people[1::2, 0] != people[1::2, 1]).all()


def test_everybody_and_all_their_photographs_come_in_time() -> None:
    people, pairs = PeopleSampler(LABELS, 2, 2, seed=3), PairSampler(LABELS, 6, seed=3)
    drawn = np.concatenate([people.batch(step) for step in range(200)])
    mated, other = np.concatenate([pairs.batch(step).reshape(3, 2, 2) for step in range(200)]).transpose(1, 0, 2)
    able = np.flatnonzero(LABELS >= 2)  # the first two people have one photograph
    assert able.size == LABELS.size - 2
    assert set(drawn.tolist()) == set(mated.ravel().tolist()) == set(able.tolist())
    assert set(other.ravel().tolist()) == set(range(LABELS.size))


@pytest.mark.parametrize("world", [2, 4])
def test_each_process_has_as_many_mated_pairs_as_the_others(world: int) -> None:
    """A process with one kind alone would have half of the loss: the means of the processes' gradients would be another loss'."""
    batch = PairSampler(LABELS, 8, seed=1).batch(3)
    for rank in range(world):
        people = LABELS[shard(batch, 2, rank, world)].reshape(-1, 2)
        assert (people[:, 0] == people[:, 1]).sum() == 4 // world


def test_crops_in_turn_come_once_an_epoch() -> None:
    sampler = TurnSampler(LABELS, 6, seed=2)
    assert sampler.steps_per_epoch == 4
    seen = np.concatenate([sampler.batch(step) for step in range(4)])
    assert np.unique(seen).size == 24
    assert not np.array_equal(sampler.batch(0), sampler.batch(4))


def test_a_batch_is_divided_by_whole_people() -> None:
    rows = np.arange(24)
    parts = [shard(rows, 4, rank, 3) for rank in range(3)]
    np.testing.assert_array_equal(np.concatenate(parts), rows)
    assert [part.size for part in parts] == [8, 8, 8]
    with pytest.raises(InputError, match="6 groups of 4 crops cannot be divided among 4"):
        shard(rows, 4, 0, 4)
