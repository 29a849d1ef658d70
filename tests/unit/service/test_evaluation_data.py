"""Photographs with their people: copies, failures, and the open-set search against an obvious twin."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.errors import InputError
from facesearch.service.evaluation_data import KnownPeople, known_people, open_set_search
from facesearch.service.photographs import AcquisitionFailure, EmbeddedPhotographs
from tests.world import face_at


def some_people(seed, sizes, n_failures=0, dim=6):
    rng = np.random.default_rng(seed)
    labels = np.array([f"p{number:03d}" for number, size in enumerate(sizes) for _ in range(size)])
    centres = rng.normal(size=(len(sizes), dim))
    own = np.repeat(np.arange(len(sizes)), sizes)
    vectors = normalised(centres[own] + rng.normal(size=(labels.size, dim))).astype(np.float32)
    vectors[rng.choice(labels.size, n_failures, replace=False)] = np.nan
    return KnownPeople(tuple(Path(f"{number:04d}.jpg") for number in range(labels.size)), labels, vectors)


def naive_search(known):
    """Search one probe after the other; yield person, best score, rank and best score of others."""
    labels = known.labels.tolist()
    gallery = {label: known.vectors[labels.index(label)] for label in sorted(set(labels)) if labels.count(label) >= 2}
    for row, label in enumerate(labels):
        if label in gallery and labels.index(label) == row:
            continue
        scores = {name: float(known.vectors[row] @ vector) for name, vector in gallery.items()}
        scores = {name: score for name, score in scores.items() if not np.isnan(score)}
        others = [score for name, score in scores.items() if name != label]
        rank = 1 + sum(score > scores[label] for score in others) if label in scores else 0
        yield label, max(scores.values(), default=np.nan), rank, max(others, default=np.nan), label in gallery


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("block", [3, 2048])
def test_the_search_is_that_of_its_twin(seed, block):
    known = some_people(seed, [3, 2, 1, 4, 2] + [1] * 12, n_failures=4)
    found, expected = open_set_search(known, block=block), list(naive_search(known))
    assert len(expected) == len(found.top_scores) == 3 - 1 + 2 - 1 + 4 - 1 + 2 - 1 + 13
    assert not found.is_leave_one_out
    for row, (label, top, rank, _, is_enrolled) in enumerate(expected):
        assert (found.people[row], found.ranks[row], found.is_enrolled[row]) == (label, rank, is_enrolled)
        np.testing.assert_allclose(found.top_scores[row], top, atol=1e-6)


def test_without_strangers_people_are_taken_out():
    known = some_people(1, [3, 2, 4, 1])
    found, expected = open_set_search(known), list(naive_search(known))
    mated = [row for row in expected if row[4]]
    assert found.is_leave_one_out
    assert len(found.top_scores) == len(expected) + len(mated)
    assert found.is_enrolled.sum() == len(mated) == 6
    np.testing.assert_allclose(found.top_scores[len(expected) :], [row[3] for row in mated], atol=1e-6)
    found.trials()  # the same person as enrolled and as stranger is accepted


def test_nobody_is_found_whose_gallery_photograph_failed():
    known = some_people(2, [2, 2, 2] + [1] * 10)
    known.vectors[0] = np.nan
    found = open_set_search(known)
    assert found.n_gallery_failures == 1
    assert found.ranks[found.people == "p000"].tolist() == [0]
    assert found.is_enrolled[found.people == "p000"].all()


@pytest.mark.parametrize("sizes", [[2, 1, 1], [1, 1, 1]])
def test_too_few_people_are_said(sizes):
    with pytest.raises(InputError, match="two people"):
        open_set_search(some_people(0, sizes))


def embedded(digests, has_face):
    paths = tuple(Path(f"{number}.jpg") for number in range(len(digests)))
    rows = [place for place, found in enumerate(has_face) if found]
    return EmbeddedPhotographs(
        embedder_id="fake",
        paths=paths,
        vectors=normalised(np.random.default_rng(0).normal(size=(len(rows), 4))).astype(np.float32),
        acquired=np.array(rows, dtype=np.int64),
        detections=tuple(face_at(0, 0, 9) for _ in rows),
        digests=tuple(digests),
        failures=tuple(
            AcquisitionFailure(str(path), "no_face", "none") for path, found in zip(paths, has_face, strict=True) if not found
        ),
        seconds=0.0,
        n_cached=0,
    )


def test_copies_of_a_person_count_once_and_copies_under_two_labels_are_warned_of():
    photographs = embedded(["a", "a", "b", "c", "c", "", ""], [True] * 5 + [False] * 2)
    labels = dict(zip(photographs.paths, ["Ada", "Ada", "Ada", "Ada", "Bob", "Bob", "Bob"], strict=True))
    known, warnings = known_people(photographs, labels)
    assert [path.name for path in known.paths] == ["0.jpg", "2.jpg", "3.jpg", "4.jpg", "5.jpg", "6.jpg"]
    assert np.isnan(known.vectors).all(axis=1).tolist() == [False] * 4 + [True] * 2
    np.testing.assert_array_equal(known.vectors[1], photographs.vectors[2])
    assert len(warnings) == 2
    assert "left out: 1" in warnings[0]
    assert "3.jpg and 4.jpg" in warnings[1]


def test_no_face_at_all_is_said():
    with pytest.raises(InputError, match="none of the 2 photographs"):
        known_people(embedded(["a", "b"], [False, False]), {Path("0.jpg"): "Ada", Path("1.jpg"): "Bob"})
