"""Wrong labels among templates whose people are known: found, and nothing else."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.arrays import normalised
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.training.cleaned_list import PersonDecision, RowDecision
from facesearch.training.cleaning import CleaningRule, LabelledTemplates, clean, main_cluster
from tests.world import DIM, EMBEDDER, POINTS, person_vector

INDEXES = GalleryIndexFactory(EMBEDDER, DIM, IndexOptions())


def templates(*people: tuple[str, int], first_photo: int = 0) -> LabelledTemplates:
    """Return a template a (label, person) pair, each of another photograph."""
    names = tuple(sorted({label for label, _ in people}))
    labels = np.array([names.index(label) for label, _ in people])
    vectors = np.stack([person_vector(person, 0.9, photo=first_photo + n) for n, (_, person) in enumerate(people)])
    paths = [f"{label}/{n}.jpg" for n, (label, _) in enumerate(people)]
    return LabelledTemplates(vectors.astype(np.float32), labels, names, np.arange(len(labels)) + 100, paths, EMBEDDER)


def of(name: str, person: int, n: int) -> list[tuple[str, int]]:
    return [(name, person)] * n


def as_given(vectors: list[np.ndarray] | np.ndarray, labels: list[int]) -> LabelledTemplates:
    """Return templates of people P0, P1, …"""
    names = tuple(f"P{n}" for n in range(max(labels) + 1))
    rows = np.arange(len(labels))
    return LabelledTemplates(np.stack(vectors).astype(np.float32), np.array(labels), names, rows, ["x"] * len(rows), EMBEDDER)


def alike(score: float, n: int = 2) -> list[np.ndarray]:
    """Return vectors of which each two have this score."""
    own, odd = person_vector(0), [person_vector(1 + number) for number in range(n)]
    return [normalised(np.sqrt(score) * own + np.sqrt(1 - score) * one) for one in odd]


def decided(given: LabelledTemplates, **rule: object) -> tuple[dict[int, tuple[RowDecision, str | None]], list[tuple]]:
    found = clean(given, INDEXES, POINTS, CleaningRule(**rule))
    rows = {one.row: (one.decision, one.to) for one in found.rows}
    assert len(rows) == len(found.rows)
    return rows, [(one.person, one.decision, one.other) for one in found.people]


def test_sound_labels_are_left_alone():
    assert decided(templates(*of("Ada", 0, 5), *of("Ben", 1, 3), *of("Cleo", 2, 2), ("Dora", 3))) == ({}, [])


def test_a_photograph_of_somebody_else_who_is_there_is_moved():
    rows, people = decided(templates(*of("Ada", 0, 4), ("Ada", 1), *of("Ben", 1, 4), ("Ben", 0)))
    assert rows == {104: (RowDecision.MOVED, "Ben"), 109: (RowDecision.MOVED, "Ada")}
    assert people == []


def test_a_photograph_of_a_stranger_is_dropped_with_its_scores():
    found = clean(templates(*of("Ada", 0, 4), ("Ada", 7), *of("Ben", 1, 3)), INDEXES, POINTS)
    assert [(one.row, one.path, one.person, one.decision) for one in found.rows] == [(104, "Ada/4.jpg", "Ada", RowDecision.DROPPED)]
    assert found.rows[0].reason == "unlike the 4 of the label's 5 photographs that hold together"
    assert abs(found.rows[0].own_score) < 0.1


def test_two_that_differ_say_nothing_about_which_is_wrong():
    given = templates(("Ada", 0), ("Ada", 7), *of("Ben", 1, 3))
    assert decided(given)[0] == {100: (RowDecision.FLAGGED, None), 101: (RowDecision.FLAGGED, None)}
    assert decided(given, is_strict=True)[0] == {100: (RowDecision.DROPPED, None), 101: (RowDecision.DROPPED, None)}


@pytest.mark.parametrize(
    ("score", "n", "is_flagged"), [(0.25, 2, True), (0.40, 2, False), (0.40, 3, True), (0.50, 2, False), (0.50, 3, False)]
)
def test_two_that_are_alike_enough_not_to_be_dropped_are_not_flagged(score: float, n: int, is_flagged: bool):
    """From 0.30 a photograph is not dropped, from 0.48 two hold together: between them only three or more are suspicious."""
    rows, _ = decided(as_given(alike(score, n), [0] * n), drop_fmr=1e-2, link_fmr=1e-5)
    assert rows == (dict.fromkeys(range(n), (RowDecision.FLAGGED, None)) if is_flagged else {})


def test_two_against_two_are_flagged_and_a_majority_is_not():
    rows, _ = decided(templates(*of("Ada", 0, 2), *of("Ada", 7, 2), *of("Ben", 1, 3)))
    assert len(rows) == 2
    assert {decision for decision, _ in rows.values()} == {RowDecision.FLAGGED}
    rows, _ = decided(templates(*of("Ada", 0, 3), *of("Ada", 7, 2), *of("Ben", 1, 3)))
    assert rows == {103: (RowDecision.DROPPED, None), 104: (RowDecision.DROPPED, None)}


def test_one_person_and_single_photographs_are_nothing_to_compare():
    assert decided(templates(("Ada", 0))) == ({}, [])
    assert decided(templates(*of("Ada", 0, 4), ("Ada", 7)))[0] == {104: (RowDecision.DROPPED, None)}
    assert decided(templates(("Ada", 0), ("Ben", 1), ("Cleo", 2))) == ({}, [])


def test_labels_of_one_person_are_merged_into_the_larger_one():
    _, people = decided(templates(*of("Ada", 0, 2), *of("Ada B", 0, 4), *of("Ben", 1, 3)))
    assert people == [("Ada", PersonDecision.MERGED, "Ada B")]


def test_of_three_labels_of_one_person_each_is_merged_into_one_other_at_most():
    found = clean(templates(*of("Ada", 0, 2), *of("Ada B", 0, 3), *of("Ada C", 0, 4), *of("Ben", 1, 3)), INDEXES, POINTS).people
    of_ada = {one.decision: one for one in found if one.person == "Ada"}
    assert {one.other for one in of_ada.values()} == {"Ada B", "Ada C"}
    assert of_ada[PersonDecision.MERGED].reason == "their photographs are alike on average"
    assert of_ada[PersonDecision.FLAGGED].reason == "alike on average, as with a third label"
    assert [(one.person, one.decision, one.other) for one in found if one.person != "Ada"] == [
        ("Ada B", PersonDecision.MERGED, "Ada C")
    ]
    assert len(found) == 3


def test_a_single_photograph_merges_no_labels_however_alike_it_is():
    _, people = decided(templates(("Ada", 0), ("Ada B", 0), *of("Ben", 1, 3)))
    assert people == [("Ada B", PersonDecision.FLAGGED, "Ada")]
    _, people = decided(templates(("Ada", 0), *of("Ada B", 0, 3), *of("Ben", 1, 3)))
    assert people == [("Ada", PersonDecision.FLAGGED, "Ada B")]
    rows, people = decided(templates(("Ada", 0), ("Ada", 1), *of("Ada B", 0, 3), *of("Ben", 1, 3)))
    assert rows == {101: (RowDecision.MOVED, "Ben")}
    assert people == [("Ada", PersonDecision.FLAGGED, "Ada B")]


def test_what_is_less_sure_of_many_labels_is_only_flagged():
    """Among many labels somebody looks like somebody else by chance: what merges two of ten does not merge two of 10,000."""
    rng = np.random.default_rng(0)
    a, b = person_vector(0), normalised(0.505 * person_vector(0) + np.sqrt(1 - 0.505**2) * person_vector(1))
    vectors = np.stack([a, a, b, b])
    spread = normalised(rng.normal(size=(40, DIM)))
    few = LabelledTemplates(vectors, np.array([0, 0, 1, 1]), ("Ada", "Ben"), np.arange(4), ["x"] * 4, EMBEDDER)
    many_people = ("Ada", "Ben", *(f"P{n:02d}" for n in range(40)))
    labels = np.array([0, 0, 1, 1, *range(2, 42)])
    many = LabelledTemplates(np.concatenate([vectors, spread]), labels, many_people, np.arange(44), ["x"] * 44, EMBEDDER)
    rule = {"merge_fpir": 1e-5}
    assert decided(few, **rule)[1] == [("Ben", PersonDecision.MERGED, "Ada")]
    assert ("Ben", PersonDecision.FLAGGED, "Ada") in decided(many, **rule)[1]


def test_the_more_labels_there_are_the_more_alike_a_moved_crop_must_be():
    """At 0.5 a crop goes to the other label where there are two, and is only dropped where there are hundreds."""
    ada, ben, eve = (person_vector(person) for person in (0, 1, 2))
    odd = normalised(0.5 * ben + np.sqrt(1 - 0.5**2) * eve)
    vectors, labels = [ada, ada, ada, odd, ben, ben, ben], [0, 0, 0, 0, 1, 1, 1]
    few = LabelledTemplates(np.stack(vectors), np.array(labels), ("Ada", "Ben"), np.arange(7), ["x"] * 7, EMBEDDER)
    others = normalised(np.random.default_rng(1).normal(size=(300, DIM)) * (np.arange(DIM) > 2))
    people = ("Ada", "Ben", *(f"P{n:03d}" for n in range(300)))
    many = LabelledTemplates(
        np.concatenate([np.stack(vectors), others]),
        np.array([*labels, *range(2, 302)]),
        people,
        np.arange(307),
        ["x"] * 307,
        EMBEDDER,
    )
    rule = {"other_fpir": 1e-3}
    assert decided(few, **rule)[0] == {3: (RowDecision.MOVED, "Ben")}
    assert decided(many, **rule)[0] == {3: (RowDecision.DROPPED, None)}


def test_people_of_the_other_data_are_excluded():
    given = templates(*of("Ada", 0, 3), *of("Ben", 1, 3), ("Cleo", 2), ("Dora", 3))
    other = templates(*of("lfw Ben", 1, 2), ("lfw Cleo", 2), *of("lfw Eve", 9, 2), first_photo=20)
    found = clean(given, INDEXES, POINTS, against=(("lfw", other),)).people
    assert [(one.person, one.decision, one.other) for one in found] == [
        ("Ben", PersonDecision.EXCLUDED, "lfw Ben of lfw"),
        ("Cleo", PersonDecision.EXCLUDED, "lfw Cleo of lfw"),
    ]
    assert found[0].n_comparisons == 6


@pytest.mark.parametrize(
    ("score", "n_others", "n_each", "is_excluded"),
    [(0.45, 9, 1, False), (0.51, 9, 1, True), (0.51, 9_999, 1, False), (0.51, 9_999, 2, True)],
)
def test_one_photograph_against_one_excludes_the_less_the_more_people_there_are(
    score: float, n_others: int, n_each: int, is_excluded: bool
):
    """Among ten people 0.48 says who it is, as a mean of several scores does; among 10,000 single ones reach that by chance."""
    a, b = alike(score)
    others = np.random.default_rng(3).normal(size=(n_others, DIM)) * (np.arange(DIM) > 2)  # like neither of the two
    other = as_given(np.stack([*[b] * n_each, *normalised(others)]), [*[0] * n_each, *range(1, n_others + 1)])
    found = clean(as_given([a], [0]), INDEXES, POINTS, against=(("lfw", other),)).people
    assert [(one.person, one.decision, one.other, one.n_comparisons) for one in found] == (
        [("P0", PersonDecision.EXCLUDED, "P0 of lfw", n_each)] if is_excluded else []
    )


def test_the_same_picture_in_both_excludes_whatever_the_rest_is_like():
    given = templates(*of("Ada", 0, 3))
    odd = templates(*[("other", person) for person in (0, 4, 5, 6, 8)])
    found = clean(given, INDEXES, POINTS, against=(("lfw", odd),)).people
    assert [(one.person, one.reason) for one in found] == [("Ada", "the same picture is in both")]


def test_a_crop_moved_from_an_excluded_label_is_looked_up_under_its_new_one():
    given = templates(*of("Ada", 0, 4), ("Ada", 1), *of("Ben", 1, 4))
    other = templates(*of("lfw Ben", 1, 2), first_photo=20)
    found = clean(given, INDEXES, POINTS, against=(("lfw", other),)).people
    assert [one.person for one in found] == ["Ben"]
    assert found[0].n_comparisons == 10  # five photographs of Ben's now, the moved one among them


def naive_main_cluster(vectors: np.ndarray, threshold: float) -> tuple[list[int], bool]:
    """Connected components by walking, without those of one."""
    n = len(vectors)
    near = {a: {b for b in range(n) if b != a and float(vectors[a] @ vectors[b]) >= threshold} for a in range(n)}
    left, components = set(range(n)), []
    while left:
        reached = frontier = {left.pop()}
        while frontier:
            frontier = set().union(*(near[one] for one in frontier)) - reached
            reached = reached | frontier
        left -= reached
        if len(reached) > 1:
            components.append(sorted(reached))
    if not components:
        return [], False
    order = sorted(components, key=lambda one: (-len(one), -float(np.linalg.norm(vectors[one].sum(axis=0)))))
    return order[0], len(order) == 1 or len(order[0]) > len(order[1])


@given(st.integers(1, 14), st.integers(0, 10_000), st.floats(0.05, 0.95))
def test_the_main_cluster_is_the_largest_component(n: int, seed: int, threshold: float):
    rng = np.random.default_rng(seed)
    centres = normalised(rng.normal(size=(4, 12)))
    vectors = normalised(centres[rng.integers(0, 4, n)] + 0.25 * rng.normal(size=(n, 12)))
    scores = [float(a @ b) for a, b in combinations(vectors, 2)]
    if any(abs(one - threshold) < 1e-6 for one in scores):
        return
    is_main, is_settled = main_cluster(vectors, threshold)
    assert (np.flatnonzero(is_main).tolist(), is_settled) == naive_main_cluster(vectors, threshold)


@pytest.mark.parametrize("n_photographs", [50])
def test_a_label_too_large_to_compare_at_once_is_judged_by_a_part_of_it(monkeypatch: pytest.MonkeyPatch, n_photographs: int):
    from facesearch.training import cleaning

    monkeypatch.setattr(cleaning, "MAX_SQUARE", 20)
    rows, _ = decided(templates(*of("Ada", 0, n_photographs), *of("Ada", 7, 5), *of("Ben", 1, 3)))
    assert sorted(rows) == list(range(150, 155))
    assert {decision for decision, _ in rows.values()} == {RowDecision.DROPPED}
