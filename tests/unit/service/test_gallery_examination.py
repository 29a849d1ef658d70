"""The examination of a gallery against slow twins that compare every pair."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.template import TemplateBatch
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery_examination import NEAR_IDENTICAL, Examination, ExaminationRule, examine, survey
from tests.world import EMBEDDER, POINTS

DIM = 24
RULE = ExaminationRule()


def drawn(seed: int) -> TemplateBatch:
    """Draw people with one to six photographs, some under another's label, some people under two labels, some copies."""
    rng = np.random.default_rng(seed)
    vectors, labels = [], []
    for person in range(40):
        own = rng.normal(size=DIM)
        n = int(rng.integers(1, 7))
        vectors += [normalised(own + 0.5 * rng.normal(size=DIM)) for _ in range(n)]
        labels += [person if number % 2 or person % 5 else person + 100 for number in range(n)]
    for row in rng.choice(len(labels), 8, replace=False):
        labels[row] = int(rng.integers(40))
    for row in rng.choice(len(labels), 5, replace=False):
        vectors.append(vectors[row])
        labels.append(labels[row])
    ids = rng.permutation(len(labels)) + 1
    order = np.argsort(ids)
    return TemplateBatch(ids[order], np.array(labels)[order], np.stack(vectors)[order], EMBEDDER)


def examined(batch: TemplateBatch) -> Examination:
    index = GalleryIndexFactory(EMBEDDER, batch.vectors.shape[1], IndexOptions()).empty(len(batch))
    index.add(batch, revision=1)
    return examine(batch, survey(batch, index), POINTS)


def fused(vectors: list[np.ndarray], probe: np.ndarray) -> float:
    total = np.sum(vectors, axis=0)
    return float(total @ probe / np.linalg.norm(total)) if vectors else -1.0


def slow_misplaced(batch: TemplateBatch, nearest: int) -> set[tuple[int, int, int]]:
    """Try each label by itself, as the text of ``ExaminationRule`` has it."""
    people: dict[int, dict[int, np.ndarray]] = {}
    for key, owner, vector in zip(batch.template_ids.tolist(), batch.identity_ids.tolist(), batch.vectors, strict=True):
        people.setdefault(owner, {})[key] = vector.astype(np.float64)
    low, high = POINTS.at_fmr(RULE.own_fmr).threshold, POINTS.at_fmr(RULE.other_fmr).threshold
    found = set()
    for owner in sorted(people):
        gone = {key for key, *_ in found}
        left = dict(people[owner])
        while len(left) > 1:
            gaps = []
            for key, vector in left.items():
                ranked = sorted(
                    (
                        (max(float(v @ vector) for v in theirs.values()), other)
                        for other, theirs in people.items()
                        if other != owner
                    ),
                    reverse=True,
                )[:nearest]
                best, other = max(
                    (fused([v for k, v in people[other].items() if k not in gone], vector), other) for _, other in ranked
                )
                own = fused([v for k, v in left.items() if k != key], vector)
                if best >= high and own < low and best - own >= RULE.margin * high:
                    gaps.append((best - own, key, other))
            if not gaps:
                break
            _, key, other = max(gaps)
            del left[key]
            found.add((key, owner, other))
    return found


@pytest.mark.parametrize("seed", range(4))
def test_wrong_labels_are_those_of_the_slow_twin(seed):
    batch = drawn(seed)
    moves = {(one.template_id, one.identity_id, one.other_id) for one in examined(batch).misplaced if one.other_id is not None}
    assert moves
    assert moves == slow_misplaced(batch, 5)


@pytest.mark.parametrize("seed", range(4))
def test_duplicates_are_the_pairs_whose_mean_score_is_high(seed):
    batch = drawn(seed)
    found = examined(batch)
    moved = {one.template_id for one in found.misplaced if one.other_id is not None}
    people: dict[int, list[np.ndarray]] = {}
    for key, owner, vector in zip(batch.template_ids.tolist(), batch.identity_ids.tolist(), batch.vectors, strict=True):
        if key not in moved:
            people.setdefault(owner, []).append(vector.astype(np.float64))
    threshold = POINTS.at_fmr(RULE.duplicate_fmr).threshold
    single = POINTS.at_fpir(1e-2, len(set(batch.identity_ids.tolist())) * (len(set(batch.identity_ids.tolist())) - 1) // 2)
    wanted = set()
    for a, b in itertools.combinations(sorted(people), 2):
        mean = float(np.mean([x @ y for x in people[a] for y in people[b]]))
        bound = max(threshold, single.threshold) if min(len(people[a]), len(people[b])) == 1 else threshold
        if mean >= bound:
            wanted.add((a, b))
    assert wanted
    assert {(min(one.identity_id, one.other_id), max(one.identity_id, one.other_id)) for one in found.duplicates} == wanted
    for one in found.duplicates:
        assert len(people.get(one.identity_id, ())) <= len(people[one.other_id])


def test_copies_are_found_in_and_across_labels_once_each():
    batch = drawn(9)
    vectors = batch.vectors.astype(np.float64)
    owners, ids = batch.identity_ids.tolist(), batch.template_ids.tolist()
    across, within = set(), set()
    for later in range(len(ids)):
        for early in range(later):
            if vectors[later] @ vectors[early] >= NEAR_IDENTICAL:
                (within if owners[later] == owners[early] else across).add((ids[later], ids[early]))
    found = {(one.template_id, one.other_template_id) for one in examined(batch).near_identical}
    assert within
    assert {one for one, _ in found} >= {one for one, _ in within}
    assert found <= within | across


def test_a_search_that_finds_nothing_says_so_of_every_template():
    batch = drawn(1)
    empty = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions()).empty(0)
    seen = survey(batch, empty)
    assert seen.missing == batch.template_ids.tolist()
    assert examine(batch, seen, POINTS).duplicates == ()
