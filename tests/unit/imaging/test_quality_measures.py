"""What is measured of a face: each measure answers to its own fault and to no other, on a real photograph."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest

from facesearch.core.arrays import array_digest
from facesearch.core.face import Alignment, Detection, FaceCrop
from facesearch.core.image import Image
from facesearch.core.quality import QualityReason
from facesearch.imaging.align import align_face
from facesearch.imaging.quality import (
    N_RINGS,
    N_SECTORS,
    REFERENCE_POINTS,
    SPECTRUM_LEFT,
    SPECTRUM_PX,
    SPECTRUM_TOP,
    detail,
    measure_quality,
    pose,
    reference_grey,
    sharpness,
)

ALIGNMENT = Alignment("arcface-112", 112, np.array(REFERENCE_POINTS, dtype=np.float32))
LANDMARKS = np.array([[205.09, 101.56], [247.52, 103.74], [224.78, 128.79], [201.83, 139.3], [245.42, 141.88]], dtype=np.float32)
FACE = Detection((180.93, 61.87, 268.46, 171.86), LANDMARKS, 0.9999)
"""The face of ``skimage.data.astronaut`` as the shipped detector finds it."""


def measured(pixels, detection=FACE, alignment=ALIGNMENT):
    image = Image(np.ascontiguousarray(pixels), array_digest(np.ascontiguousarray(pixels)))
    return measure_quality(align_face(image, detection, alignment), alignment)


def enlarged_from(pixels, face_px):
    factor = face_px / FACE.width
    size = (round(pixels.shape[1] * factor), round(pixels.shape[0] * factor))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (pixels.shape[1], pixels.shape[0]), interpolation=cv2.INTER_CUBIC)


def moved(pixels, length, degrees):
    kernel = np.zeros((length, length), dtype=np.float32)
    kernel[length // 2] = 1.0 / length
    turn = cv2.getRotationMatrix2D((length // 2, length // 2), degrees, 1.0)
    kernel = cv2.warpAffine(kernel, turn, (length, length))
    return cv2.filter2D(pixels, -1, kernel / kernel.sum())


@pytest.fixture(scope="module")
def plain(astronaut):
    return measured(astronaut)


def test_a_good_photograph_has_no_fault(plain):
    assert plain.reasons == ()
    assert plain.score > 0.9
    assert plain.face_px == pytest.approx(FACE.width)


@pytest.mark.parametrize("face_px", [16, 24, 32])
def test_an_enlarged_face_is_found_out(astronaut, plain, face_px):
    assert plain.detail_px > 45
    grown = measured(enlarged_from(astronaut, face_px))
    assert grown.face_px == plain.face_px
    assert grown.detail_px == pytest.approx(face_px, rel=0.2)


def test_an_enlargement_from_very_few_pixels_does_not_pass(astronaut):
    # Enlarging tenfold rings so much that the size is overrated; acuity is not taken in.
    assert QualityReason.BLURRED in measured(enlarged_from(astronaut, 9)).reasons


def test_a_face_of_few_pixels_is_too_small(astronaut):
    factor = 10 / FACE.width
    small = cv2.resize(astronaut, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    box = tuple(value * factor for value in FACE.box)
    assert QualityReason.TOO_SMALL in measured(small, Detection(box, LANDMARKS * factor, 0.9999)).reasons


@pytest.mark.parametrize("degrees", [0, 30, 60, 90, 120, 150])
def test_motion_is_found_in_every_direction(astronaut, plain, degrees):
    assert plain.acuity > 15
    blurred = measured(moved(astronaut, 15, degrees))
    assert blurred.acuity < plain.acuity / 2
    assert blurred.detail_px > blurred.acuity * 2, "the direction across the motion keeps its detail"


def test_bad_focus_is_blurred(astronaut, plain):
    soft = measured(cv2.GaussianBlur(astronaut, (0, 0), 5))
    assert QualityReason.BLURRED in soft.reasons
    assert soft.sharpness < plain.sharpness / 5


@pytest.mark.parametrize("half", ["left", "right", "upper", "lower"])
def test_a_covered_half_is_found(astronaut, half):
    x1, y1, x2, y2 = (round(value) for value in FACE.box)
    rows = {"upper": slice(y1, (y1 + y2) // 2), "lower": slice((y1 + y2) // 2, y2)}.get(half, slice(y1, y2))
    columns = {"left": slice(x1, (x1 + x2) // 2), "right": slice((x1 + x2) // 2, x2)}.get(half, slice(x1, x2))
    pixels = astronaut.copy()
    pixels[rows, columns] = (90, 120, 60)
    assert measured(pixels).reasons == (QualityReason.OCCLUDED,)


def test_dark_and_bright_are_told_apart(astronaut):
    assert QualityReason.TOO_DARK in measured((astronaut * 0.02).astype(np.uint8)).reasons
    bright = measured(np.clip(astronaut.astype(np.float32) * 5, 0, 255).astype(np.uint8))
    assert QualityReason.TOO_BRIGHT in bright.reasons
    assert QualityReason.TOO_DARK not in bright.reasons


def test_contrast_and_brightness_do_not_pass_for_sharpness(astronaut, plain):
    dim = measured((astronaut * 0.6 + 40).astype(np.uint8))
    assert dim.sharpness == pytest.approx(plain.sharpness, rel=0.1)
    assert dim.acuity == pytest.approx(plain.acuity, rel=0.1)
    assert dim.detail_px == pytest.approx(plain.detail_px, rel=0.1)


def test_one_colour_has_no_quality():
    for level in (0, 128, 255):
        flat = measured(np.full((300, 300, 3), level, dtype=np.uint8))
        assert (flat.detail_px, flat.acuity, flat.sharpness, flat.visible) == (0, 0, 0, 0)
        assert {QualityReason.TOO_SMALL, QualityReason.BLURRED, QualityReason.OCCLUDED} <= set(flat.reasons)


def test_figures_do_not_depend_on_the_crop_an_embedder_wants(astronaut, plain):
    wider = Alignment("wide-160", 160, np.array(REFERENCE_POINTS, dtype=np.float32) * 1.2 + 12.8)
    other = measured(astronaut, alignment=wider)
    assert other.brightness == pytest.approx(plain.brightness, abs=0.01)
    assert other.visible == pytest.approx(plain.visible, rel=0.1)
    assert other.detail_px == pytest.approx(plain.detail_px, rel=0.15)
    assert other.acuity == pytest.approx(plain.acuity, rel=0.2)


def test_pose_of_a_head_in_space():
    """Five points of a head turned by known angles, seen from afar: signs, order, and no mixing of the three."""
    head = np.array([[-30, -30, 0], [30, -30, 0], [0, 5, 25], [-24, 40, 0], [24, 40, 0]], dtype=np.float64)

    def seen(yaw=0.0, pitch=0.0, roll=0.0):
        a, b, c = (math.radians(angle) for angle in (yaw, pitch, roll))
        turn = np.array([[math.cos(a), 0, math.sin(a)], [0, 1, 0], [-math.sin(a), 0, math.cos(a)]])
        nod = np.array([[1, 0, 0], [0, math.cos(b), math.sin(b)], [0, -math.sin(b), math.cos(b)]])
        tilt = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
        points = (head @ (tilt @ nod @ turn).T)[:, :2] + 100
        return pose(Detection((0, 0, 200, 200), points.astype(np.float32), 1.0))

    assert seen() == pytest.approx((0.0, 0.0, 0.0), abs=1e-5)
    yaws = [seen(yaw=angle)[0] for angle in (-50, -30, -10, 10, 30, 50)]
    assert yaws == sorted(yaws)
    assert yaws[0] < -0.9
    assert yaws[-1] > 0.9
    pitches = [seen(pitch=angle)[1] for angle in (-30, -15, 0, 15, 30)]
    assert pitches == sorted(pitches)
    assert seen(roll=20)[2] == pytest.approx(20, abs=0.1)
    assert seen(yaw=30, roll=40)[0] == pytest.approx(seen(yaw=30)[0], abs=1e-4)


def test_landmarks_on_one_spot_are_turned_away():
    points = np.array([[50, 50], [50, 50], [60, 60], [45, 80], [55, 80]], dtype=np.float32)
    assert pose(Detection((0, 0, 100, 100), points, 1.0)) == (2.0, 0.0, 0.0)


def slow_detail(grey):
    """``detail`` by loops over every frequency of NumPy's transform."""
    window = grey[SPECTRUM_TOP : SPECTRUM_TOP + SPECTRUM_PX, SPECTRUM_LEFT : SPECTRUM_LEFT + SPECTRUM_PX].astype(np.float64)
    taper = np.hanning(SPECTRUM_PX)
    power = np.abs(np.fft.fft2((window - window.mean()) * np.outer(taper, taper))) ** 2
    rings = np.zeros((N_SECTORS, N_RINGS))
    for row in range(SPECTRUM_PX):
        for column in range(SPECTRUM_PX):
            v = row if row < SPECTRUM_PX / 2 else row - SPECTRUM_PX
            u = column if column < SPECTRUM_PX / 2 else column - SPECTRUM_PX
            ring = round(math.hypot(u, v))
            if 1 <= ring <= N_RINGS:
                sector = round(math.atan2(v, u) / (math.pi / N_SECTORS)) % N_SECTORS
                rings[sector, ring - 1] += power[row, column] * (u * u + v * v)

    def end(row, share):
        reached = np.cumsum(row) / row.sum()
        return float(np.interp(share, reached, np.arange(1, N_RINGS + 1)))

    across = 84.0 / SPECTRUM_PX
    return 2 * end(rings.sum(axis=0), 0.98) * across / 1.38, min(end(row, 0.9) for row in rings) * across


@pytest.mark.parametrize("seed", range(3))
def test_detail_equals_its_slow_twin(seed):
    rng = np.random.default_rng(seed)
    grey = cv2.GaussianBlur(rng.uniform(0, 255, (112, 112)).astype(np.float32), (0, 0), 1.0 + seed)
    assert detail(grey) == pytest.approx(slow_detail(grey), rel=1e-4)


def test_sharpness_is_the_laplacian_over_the_variance():
    grey = np.random.default_rng(4).uniform(0, 255, (112, 112)).astype(np.float32)
    window = grey[SPECTRUM_TOP : SPECTRUM_TOP + SPECTRUM_PX, SPECTRUM_LEFT : SPECTRUM_LEFT + SPECTRUM_PX].astype(np.float64)
    padded = np.pad(window, 1, mode="reflect")
    laplacian = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:] - 4 * window
    assert sharpness(grey) == pytest.approx(laplacian.var() / window.var(), rel=1e-4)


def test_the_reference_crop_is_taken_as_it_is():
    pixels = np.random.default_rng(5).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    grey = reference_grey(FaceCrop(pixels, FACE), ALIGNMENT)
    assert grey == pytest.approx(pixels @ np.array([0.299, 0.587, 0.114]), abs=1.0)
