"""Three ways to spoil a photograph of a face, for measuring what a quality gate finds; it measures nothing itself."""

from __future__ import annotations

import math

import cv2
import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.face import Box

KINDS = ("small", "motion", "covered")

SMALL_PX = 24
"""Shorter side of the face's box after the reduction, in pixels."""

MOTION_SHARE = 1 / 6
"""Length of the motion as a share of the shorter side of the face's box."""

COVER_NOISE = 4.0
"""Standard deviation of a cover's grain in grey levels: no real surface is exactly flat."""


def damaged(pixels: Pixels, box: Box, kind: str, rng: np.random.Generator) -> Pixels:
    """Return a photograph with one kind of damage, before any face is looked for in it.

    ``small``: the whole photograph is reduced until the face's box is 24 px wide or high, and enlarged back. ``motion``: it is
    averaged along a line of random direction, a sixth of the box long. ``covered``: the left, right, upper or lower half of the
    box is hidden behind one random colour with some grain.

    Args:
        pixels: RGB uint8, ``(H, W, 3)``.
        box: The face in the undamaged photograph.
        kind: One of ``KINDS``.
        rng: Source of chance.
    """
    side = min(box[2] - box[0], box[3] - box[1])
    if kind == "small":
        return _reduced(pixels, min(1.0, SMALL_PX / side))
    if kind == "motion":
        return _moved(pixels, side * MOTION_SHARE, rng.uniform(0.0, math.pi))
    if kind == "covered":
        return _half_covered(pixels, box, rng)
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


def _half_covered(pixels: Pixels, box: Box, rng: np.random.Generator) -> Pixels:
    height, width = pixels.shape[:2]
    x1, y1, x2, y2 = (round(value) for value in box)
    middle_x, middle_y = (x1 + x2) // 2, (y1 + y2) // 2
    halves = ((x1, y1, middle_x, y2), (middle_x, y1, x2, y2), (x1, y1, x2, middle_y), (x1, middle_y, x2, y2))
    left, top, right, bottom = halves[int(rng.integers(4))]
    left, right = max(0, left), min(width, right)
    top, bottom = max(0, top), min(height, bottom)
    colour = rng.integers(0, 256, 3)
    grain = rng.normal(0.0, COVER_NOISE, (max(0, bottom - top), max(0, right - left), 3))
    covered = pixels.copy()
    covered[top:bottom, left:right] = np.clip(colour + grain, 0, 255)
    return covered
