"""Faces are followed by place and likeness: fixed stories, and properties against a slow reading of the rule."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.arrays import normalised
from facesearch.core.errors import IncompatibleTemplatesError, InputError
from facesearch.core.face import box_iou
from facesearch.core.fusion import fused_vector
from facesearch.core.image import ImageOrigin
from facesearch.core.template import Template
from facesearch.service.found_face import FaceRecord
from facesearch.service.tracking import BEST_FACES, SeenFace, Tracker, TrackingRules, same_people
from tests.world import EMBEDDER, POINTS, face_at, person_vector

RULES = TrackingRules(overlap_iou=0.3, overlap_score=0.3, apart_score=0.43, gap_s=1.0)


def seen(person: int, x: float = 100, *, size: float = 100, likeness: float = 0.9, photo: int = 0, score: float = 0.99) -> SeenFace:
    template = Template(person_vector(person, likeness, photo).astype(np.float32), EMBEDDER)
    return SeenFace(FaceRecord(ImageOrigin("0" * 64, "film", 1280, 720), face_at(x, 100, size, score), template))


def followed(*frames: list[SeenFace], step_s: float = 0.2, rules: TrackingRules = RULES):
    tracker = Tracker(rules)
    for number, faces in enumerate(frames):
        tracker.step(number * step_s, faces)
    return tracker.finish()


def test_the_rules_come_from_the_embedders_points():
    rules = TrackingRules.of(POINTS, gap_s=2.0)
    assert (rules.overlap_score, rules.apart_score, rules.gap_s) == (0.30, 0.43, 2.0)


def test_a_face_that_moves_is_one_track():
    (track,) = followed(*([seen(1, 100 + 30 * step)] for step in range(10)))
    assert (track.interval.start_s, track.interval.end_s, track.n_faces) == (0.0, pytest.approx(1.8), 10)


def test_a_cut_to_somebody_else_in_the_same_place_begins_a_track():
    first, second = followed([seen(1)], [seen(1)], [seen(2)], [seen(2)])
    assert (first.n_faces, second.n_faces) == (2, 2)
    assert second.interval.start_s == pytest.approx(0.4)


def test_somebody_unlike_enough_far_away_is_another_track_and_somebody_alike_the_same():
    alike = seen(1, 900)
    assert len(followed([seen(1)], [alike])) == 1
    # 0.38 in likeness: enough where the box overlaps, too little elsewhere
    poor = {"likeness": 0.62, "photo": 5}
    assert len(followed([seen(1, likeness=0.62)], [seen(1, **poor)])) == 1
    assert len(followed([seen(1, likeness=0.62)], [seen(1, 900, **poor)])) == 2


def test_a_gap_up_to_the_limit_is_bridged_and_a_longer_one_not():
    nobody: list[SeenFace] = []
    assert len(followed([seen(1)], *[nobody] * 4, [seen(1)])) == 1
    assert len(followed([seen(1)], *[nobody] * 5, [seen(1)])) == 2


def test_two_people_who_change_places_keep_their_tracks():
    frames = [[seen(1, 100 + 40 * step), seen(2, 460 - 40 * step)] for step in range(10)]
    tracks = followed(*frames)
    assert len(tracks) == 2
    assert [track.n_faces for track in tracks] == [10, 10]
    scores = [float(track.template.vector @ person_vector(person, 0.9)) for track, person in zip(tracks, (1, 2), strict=True)]
    assert min(scores) > 0.99


def test_two_alike_faces_of_one_frame_are_two_tracks():
    assert len(followed([seen(1, 100), seen(1, 600)])) == 2
    assert [track.n_faces for track in followed([seen(1, 100), seen(1, 600)], [seen(1, 110), seen(1, 610)])] == [2, 2]


def test_the_best_faces_are_fused_by_their_weights_and_the_best_one_is_kept():
    scores = [0.6 + 0.03 * (number * 7 % 12) for number in range(12)]
    faces = [seen(1, photo=number, score=score, size=112) for number, score in enumerate(scores)]
    (track,) = followed(*([face] for face in faces))
    order = sorted(range(12), key=lambda number: -scores[number])[:BEST_FACES]
    expected = fused_vector(np.stack([faces[number].template.vector for number in order]), [scores[number] for number in order])
    assert np.allclose(track.template.vector, expected, atol=1e-6)
    assert track.best is faces[order[0]]
    assert track.best_s == pytest.approx(0.2 * order[0])


def test_of_equal_faces_the_first_is_the_best():
    (track,) = followed([seen(1)], [seen(1)], [seen(1)])
    assert track.best_s == 0.0


def test_time_must_rise_and_embedders_must_agree():
    tracker = Tracker(RULES)
    tracker.step(1.0, [seen(1)])
    with pytest.raises(InputError, match="rising time"):
        tracker.step(1.0, [])
    other = SeenFace(
        FaceRecord(ImageOrigin("0" * 64, "", 9, 9), face_at(0, 0, 50), Template(person_vector(1).astype(np.float32), "other@0"))
    )
    with pytest.raises(IncompatibleTemplatesError):
        tracker.step(1.2, [other])
    assert len(tracker.finish()) == 1
    tracker.step(0.0, [])  # it begins anew
    assert tracker.finish() == ()


@pytest.mark.parametrize(
    "wrong", [{"overlap_iou": 0.0}, {"apart_score": 0.2}, {"gap_s": 0.0}, {"gap_s": float("nan")}, {"overlap_score": -2.0}]
)
def test_rules_that_make_no_sense_are_refused(wrong):
    values = {"overlap_iou": 0.3, "overlap_score": 0.3, "apart_score": 0.43, "gap_s": 1.0, **wrong}
    with pytest.raises(InputError):
        TrackingRules(**values)


FRAMES = st.lists(
    st.lists(st.tuples(st.integers(1, 4), st.integers(0, 8), st.integers(4, 10), st.integers(0, 3)), max_size=4), max_size=7
)
"""People, places, likenesses (in tenths) and photographs of up to seven frames."""


def slow_links(tracks: list[dict], faces: list[SeenFace], now_s: float) -> dict[int, int]:
    """Read the rule word by word: of all allowed pairs left, link the strongest; stop when none is left."""
    linked: dict[int, int] = {}
    while True:
        best = None
        for number, track in enumerate(tracks):
            if number in linked.values() or now_s - track["end_s"] > RULES.gap_s:
                continue
            for place, face in enumerate(faces):
                if place in linked:
                    continue
                mean = normalised(np.sum([one.template.vector.astype(np.float64) for one in track["faces"]], axis=0))
                last = track["faces"][-1]
                score = max(float(mean @ face.template.vector), float(last.template.vector @ face.template.vector))
                overlap = box_iou(last.detection.box, face.detection.box)
                needed = RULES.overlap_score if overlap >= RULES.overlap_iou else RULES.apart_score
                if score >= needed and (best is None or score + overlap > best[0] + 1e-6):
                    best = (score + overlap, number, place)
        if best is None:
            return linked
        linked[best[2]] = best[1]


@given(FRAMES)
def test_the_tracker_does_what_the_rule_says(story):
    frames = [
        [
            seen(person, 60 * place + index, likeness=tenths / 10, photo=photo)
            for index, (person, place, tenths, photo) in enumerate(row)
        ]
        for row in story
    ]
    tracks: list[dict] = []
    for number, faces in enumerate(frames):
        linked = slow_links(tracks, faces, number * 0.4)
        for place, face in enumerate(faces):
            if place not in linked:
                tracks.append({"start_s": number * 0.4, "faces": []})
                linked[place] = len(tracks) - 1
            tracks[linked[place]]["faces"].append(face)
            tracks[linked[place]]["end_s"] = number * 0.4
    found = followed(*frames, step_s=0.4)
    assert sum(track.n_faces for track in found) == sum(map(len, frames))
    expected = sorted((track["start_s"], track["end_s"], len(track["faces"])) for track in tracks)
    assert sorted((one.interval.start_s, one.interval.end_s, one.n_faces) for one in found) == expected
    assert all(one.interval.start_s <= other.interval.start_s for one, other in pairwise(found))


def test_people_are_told_apart_and_joined_across_tracks():
    templates = [seen(person, photo=photo).template for person, photo in ((1, 0), (2, 0), (1, 1), (3, 0), (2, 1), (1, 2))]
    assert same_people(templates, score=0.5) == (0, 1, 0, 2, 1, 0)
    assert same_people(templates, score=1.0) == (0, 1, 2, 3, 4, 5)
    assert same_people([], score=0.5) == ()
