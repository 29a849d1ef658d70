"""Alignment recovers the similarity transform that a face was placed by, in numbers and in pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from facesearch.core.face import Alignment, Detection
from facesearch.core.image import Image
from facesearch.imaging.align import align_face, similarity_transform

TEMPLATE = np.array([[38.3, 51.7], [73.5, 51.5], [56.0, 71.7], [41.5, 92.4], [70.7, 92.2]])
DISC_PX = 1.0
"""How far, in crop pixels, a drawn disc's middle may lie from where its landmark belongs."""

transforms = st.tuples(st.floats(0.2, 12), st.floats(-180, 180), st.floats(-500, 5000), st.floats(-500, 5000))


def matrix_of(scale: float, degrees: float, x: float, y: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    cos, sin = scale * np.cos(angle), scale * np.sin(angle)
    return np.array([[cos, -sin, x], [sin, cos, y]])


def applied(matrix: np.ndarray, points: np.ndarray) -> np.ndarray:
    return points @ matrix[:, :2].T + matrix[:, 2]


@given(transforms)
def test_a_known_transform_is_recovered(transform):
    matrix = matrix_of(*transform)
    found = similarity_transform(applied(matrix, TEMPLATE), TEMPLATE)
    both = np.vstack([found, [0, 0, 1]]) @ np.vstack([matrix, [0, 0, 1]])
    np.testing.assert_allclose(both, np.eye(3), atol=1e-8)


@given(transforms, st.integers(0, 2**31))
def test_no_nearby_transform_fits_better(transform, seed):
    rng = np.random.default_rng(seed)
    points = applied(matrix_of(*transform), TEMPLATE) + rng.normal(0, transform[0] * 3, (5, 2))
    found = similarity_transform(points, TEMPLATE)

    def error(matrix: np.ndarray) -> float:
        return float(((applied(matrix, points) - TEMPLATE) ** 2).sum())

    best = error(found)
    for _ in range(8):
        a, b, x, y = rng.normal(0, 1e-3, 4)
        nudged = found + np.array([[a, -b, 10 * x], [b, a, 10 * y]])
        assert error(nudged) >= best - 1e-7


@given(st.floats(0.6, 6), st.floats(-180, 180), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_discs_drawn_at_the_landmarks_arrive_at_the_template(scale, degrees, dx, dy):
    """Pixels obey the matrix too, with and without averaging."""
    matrix = matrix_of(scale, degrees, 0, 0)
    placed = applied(matrix, TEMPLATE)
    landmarks = placed - placed.min(axis=0) + 30 + 8 * scale + (dx, dy)
    width, height = (int(side) for side in np.ceil(landmarks.max(axis=0)) + 30 + 8 * scale)
    rows, columns = np.mgrid[:height, :width]
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    for x, y in landmarks:
        away = np.hypot(columns - x, rows - y)
        pixels[away <= max(1.5, 4 * scale)] = 255
    detection = Detection((0, 0, width, height), landmarks.astype(np.float32), 1.0)
    alignment = Alignment("arcface-112", 112, TEMPLATE.astype(np.float32))
    crop = align_face(Image(pixels, "0"), detection, alignment).pixels[:, :, 0].astype(float)
    crop_rows, crop_columns = np.mgrid[:112, :112]
    for x, y in TEMPLATE:
        near = np.hypot(crop_columns - x, crop_rows - y) < 8
        weight = crop * near
        assert weight.sum() > 0
        middle = ((weight * crop_columns).sum() / weight.sum(), (weight * crop_rows).sum() / weight.sum())
        assert np.hypot(middle[0] - x, middle[1] - y) < DISC_PX
