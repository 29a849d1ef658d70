"""Boxes stretched to a crop: the very pixels that facenet-pytorch's networks are given."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch.models.utils.detect_face import extract_face
from PIL import Image as PilImage

from facesearch.core.errors import InputError, LowQualityFaceError
from facesearch.core.face import Alignment, Detection
from facesearch.core.image import Image
from facesearch.imaging.align import ARCFACE_POINTS, align_face
from facesearch.imaging.quality import measure_quality

BOX = (179.6, 63.3, 279.9, 201.7)
LANDMARKS = np.array(ARCFACE_POINTS) * 0.9 + (175, 78)


def face(box: tuple[float, float, float, float] = BOX) -> Detection:
    return Detection(box, LANDMARKS, 0.99)


@pytest.mark.parametrize("margin_px", [0, 14, 32])
@pytest.mark.parametrize(
    "box", [BOX, (-20.5, -31.0, 90.2, 80.7), (430.1, 400.0, 560.9, 530.3), (100.0, 50.0, 120.0, 75.0)], ids=str
)
def test_the_pixels_are_those_of_facenet_pytorch(astronaut: np.ndarray, box: tuple[float, ...], margin_px: int) -> None:
    crop = align_face(Image(astronaut, "astronaut"), face(box), Alignment("facenet-160", 160, None, margin_px))
    expected: torch.Tensor = extract_face(PilImage.fromarray(astronaut), np.array(box), 160, margin_px)
    assert crop.pixels.shape == (160, 160, 3)
    assert np.array_equal(crop.pixels, expected.permute(1, 2, 0).numpy().astype(np.uint8))


def test_the_landmarks_move_with_the_pixels() -> None:
    pixels = np.zeros((200, 200, 3), np.uint8)
    landmarks = np.array([(60.0, 60.0), (120.0, 60.0), (90.0, 90.0), (66.0, 130.0), (114.0, 130.0)])
    for x, y in landmarks.astype(int):
        pixels[y - 1 : y + 2, x - 1 : x + 2] = 255
    crop = align_face(Image(pixels, "dots"), Detection((30.0, 20.0, 150.0, 180.0), landmarks, 0.9), Alignment("box", 160, None))
    assert crop.points is not None
    assert len(crop.points) == 5
    for x, y in crop.points:
        rows, columns = np.mgrid[:160, :160]
        near = crop.pixels[..., 0] * (np.hypot(columns - x, rows - y) < 8)
        assert np.average(columns, weights=near) == pytest.approx(x, abs=0.1)
        assert np.average(rows, weights=near) == pytest.approx(y, abs=0.1)


def test_quality_does_not_depend_on_how_the_embedder_wants_its_crop(astronaut: np.ndarray) -> None:
    image = Image(astronaut, "astronaut")
    template = Alignment("arcface-112", 112, np.array(ARCFACE_POINTS))
    box = Alignment("facenet-160", 160, None)
    by_points = measure_quality(align_face(image, face(), template), template)
    by_box = measure_quality(align_face(image, face(), box), box)
    assert by_box.brightness == pytest.approx(by_points.brightness, abs=0.03)
    assert by_box.visible == pytest.approx(by_points.visible, abs=0.15)
    assert by_box.yaw == by_points.yaw


@pytest.mark.parametrize("box", [(600.0, 10.0, 700.0, 90.0), (-90.0, 10.0, -1.0, 90.0)], ids=str)
def test_a_box_outside_the_photograph_is_refused(astronaut: np.ndarray, box: tuple[float, float, float, float]) -> None:
    with pytest.raises(LowQualityFaceError, match="outside the photograph of 512×512"):
        align_face(Image(astronaut, "astronaut"), face(box), Alignment("facenet-160", 160, None))


def test_landmarks_that_form_no_face_are_refused_before_they_are_measured(astronaut: np.ndarray) -> None:
    with pytest.raises(LowQualityFaceError, match="coincide"):
        align_face(Image(astronaut, "astronaut"), Detection(BOX, np.full((5, 2), 200.0), 0.9), Alignment("facenet-160", 160, None))


@pytest.mark.parametrize(("points", "margin_px"), [(None, -1), (None, 160), (np.array(ARCFACE_POINTS), 5)])
def test_an_impossible_alignment_is_refused(points: np.ndarray | None, margin_px: int) -> None:
    with pytest.raises(InputError, match="margin"):
        Alignment("broken", 160, points, margin_px)
