"""Three ways to spoil a photograph of a face, for measuring what a quality gate finds; it measures nothing itself."""

from __future__ import annotations

import math

import cv2
import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.face import Box, Detection

KINDS = ("small", "motion", "covered")

SMALL_PX = 24
"""Shorter side of the face's box after the reduction, in pixels."""

MOTION_SHARE = 1 / 6
"""Length of the motion as a share of the shorter side of the face's box."""

COVER_NOISE = 4.0
"""Standard deviation of a cover's grain in grey levels: no real surface is exactly flat."""


GRADED_PX = (10.0, 12.0, 14.0, 16.0, 20.0)
"""Sizes of the face that ``graded`` reduces a photograph to, without enlarging it back."""

GRADED_DARK = (0.03, 0.05, 0.08, 0.12, 0.2)
GRADED_BRIGHT = (2.0, 3.0, 4.0, 6.0, 8.0)
"""Factors that ``graded`` multiplies grey levels with; what passes 255 is burnt out."""

GRADED_NOISE = 1.5
"""Standard deviation of a darkened photograph's grain in grey levels."""


def damaged(pixels: Pixels, box: Box, kind: str, rng: np.random.Generator, *, texture: Pixels | None = None) -> Pixels:
    """Return a photograph with one kind of damage, before any face is looked for in it.

    ``small``: the whole photograph is reduced until the face's box is 24 px wide or high, and enlarged back. ``motion``: it is
    averaged along a line of random direction, a sixth of the box long. ``covered``: the left, right, upper or lower half of the
    box is hidden behind one random colour with some grain, or behind a piece of another photograph.

    Args:
        pixels: RGB uint8, ``(H, W, 3)``.
        box: The face in the undamaged photograph.
        kind: One of ``KINDS``.
        rng: Source of chance.
        texture: The other photograph, RGB uint8; None for a colour.
    """
    side = min(box[2] - box[0], box[3] - box[1])
    if kind == "small":
        return _reduced(pixels, min(1.0, SMALL_PX / side))
    if kind == "motion":
        return _moved(pixels, side * MOTION_SHARE, rng.uniform(0.0, math.pi))
    if kind == "covered":
        return _half_covered(pixels, box, rng, texture)
    raise ValueError(f"damage is one of {', '.join(KINDS)}, not {kind!r}")


def _reduced(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def _moved(pixels: Pixels, length: float, angle: float) -> Pixels:
    reach = math.ceil(length / 2) + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    for step in np.linspace(-length / 2, length / 2, 64):
        x, y = reach + step * math.cos(angle), reach + step * math.sin(angle)
        left, top = math.floor(x), math.floor(y)
        for row, down in ((top, 1 - (y - top)), (top + 1, y - top)):
            for column, across in ((left, 1 - (x - left)), (left + 1, x - left)):
                kernel[row, column] += down * across
    blurred = cv2.filter2D(pixels, -1, kernel / kernel.sum(), borderType=cv2.BORDER_REPLICATE)
    return np.asarray(blurred, dtype=np.uint8)


def _half_covered(pixels: Pixels, box: Box, rng: np.random.Generator, texture: Pixels | None) -> Pixels:
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (round(value) for value in box)
    middle_x, middle_y = (x1 + x2) // 2, (y1 + y2) // 2
    halves = ((x1, y1, middle_x, y2), (middle_x, y1, x2, y2), (x1, y1, x2, middle_y), (x1, middle_y, x2, y2))
    left, top, right, bottom = halves[int(rng.integers(4))]
    left, right = max(0, left), min(width, right)
    top, bottom = max(0, top), min(height, bottom)
    covered = pixels.copy()
    if texture is not None:
        # The upper left corner: background, as a rule.
        piece = texture[: max(1, texture.shape[0] // 3), : max(1, texture.shape[1] // 3)]
        if bottom > top and right > left:
            covered[top:bottom, left:right] = cv2.resize(piece, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
        return covered
    colour = rng.integers(0, 256, 3)
    grain = rng.normal(0.0, COVER_NOISE, (max(0, bottom - top), max(0, right - left), 3))
    covered[top:bottom, left:right] = np.clip(colour + grain, 0, 255)
    return covered


def graded(pixels: Pixels, detection: Detection, rng: np.random.Generator) -> tuple[Pixels, Detection]:
    """Return a photograph made small, dark or burnt out by a random grade, and its face's place in it.

    Args:
        pixels: RGB uint8, ``(H, W, 3)``.
        detection: The face in it.
        rng: Source of chance.
    """
    which = int(rng.integers(3))
    if which == 0:
        factor = float(rng.choice(GRADED_PX)) / min(detection.width, detection.height)
        height, width = pixels.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        scales = np.array([size[0] / width, size[1] / height])
        small = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        box = (np.array(detection.box).reshape(2, 2) * scales).ravel()
        points = ((detection.landmarks + 0.5) * scales - 0.5).astype(np.float32)
        return small, Detection((box[0], box[1], box[2], box[3]), points, detection.score)
    levels = pixels.astype(np.float32)
    if which == 1:
        levels = levels * float(rng.choice(GRADED_DARK)) + rng.normal(0.0, GRADED_NOISE, pixels.shape)
    else:
        levels = levels * float(rng.choice(GRADED_BRIGHT))
    return np.clip(levels, 0, 255).astype(np.uint8), detection
