"""Alignment agrees with the reference recipe, with a slow obvious twin, and refuses landmarks that are no face."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from facesearch.core.arrays import array_digest
from facesearch.core.errors import InputError, LowQualityFaceError
from facesearch.core.face import Alignment, Detection
from facesearch.core.image import Image
from facesearch.imaging.align import align_face, align_faces, similarity_transform

TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], dtype=np.float32
)
ALIGNMENT = Alignment("arcface-112", 112, TEMPLATE)
GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "reference.npz"

WARP_MEAN = 0.6
"""Largest mean difference from the twin in grey levels: rounding, and OpenCV's fixed-point positions."""
WARP_WORST = 12
"""Largest single difference from the twin, on noise-free photographs."""


def image_of(pixels: np.ndarray) -> Image:
    return Image(pixels.copy(), array_digest(pixels))


def detection_at(landmarks: np.ndarray) -> Detection:
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return Detection((*(low - 20), *(high + 20)), landmarks, 0.9)


def landmarks_for(scale: float, degrees: float, shift: tuple[float, float]) -> np.ndarray:
    """Where a photograph has the points that this turn, scale and shift (template to photograph) makes of the template."""
    angle = np.deg2rad(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (TEMPLATE.astype(float) @ turn.T + shift).astype(np.float32)


def umeyama(points: np.ndarray, template: np.ndarray) -> np.ndarray:
    """Umeyama (1991), equations 40–42, by singular value decomposition, letter by letter."""
    x, y = points.astype(float).T, template.astype(float).T
    n = x.shape[1]
    mean_x, mean_y = x.mean(axis=1, keepdims=True), y.mean(axis=1, keepdims=True)
    variance_x = ((x - mean_x) ** 2).sum() / n
    covariance = (y - mean_y) @ (x - mean_x).T / n
    u, d, vt = np.linalg.svd(covariance)
    s = np.diag([1.0, 1.0 if np.linalg.det(u) * np.linalg.det(vt) > 0 else -1.0])
    rotation = u @ s @ vt
    scale = np.trace(np.diag(d) @ s) / variance_x
    return np.hstack([scale * rotation, mean_y - scale * rotation @ mean_x])


def sample(pixels: np.ndarray, x: float, y: float) -> np.ndarray:
    """Bilinear value at a position; black outside."""
    left, top = int(np.floor(x)), int(np.floor(y))
    total = np.zeros(3)
    for row, share_y in ((top, 1 - (y - top)), (top + 1, y - top)):
        for column, share_x in ((left, 1 - (x - left)), (left + 1, x - left)):
            if 0 <= row < pixels.shape[0] and 0 <= column < pixels.shape[1]:
                total += share_x * share_y * pixels[row, column]
    return total


def slow_crop(pixels: np.ndarray, matrix: np.ndarray, side: int) -> np.ndarray:
    """The twin: average the whole photograph, then ask for each pixel of the crop where it comes from."""
    scale = np.sqrt(abs(np.linalg.det(matrix[:, :2])))
    factor = int(1 / scale) if scale < 0.5 else 1
    height, width = pixels.shape[:2]
    padded = np.zeros((-(-height // factor) * factor, -(-width // factor) * factor, 3))
    padded[:height, :width] = pixels
    averaged = padded.reshape(padded.shape[0] // factor, factor, padded.shape[1] // factor, factor, 3).mean(axis=(1, 3))
    inverse = np.linalg.inv(np.vstack([matrix, [0, 0, 1]]))
    crop = np.zeros((side, side, 3))
    for y in range(side):
        for x in range(side):
            px, py, _ = inverse @ (x, y, 1)
            # An averaged pixel's centre is the middle of the square it stands for.
            crop[y, x] = sample(averaged, (px - (factor - 1) / 2) / factor, (py - (factor - 1) / 2) / factor)
    return crop


def test_the_astronauts_matrix_is_the_references():
    with np.load(GOLDEN) as reference:
        matrix = similarity_transform(reference["astronaut_landmarks"], TEMPLATE)
        # Stored as float32 of numbers up to 150.
        np.testing.assert_allclose(matrix, reference["astronaut_matrix"], atol=5e-5)


def test_the_closed_form_is_umeyamas():
    rng = np.random.default_rng(1)
    for _ in range(50):
        points = landmarks_for(rng.uniform(0.3, 5), rng.uniform(-180, 180), tuple(rng.uniform(-50, 900, 2)))
        points = points + rng.normal(0, 3, (5, 2)).astype(np.float32)
        np.testing.assert_allclose(similarity_transform(points, TEMPLATE), umeyama(points, TEMPLATE), rtol=1e-6, atol=1e-5)


def test_a_mirrored_face_is_not_reflected_back():
    mirrored = TEMPLATE * (-1, 1)
    matrix = similarity_transform(mirrored, TEMPLATE)
    assert np.linalg.det(matrix[:, :2]) > 0


@pytest.mark.parametrize(
    ("scale", "degrees", "shift"),
    [
        (0.6, 10, (190, 60)),  # enlarged
        (0.25, 0, (220.3, 110.7)),  # enlarged so much that the window's edge is seen
        (1.0, 0, (180, 60)),  # as it is
        (1.9, -20, (100, 120)),  # reduced, above half
        (2.5, 15, (160, 60)),  # averaged over 2×2
        (3.7, 180, (470, 480)),  # averaged over 3×3, upside down
        (4.3, -35, (10, 200)),  # averaged over 4×4, past the photograph's border
        (1.0, 0, (-40, 430)),  # past two borders
    ],
)
def test_the_warp_is_its_twins(astronaut, scale, degrees, shift):
    landmarks = landmarks_for(scale, degrees, shift)
    crop = align_face(image_of(astronaut[:509, :503]), detection_at(landmarks), ALIGNMENT).pixels
    twin = slow_crop(astronaut[:509, :503], similarity_transform(landmarks, TEMPLATE), 112)
    difference = np.abs(crop - twin)
    assert twin.std() > 10
    assert difference.mean() < WARP_MEAN
    assert difference.max() < WARP_WORST


def test_shrinking_does_not_move_the_picture():
    """A smooth slope keeps its place to a fraction of a pixel, whatever the factor averaged over."""
    x = np.arange(1200) * (255 / 1199)
    pixels = np.repeat(np.repeat(np.round(x).astype(np.uint8)[np.newaxis, :, np.newaxis], 1200, axis=0), 3, axis=2)
    for scale in (1.0, 2.2, 3.5, 5.9, 8.1):
        landmarks = landmarks_for(scale, 0, (100, 100))
        crop = align_face(image_of(pixels), detection_at(landmarks), ALIGNMENT).pixels
        expected = (100 + scale * np.arange(112)) * (255 / 1199)
        assert np.abs(crop[56, :, 0].astype(float) - expected).mean() < 0.45, scale


def test_strong_shrinking_averages_instead_of_picking():
    """Fine stripes become their mean; picked pixels would be black or white."""
    pixels = np.zeros((900, 900, 3), dtype=np.uint8)
    pixels[:, ::2] = 255
    crop = align_face(image_of(pixels), detection_at(landmarks_for(6, 0, (60, 60))), ALIGNMENT).pixels
    assert crop.shape == (112, 112, 3)
    assert np.abs(crop.astype(int) - 127).max() <= 2


def test_outside_the_photograph_is_black():
    pixels = np.full((60, 60, 3), 200, dtype=np.uint8)
    crop = align_face(image_of(pixels), detection_at(landmarks_for(1, 0, (-60, 0))), ALIGNMENT).pixels
    assert (crop[:59, 61:] == 200).all()
    assert (crop[:, :59] == 0).all()
    assert (crop[61:] == 0).all()


def test_several_faces_come_in_order(astronaut):
    detections = [detection_at(landmarks_for(1, 0, (x, 60))) for x in (0, 180, 300)]
    crops = align_faces(image_of(astronaut), detections, ALIGNMENT)
    assert len(crops) == 3
    assert [crop.detection for crop in crops] == detections
    for crop, detection in zip(crops, detections, strict=True):
        np.testing.assert_array_equal(crop.pixels, align_face(image_of(astronaut), detection, ALIGNMENT).pixels)
    assert align_faces(image_of(astronaut), [], ALIGNMENT) == ()


def test_photographs_beyond_opencvs_side_can_be_aligned():
    pixels = np.zeros((120, 40_000, 3), dtype=np.uint8)
    pixels[:, 39_000:] = 90
    crop = align_face(image_of(pixels), detection_at(landmarks_for(1, 0, (39_500, 4))), ALIGNMENT).pixels
    assert crop.mean() > 80


def test_other_crop_sizes_are_made(astronaut):
    larger = Alignment("arcface-224", 224, (TEMPLATE + 0.5) * 2 - 0.5)
    landmarks = landmarks_for(2, 5, (150, 20))
    crop = align_face(image_of(astronaut), detection_at(landmarks), larger).pixels
    assert crop.shape == (224, 224, 3)


@pytest.mark.parametrize(
    ("landmarks", "reason"),
    [
        (np.full((5, 2), 40.0), "coincide"),
        (40 + 0.1 * np.random.default_rng(0).normal(size=(5, 2)), "coincide"),
        (TEMPLATE + 5000, "outside the photograph"),
        (TEMPLATE * 2000, "too far apart"),
        (TEMPLATE * np.float32(1e30), "too far apart"),
    ],
)
def test_landmarks_that_are_no_face_are_refused(astronaut, landmarks, reason):
    detection = Detection((10, 10, 90, 90), np.asarray(landmarks, dtype=np.float32), 0.9)
    with pytest.raises(LowQualityFaceError, match=reason):
        align_face(image_of(astronaut), detection, ALIGNMENT)


def test_points_that_no_turn_brings_near_are_refused():
    square = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=float) * 50
    with pytest.raises(LowQualityFaceError, match="do not form a face"):
        similarity_transform(square, square[[0, 3, 2, 1]])
    with pytest.raises(LowQualityFaceError, match="not finite"):
        similarity_transform(np.full((5, 2), np.nan), TEMPLATE)


@pytest.mark.parametrize("shapes", [((5, 2), (4, 2)), ((1, 2), (1, 2)), ((5, 3), (5, 3)), ((10,), (10,))])
def test_wrong_shapes_are_refused(shapes):
    with pytest.raises(InputError, match=r"shape \(N, 2\)"):
        similarity_transform(np.ones(shapes[0]), np.ones(shapes[1]))


def test_a_24_megapixel_photograph_is_not_averaged_as_a_whole():
    pixels = np.zeros((4000, 6000, 3), dtype=np.uint8)
    pixels.setflags(write=False)
    image, detection = Image(pixels, "0"), detection_at(landmarks_for(2.5, 3, (3000, 2000)))
    align_face(image, detection, ALIGNMENT)
    seconds = []
    for _ in range(20):
        started = time.perf_counter()
        align_face(image, detection, ALIGNMENT)
        seconds.append(time.perf_counter() - started)
    # The whole photograph's average alone takes more than 5 ms; a crop takes well under 1 ms.
    assert min(seconds) < 0.005
