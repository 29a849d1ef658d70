"""Values are checked and frozen where they are made."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from facesearch.core.arrays import array_digest, checked_vector, normalised
from facesearch.core.errors import ImageDecodeError, IncompatibleTemplatesError, InputError, LabelError, TemplateFormatError
from facesearch.core.face import Alignment, Detection, FaceCrop, box_iou
from facesearch.core.identity import MAX_LABEL_CHARS, checked_label, checked_tags
from facesearch.core.image import Image
from facesearch.core.template import Template, TemplateBatch, compare, squared_distance
from tests.world import face_at

boxes = st.tuples(st.floats(-50, 50), st.floats(-50, 50), st.floats(0.5, 80), st.floats(0.5, 80)).map(
    lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3])
)


@given(boxes, boxes)
def test_iou_is_symmetric_and_a_share(a, b):
    assert box_iou(a, b) == box_iou(b, a)
    assert 0.0 <= box_iou(a, b) <= 1.0


@given(boxes)
def test_iou_of_a_box_with_itself_is_one(a):
    assert box_iou(a, a) == pytest.approx(1.0)


def test_iou_against_counted_pixels():
    a, b = (2, 3, 12, 9), (7, 1, 15, 6)
    grid = np.zeros((2, 20, 20), dtype=bool)
    for layer, (x1, y1, x2, y2) in zip(grid, (a, b), strict=True):
        layer[y1:y2, x1:x2] = True
    assert box_iou(a, b) == pytest.approx((grid[0] & grid[1]).sum() / (grid[0] | grid[1]).sum())


@pytest.mark.parametrize(
    "box", [(0, 0, 0, 5), (5, 0, 1, 5), (0, 0, np.nan, 1), (0, 0, np.inf, 1), (0, 0, 1), "abcd", None, ("a", 0, 1, 1)]
)
def test_boxes_that_are_none_are_refused(box):
    with pytest.raises(InputError, match="box"):
        Detection(box, np.zeros((5, 2)), 0.5)


def test_detections_check_landmarks_and_score():
    with pytest.raises(InputError, match="landmarks"):
        Detection((0, 0, 1, 1), np.full((5, 2), np.nan), 0.5)
    with pytest.raises(InputError, match="landmarks"):
        Detection((0, 0, 1, 1), np.zeros((4, 2)), 0.5)
    with pytest.raises(InputError, match="score"):
        Detection((0, 0, 1, 1), np.zeros((5, 2)), 1.5)


def test_values_cannot_be_changed():
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    image = Image(pixels, array_digest(pixels))
    crop = FaceCrop(np.zeros((4, 4, 3), dtype=np.uint8), face_at(0, 0, 10))
    for array in (image.pixels, crop.pixels, crop.detection.landmarks):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1
    with pytest.raises(dataclasses.FrozenInstanceError):
        image.digest = "x"


def test_the_callers_arrays_stay_writable_and_apart():
    mine = np.zeros((5, 2), dtype=np.float32)
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    detection, image = Detection((0, 0, 1, 1), mine, 0.5), Image(pixels, "digest")
    mine[0, 0] = 1.0
    pixels[0, 0] = 1
    assert (detection.landmarks[0, 0], image.pixels[0, 0, 0]) == (0.0, 0)


def test_a_read_only_array_is_not_copied():
    pixels = np.zeros((4, 4, 3), dtype=np.uint8)
    pixels.setflags(write=False)
    assert Image(pixels, "digest").pixels is pixels


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.uint8),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 3), np.float32),
        np.zeros((0, 4, 3), np.uint8),
        [[0]],
    ],
    ids=["grey", "rgba", "float", "empty", "list"],
)
def test_pixels_of_another_form_are_refused(pixels):
    with pytest.raises(ImageDecodeError):
        Image(pixels, "digest")


def test_a_crop_is_square():
    with pytest.raises(InputError, match="square"):
        FaceCrop(np.zeros((4, 5, 3), dtype=np.uint8), face_at(0, 0, 10))


def test_an_alignment_needs_five_points():
    with pytest.raises(InputError, match="five"):
        Alignment("broken", 112, np.zeros((4, 2)))


@pytest.mark.parametrize(
    "vector",
    [
        np.array([np.nan, 1.0], np.float32),
        np.array([2.0, 0.0], np.float32),
        np.zeros(4, np.float32),
        np.zeros((2, 2), np.float32),
        np.zeros(0, np.float32),
        np.array([1, 0]),
        [1.0, 0.0],
    ],
    ids=["nan", "norm 2", "zero", "matrix", "empty", "integers", "list"],
)
def test_vectors_of_another_form_are_refused(vector):
    with pytest.raises(TemplateFormatError):
        checked_vector(vector)


@given(st.lists(st.floats(-1e3, 1e3), min_size=2, max_size=64).filter(lambda v: np.linalg.norm(v) > 1e-3))
def test_normalised_vectors_pass_the_check(values):
    assert np.linalg.norm(checked_vector(normalised(np.array(values)))) == pytest.approx(1.0, abs=1e-5)


def test_a_zero_vector_has_no_direction():
    with pytest.raises(TemplateFormatError, match="direction"):
        normalised(np.zeros(8))


def test_score_and_distance_agree():
    rng = np.random.default_rng(1)
    a, b = (Template(normalised(rng.normal(size=16)), "e@0") for _ in range(2))
    score = compare(a, b)
    assert score == pytest.approx(float(np.sum(a.vector * b.vector)), abs=1e-6)
    assert squared_distance(score) == pytest.approx(float(np.sum((a.vector - b.vector) ** 2)), abs=1e-5)


def test_templates_of_two_embedders_or_lengths_cannot_be_compared():
    a = Template(normalised(np.ones(4)), "a@0")
    with pytest.raises(IncompatibleTemplatesError, match=r"b@0.*a@0"):
        compare(a, Template(normalised(np.ones(4)), "b@0"))
    with pytest.raises(IncompatibleTemplatesError, match=r"4-d.*8-d"):
        compare(a, Template(normalised(np.ones(8)), "a@0"))


def test_a_batch_checks_its_columns():
    with pytest.raises(TemplateFormatError, match="disagree"):
        TemplateBatch(np.arange(2), np.arange(3), np.zeros((2, 4), np.float32), "e@0")


@pytest.mark.parametrize("label", ["Ada", "a/b", "Ada 👩🏽‍🚀", "Łódź", "x" * MAX_LABEL_CHARS, " padded "])
def test_usual_and_unusual_labels_pass(label):
    assert checked_label(label) == label.strip()


@pytest.mark.parametrize("label", ["", "   ", "x" * 10_000, "a\0b", "a\nb", "\ud800", None, 3], ids=repr)
def test_unusable_labels_are_refused(label):
    with pytest.raises(LabelError):
        checked_label(label)


def test_labels_are_compared_in_normal_form():
    assert checked_label("e\u0301") == checked_label("\u00e9")


def test_tags_are_sorted_and_distinct():
    assert checked_tags(["b", "a", "b "]) == ("a", "b")
    with pytest.raises(LabelError, match="list"):
        checked_tags("abc")


def test_digests_tell_shape_and_type_apart():
    flat = np.zeros(12, dtype=np.uint8)
    digests = {
        array_digest(a) for a in (flat, flat.reshape(3, 4), flat.reshape(4, 3), flat.astype(np.int8), np.zeros(3, np.uint32))
    }
    assert len(digests) == 5
