"""What every ``Detector`` promises, run over the compiled cascade and over both engines."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from facesearch.core.arrays import array_digest
from facesearch.core.errors import InputError
from facesearch.core.image import Image
from facesearch.detection import MtcnnDetector
from facesearch.detection.native_library import LIBRARY, load_library
from facesearch.inference import create_engine

ASTRONAUT_POINTS = [(203, 100), (246, 102), (224, 127), (204, 140), (244, 141)]
"""Eyes, nose tip and mouth corners as read off an enlarged astronaut."""

READING_PX = 6.0
"""How far a point read off, and a point found, may lie from each other on a face 90 pixels wide."""

SAME_PX = 0.01
"""Batches of another size round sums differently."""


def image(pixels) -> Image:
    return Image(np.ascontiguousarray(pixels), array_digest(pixels))


@pytest.fixture(scope="module", params=["native", "openvino", "torch"])
def detector(request, tmp_path_factory):
    is_native = request.param == "native"
    if is_native and load_library() is None:
        pytest.skip(f"nothing was compiled: {LIBRARY} is missing")
    cache_dir = tmp_path_factory.mktemp("networks") if request.param == "openvino" else None
    engine = create_engine("openvino" if is_native else request.param, threads=2, cache_dir=cache_dir)
    return MtcnnDetector(engine, native=is_native, threads=2)


def assert_same_faces(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.allclose(one.box, other.box, atol=SAME_PX)
        assert np.allclose(one.landmarks, other.landmarks, atol=SAME_PX)
        assert one.score == pytest.approx(other.score, abs=1e-4)


def test_a_face_is_found_where_it_is_with_its_five_points(detector, astronaut):
    (face,) = detector.detect(image(astronaut))
    assert face.score > 0.99
    assert np.abs(face.landmarks - ASTRONAUT_POINTS).max() < READING_PX
    assert 75 < face.width < 110
    assert all(face.box[0] < x < face.box[2] and face.box[1] < y < face.box[3] for x, y in face.landmarks)


def test_several_faces_come_by_falling_score(detector, astronaut, hopper):
    both = np.concatenate([astronaut, hopper[:512], astronaut[::2, ::2].repeat(2, axis=0).repeat(2, axis=1)], axis=1)
    faces = detector.detect(image(both))
    assert len(faces) >= 3
    scores = [face.score for face in faces]
    assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (12, 12), (19, 19)])
def test_a_photograph_too_small_for_a_face_holds_none(detector, size):
    assert detector.detect(image(np.zeros((*size, 3), np.uint8))) == ()


@pytest.mark.parametrize("value", [0, 128, 255])
def test_a_blank_photograph_holds_none(detector, value):
    assert detector.detect(image(np.full((120, 90, 3), value, np.uint8))) == ()


def test_a_cat_is_no_face(detector, cat):
    assert detector.detect(image(cat)) == ()


def test_a_batch_gives_what_each_photograph_gives(detector, astronaut, hopper, cat):
    rng = np.random.default_rng(2)
    images = [
        image(pixels)
        for pixels in (astronaut, cat, hopper, astronaut[:, ::-1], np.zeros((1, 1, 3), np.uint8), astronaut[40:260, 120:330])
    ]
    images += [image(rng.integers(0, 256, (70, 80, 3), dtype=np.uint8))]
    batch = detector.detect_batch(images)
    assert [len(faces) for faces in batch] == [1, 0, 1, 1, 0, 1, 0]
    for faces, single in zip(batch, images, strict=True):
        assert_same_faces(faces, detector.detect(single))


def test_an_empty_batch_gives_nothing(detector):
    assert detector.detect_batch([]) == ()


def test_the_photograph_is_left_alone(detector, astronaut):
    photo = image(astronaut)
    before = photo.pixels.copy()
    detector.detect(photo)
    assert np.array_equal(photo.pixels, before)


def test_a_region_is_searched_alone_and_results_stay_in_the_photographs_pixels(detector, astronaut, hopper):
    both = image(np.concatenate([astronaut, hopper[:512]], axis=1))
    assert len(detector.detect(both)) == 2
    (right,) = detector.detect(both, roi=(512, 0, 1024, 512))
    (left,) = detector.detect(both, roi=(0, 0, 512, 512))
    assert right.centre[0] > 512 > left.centre[0]
    (alone,) = detector.detect(image(astronaut))
    assert_same_faces([left], [alone])


def test_a_region_moves_boxes_and_points_together(detector, astronaut):
    (face,) = detector.detect(image(astronaut), roi=(101, 33, 350, 282))
    (cut,) = detector.detect(image(astronaut[33:282, 101:350]))
    assert np.allclose(np.subtract(face.box, cut.box), [101, 33, 101, 33], atol=1e-3)
    assert np.allclose(face.landmarks - cut.landmarks, [101, 33], atol=1e-3)


def test_a_region_without_a_face_gives_none(detector, astronaut):
    assert detector.detect(image(astronaut), roi=(0, 300, 150, 512)) == ()


def test_a_region_that_reaches_past_the_border_is_cut(detector, astronaut):
    assert_same_faces(detector.detect(image(astronaut), roi=(-99, -1e6, 600, 1e7)), detector.detect(image(astronaut)))


@pytest.mark.parametrize("roi", [(512, 0, 600, 99), (-50, -50, 0, 0), (0, 900, 9, 999)])
def test_a_region_outside_the_photograph_is_refused(detector, astronaut, roi):
    with pytest.raises(InputError, match="512×512"):
        detector.detect(image(astronaut), roi=roi)


@pytest.mark.parametrize("roi", [(5, 5, 5, 9), (9, 0, 3, 9), (0, 0, float("nan"), 9), (1, 2, 3)])
def test_what_is_no_box_is_no_region(detector, astronaut, roi):
    with pytest.raises(InputError):
        detector.detect(image(astronaut), roi=roi)


def test_threads_may_share_it(detector, astronaut, hopper):
    images = [image(astronaut), image(hopper), image(astronaut[:, ::-1]), image(hopper[100:500, 50:450])]
    expected = [detector.detect(one) for one in images]
    found: dict[int, list] = {}

    def work(place):
        found[place] = [detector.detect(images[place]) for _ in range(3)]

    threads = [threading.Thread(target=work, args=(place,)) for place in range(len(images))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [0, 1, 2, 3]
    for place, results in found.items():
        assert len(results) == 3
        for faces in results:
            assert_same_faces(faces, expected[place])
