"""Miners, losses and the class head against slow twins that follow the papers' definitions one triplet at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from facesearch.core.errors import InputError
from facesearch.training.class_head import MarginSoftmax
from facesearch.training.losses import (
    CollapseWatch,
    LossValue,
    Spread,
    all_pairs_of,
    contrastive_loss,
    neighbour_pairs,
    spread_of,
    triplet_loss,
)
from facesearch.training.miners import MINERS, Triplets, distance_weights, mine, squared_distances

MARGIN = 0.3
EXACT = 1e-5  # float32 sums in another order


def a_batch(seed: int, n: int = 14, dim: int = 6, n_people: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = np.random.default_rng(seed)
    labels = generator.integers(n_people, size=n)
    vectors = generator.normal(size=(n, dim)) + 1.5 * generator.normal(size=(n_people, dim))[labels]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return torch.tensor(unit, dtype=torch.float32), torch.tensor(labels)


def naive_triplets(kind: str, distances: np.ndarray, labels: np.ndarray) -> set[tuple[int, int, int]]:
    n = len(labels)
    every = [
        (a, p, k)
        for a, p, k in itertools.product(range(n), repeat=3)
        if a != p and labels[a] == labels[p] and labels[a] != labels[k]
    ]
    if kind == "all":
        return set(every)
    if kind == "semi-hard":
        best: dict[tuple[int, int], int] = {}
        for a, p, k in every:
            if distances[a, p] < distances[a, k] < distances[a, p] + np.float32(MARGIN) and (
                (a, p) not in best or distances[a, k] < distances[a, best[a, p]]
            ):
                best[a, p] = k
        return {(a, p, k) for (a, p), k in best.items()}
    hard: dict[int, tuple[int, int]] = {}
    for a, p, k in every:
        far, near = hard.get(a, (p, k))
        hard[a] = (p if distances[a, p] > distances[a, far] else far, k if distances[a, k] < distances[a, near] else near)
    return {(a, p, k) for a, (p, k) in hard.items()}


def as_set(triplets: Triplets) -> set[tuple[int, int, int]]:
    rows = torch.stack(triplets, dim=1).tolist()
    assert len({tuple(row) for row in rows}) == len(rows)
    return {(a, p, k) for a, p, k in rows}


@pytest.mark.parametrize("kind", ["all", "semi-hard", "hard"])
@pytest.mark.parametrize("seed", range(8))
def test_miners_agree_with_slow_twins(kind: str, seed: int) -> None:
    vectors, labels = a_batch(seed)
    distances = squared_distances(vectors)
    expected = naive_triplets(kind, distances.numpy(), labels.numpy())
    assert len(expected) > 3
    assert as_set(mine(kind, distances, labels, margin=MARGIN)) == expected


def test_negatives_as_far_as_the_positive_are_not_semi_hard() -> None:
    distances = 0.5 * (1 - torch.eye(6))
    labels = torch.arange(6) // 2
    assert mine("semi-hard", distances, labels, margin=MARGIN).anchor.numel() == 0
    distances[0, 2] += 0.1
    assert as_set(mine("semi-hard", distances, labels, margin=MARGIN)) == {(0, 1, 2)}


def test_distance_weights_agree_with_the_papers_formula() -> None:
    vectors, labels = a_batch(3, dim=5)
    distances = squared_distances(vectors)
    negative = labels[:, None] != labels[None, :]
    weights = distance_weights(distances, negative, 5).numpy()
    n_drawable = 0
    for a in range(len(labels)):
        slow = np.zeros(len(labels))
        for k in range(len(labels)):
            d = max(math.sqrt(distances[a, k]), 0.5)
            if labels[a] != labels[k] and d < 1.4:
                slow[k] = 1.0 / (d ** (5 - 2) * (1 - d * d / 4) ** ((5 - 3) / 2))
                n_drawable += 1
        np.testing.assert_allclose(weights[a], slow / slow.sum() if slow.sum() else slow, atol=EXACT)
    assert n_drawable > 20


def test_drawn_negatives_follow_their_weights() -> None:
    vectors, labels = a_batch(3)
    distances = squared_distances(vectors)
    weights = distance_weights(distances, labels[:, None] != labels[None, :], 8)
    anchor = int(mine("distance-weighted", distances, labels, margin=MARGIN, dim=8).anchor[0])
    counts, n_draws = np.zeros(len(labels)), 0
    for seed in range(1500):
        drawn = mine("distance-weighted", distances, labels, margin=MARGIN, dim=8, seed=seed)
        own = drawn.negative[drawn.anchor == anchor].numpy()
        np.add.at(counts, own, 1)
        n_draws += own.size
    assert n_draws >= 1500
    np.testing.assert_allclose(counts / n_draws, weights[anchor].numpy(), atol=0.05)
    again = mine("distance-weighted", distances, labels, margin=MARGIN, dim=8, seed=7)
    assert as_set(again) == as_set(mine("distance-weighted", distances, labels, margin=MARGIN, dim=8, seed=7))


@pytest.mark.parametrize("kind", MINERS)
def test_a_batch_without_triplets_gives_a_zero_with_a_gradient(kind: str) -> None:
    for labels in (torch.zeros(5, dtype=torch.int64), torch.arange(5)):  # one person alone; nobody twice
        weights = torch.randn(5, 4, generator=torch.Generator().manual_seed(1), requires_grad=True)
        distances = squared_distances(torch.nn.functional.normalize(weights, dim=1))
        value = triplet_loss(distances, mine(kind, distances, labels, margin=MARGIN), MARGIN)
        assert (float(value.loss.detach()), value.n_terms, value.n_active) == (0.0, 0, 0)
        value.loss.backward()
        assert weights.grad is not None
        assert not weights.grad.any()


@pytest.mark.parametrize("seed", range(4))
def test_triplet_loss_agrees_with_a_slow_twin(seed: int) -> None:
    vectors, labels = a_batch(seed)
    distances = squared_distances(vectors)
    triplets = mine("all", distances, labels, margin=MARGIN)
    value = triplet_loss(distances, triplets, MARGIN)
    above = []
    for a, p, k in sorted(as_set(triplets)):
        one, two = (float(((vectors[a] - vectors[other]).double() ** 2).sum()) for other in (p, k))
        above.append(max(0.0, one - two + MARGIN))
    active = [term for term in above if term > 0]
    assert value.n_terms == len(above) > 0
    assert value.n_active == len(active) > 0
    assert float(value.loss) == pytest.approx(sum(active) / len(active), abs=EXACT)


@pytest.mark.parametrize("layout", [all_pairs_of, neighbour_pairs])
def test_contrastive_loss_agrees_with_a_slow_twin(layout) -> None:
    vectors, labels = a_batch(5)
    pairs = layout(labels)
    value = contrastive_loss(squared_distances(vectors), pairs, 1.0)
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for one, other in zip(pairs.one.tolist(), pairs.other.tolist(), strict=True):
        distance = float((vectors[one] - vectors[other]).double().norm())
        is_mated = bool(labels[one] == labels[other])
        kinds[is_mated].append(distance**2 if is_mated else max(0.0, 1.0 - distance) ** 2)
    assert value.n_terms == sum(map(len, kinds.values()))
    assert min(map(len, kinds.values())) > 0
    assert float(value.loss) == pytest.approx(sum(sum(terms) / len(terms) for terms in kinds.values()), abs=EXACT)


def test_contrastive_loss_of_two_equal_crops_has_a_finite_gradient() -> None:
    weights = torch.ones(2, 4, requires_grad=True)
    distances = squared_distances(torch.nn.functional.normalize(weights, dim=1))
    contrastive_loss(distances, all_pairs_of(torch.tensor([0, 1])), 1.0).loss.backward()
    assert bool(weights.grad.isfinite().all())


@pytest.mark.parametrize("margin", [0.0, -1.0, 4.1, float("nan")])
def test_a_margin_that_cannot_be_met_is_refused(margin: float) -> None:
    with pytest.raises(InputError, match="a margin lies in"):
        triplet_loss(torch.zeros(2, 2), Triplets(*(torch.zeros(0, dtype=torch.int64),) * 3), margin)


@pytest.mark.parametrize("kind", ["arcface", "cosface"])
def test_margin_softmax_agrees_with_a_slow_twin(kind: str) -> None:
    torch.manual_seed(0)
    head = MarginSoftmax(kind, 7, 6, scale=16.0, margin=0.4)
    vectors, labels = a_batch(2)
    value = head(vectors, labels)
    centres = torch.nn.functional.normalize(head.weight.detach().double(), dim=1).numpy()
    losses = []
    for vector, label in zip(vectors.double().numpy(), labels.tolist(), strict=True):
        cosines = centres @ vector
        own = cosines[label]
        cosines[label] = own - 0.4 if kind == "cosface" else math.cos(math.acos(own) + 0.4)
        logits = 16.0 * cosines
        losses.append(math.log(np.exp(logits - logits.max()).sum()) + logits.max() - logits[label])
    assert len(losses) == value.n_terms == 14
    assert float(value.loss.detach()) == pytest.approx(sum(losses) / len(losses), abs=1e-4)


@pytest.mark.parametrize("kind", ["arcface", "cosface"])
@pytest.mark.parametrize(("nearest", "n_active"), [(0.3, 0), (0.6, 1)])
def test_crops_whose_own_person_is_first_without_the_margin_are_not_active(kind: str, nearest: float, n_active: int) -> None:
    head = MarginSoftmax(kind, 2, 3, margin=0.4)
    head.load_state_dict({"weight": torch.eye(3)[:2]})
    cosines = (0.5, nearest)
    vectors = torch.tensor([[*cosines, math.sqrt(1 - sum(one**2 for one in cosines))]])
    assert float(head.with_margin(vectors[0, :1])) < 0.3  # with the margin the other person is nearer either way
    assert head(vectors, torch.tensor([0])).n_active == n_active


def test_arcface_falls_all_the_way_to_the_opposite_vector() -> None:
    head = MarginSoftmax("arcface", 2, 2, margin=0.5)
    values = head.with_margin(torch.linspace(-1, 1, 401))
    assert bool((values.diff() > 0).all())
    assert bool((values <= torch.linspace(-1, 1, 401) + 1e-3).all())


def test_a_sampled_head_looks_at_the_batchs_people_and_a_share_of_the_others() -> None:
    head = MarginSoftmax("cosface", 100, 8, share=0.2)
    labels = torch.tensor([3, 97, 3, 50])
    seen = set()
    for seed in range(60):
        chosen = head.candidates(labels, seed)
        assert chosen.tolist() == sorted(set(chosen.tolist()))
        assert chosen.numel() == 23  # 3 of the batch, and a fifth of the 97 others
        assert {3, 50, 97} <= set(chosen.tolist())
        seen |= set(chosen.tolist())
    assert seen == set(range(100))
    assert head.candidates(labels, 5).tolist() == head.candidates(labels, 5).tolist()
    vectors = torch.nn.functional.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(2)), dim=1)
    sampled = head(vectors, labels, seed=5).loss
    chosen = head.candidates(labels, 5)
    smaller = MarginSoftmax("cosface", 23, 8)
    smaller.load_state_dict({"weight": head.weight.detach()[chosen]})
    assert float(sampled.detach()) == pytest.approx(
        float(smaller(vectors, torch.searchsorted(chosen, labels)).loss.detach()), abs=1e-5
    )
    sampled.backward()
    assert head.weight.grad is not None
    untouched = [row for row in range(100) if row not in set(chosen.tolist())]
    assert not head.weight.grad[untouched].any()


def test_a_sampled_head_has_others_however_large_the_batch() -> None:
    head = MarginSoftmax("cosface", 100, 8, share=0.1)
    assert head.candidates(torch.arange(60), 0).numel() == 64
    assert head.candidates(torch.arange(100), 0).tolist() == list(range(100))


def test_one_person_is_no_class_problem() -> None:
    with pytest.raises(InputError, match="two of them, not 1"):
        MarginSoftmax("arcface", 1, 8)


def test_spread_is_the_mean_squared_distance_of_each_kind() -> None:
    vectors, labels = a_batch(6)
    found = spread_of(squared_distances(vectors), labels)
    kinds: dict[bool, list[float]] = {True: [], False: []}
    for one, other in itertools.combinations(range(len(labels)), 2):
        kinds[bool(labels[one] == labels[other])].append(float(((vectors[one] - vectors[other]) ** 2).sum()))
    assert found.mated == pytest.approx(np.mean(kinds[True]), abs=EXACT)
    assert found.non_mated == pytest.approx(np.mean(kinds[False]), abs=EXACT)


def test_collapse_is_said_after_a_window_with_what_to_do() -> None:
    watch = CollapseWatch(0.3, "hard", window=3)
    value = LossValue(torch.tensor(0.3), 100, 100)
    said = [watch.look(value, 0.3, Spread(0.001, 0.002)) for _ in range(3)]
    assert said[:2] == [None, None]
    assert said[2] is not None
    assert "collapse: for 3 steps people lay 0.0020 apart" in said[2]
    assert "stands at its margin 0.3" in said[2]
    assert "miner semi-hard or distance-weighted instead of hard" in said[2]
    assert watch.look(value, 0.3, Spread(0.001, 0.002)) is None


def test_a_collapse_without_triplets_is_said_as_it_is() -> None:
    """The semi-hard miner finds nothing among equal vectors: the loss is 0, and another miner than itself it cannot advise."""
    said = CollapseWatch(0.2, "semi-hard", window=1).look(LossValue(torch.tensor(0.0), 0, 0), 0.0, Spread(0.0, 0.0))
    assert said is not None
    assert "miner semi-hard finds no triplet" in said
    assert "margin" not in said
    assert "instead of" not in said


def test_a_collapse_is_not_said_to_have_learned_everything() -> None:
    watch = CollapseWatch(0.2, "semi-hard", window=3)
    said = [watch.look(LossValue(torch.tensor(0.0), 0, 0), 0.0, Spread(0.0, 0.0)) for _ in range(9)]
    assert [None if one is None else one.split(":")[0] for one in said] == [None, None, "collapse"] * 3


def test_a_loss_that_stays_at_its_margin_is_said() -> None:
    """Vectors far apart, those of one person as far as those of two: the loss is the margin, and nothing is learned."""
    watch = CollapseWatch(0.2, "hard", window=3)
    value = LossValue(torch.tensor(0.2), 100, 100)
    told_apart, stuck = Spread(1.2, 1.4), Spread(1.2, 1.21)
    assert [watch.look(value, 0.2, one) for one in (stuck, stuck, told_apart, stuck, stuck)] == [None] * 5
    said = watch.look(value, 0.203, stuck)
    assert said is not None
    assert "loss stood at its margin (last 0.203 at 0.2)" in said
    assert "1.210 apart where those of one lie 1.200" in said
    assert "instead of hard" in said
    for other in (0.19, 0.21):
        assert all(watch.look(value, other, stuck) is None for _ in range(4))


def test_vanished_triplets_are_said_and_a_good_step_begins_anew() -> None:
    idle, busy = LossValue(torch.tensor(0.0), 1000, 2), LossValue(torch.tensor(0.1), 1000, 300)
    apart = Spread(0.4, 1.9)
    for miner, advice in (("semi-hard", "Take miner hard, more people"), ("hard", "Take more people"), (None, "Take more people")):
        watch = CollapseWatch(0.3, miner, window=2)
        assert [watch.look(one, 0.0, apart) for one in (idle, busy, idle)] == [None, None, None]
        said = watch.look(idle, 0.0, apart)
        assert said is not None
        assert "2/1000" in said
        assert advice in said
    assert CollapseWatch(None, window=1).look(idle, 0.0, apart) is None


def test_a_watch_goes_on_counting() -> None:
    value, idle = LossValue(torch.tensor(0.2), 100, 100), LossValue(torch.tensor(0.0), 100, 0)
    for one, loss, spread in ((value, 0.5, Spread(0.0, 0.0)), (value, 0.2, Spread(1.0, 1.0)), (idle, 0.0, Spread(0.1, 1.9))):
        begun, going = CollapseWatch(0.2, window=4), CollapseWatch(0.2, window=4)
        assert [begun.look(one, loss, spread) for _ in range(3)] == [None] * 3
        going.restore(begun.state())
        assert going.look(one, loss, spread) is not None
