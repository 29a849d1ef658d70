"""Photographs spoilt in measured ways: small, compressed, moved, half hidden, turned, without colour.

Whole photographs are spoilt, before any face is looked for in them; it measures nothing: see ``evaluate robustness``.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.damage import Damage
from facesearch.core.errors import InputError
from facesearch.core.face import Box

SMALL_FACE_PX = 24
"""Width of the face's box after the reduction, in pixels: faces of a group photograph or of a camera above a door."""

JPEG_QUALITY = 10

MOTION_SHARE = 1 / 6
"""Length of the motion as a share of the shorter side of the face's box."""

TURN_DEGREES = 40.0

COVER_NOISE = 4.0
"""Standard deviation of a cover's grain in grey levels: no real surface is exactly flat."""


def reduced(pixels: Pixels, box: Box, _rng: np.random.Generator) -> Pixels:
    """Return the whole photograph made so small that the face's box is ``SMALL_FACE_PX`` wide; it is not enlarged back.

    A face that is smaller already is left as it is.
    """
    factor = min(1.0, SMALL_FACE_PX / (box[2] - box[0]))
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def compressed(pixels: Pixels, _box: Box, _rng: np.random.Generator) -> Pixels:
    """Return the whole photograph as a JPEG of quality ``JPEG_QUALITY`` leaves it."""
    bgr = np.ascontiguousarray(pixels[:, :, ::-1])
    is_written, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not is_written:
        raise InputError(f"a photograph of {pixels.shape[1]}×{pixels.shape[0]} pixels cannot be written as a JPEG")
    return np.ascontiguousarray(np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), dtype=np.uint8)[:, :, ::-1])


def moved(pixels: Pixels, box: Box, rng: np.random.Generator) -> Pixels:
    """Return the photograph averaged along a line of random direction, ``MOTION_SHARE`` of the box's shorter side long."""
    side = min(box[2] - box[0], box[3] - box[1])
    return moved_along(pixels, side * MOTION_SHARE, rng.uniform(0.0, math.pi))


def moved_along(pixels: Pixels, length: float, angle: float) -> Pixels:
    """Return a photograph averaged along a line.

    Args:
        pixels: RGB uint8, ``(H, W, 3)``.
        length: Of the line in pixels.
        angle: Of the line in radians, 0 along the rows.
    """
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


def half_covered(pixels: Pixels, box: Box, rng: np.random.Generator, texture: Pixels | None = None) -> Pixels:
    """Return the photograph with the left, right, upper or lower half of the box hidden.

    Args:
        pixels: RGB uint8, ``(H, W, 3)``.
        box: The face.
        rng: Chooses the half, and the cover's colour.
        texture: Another photograph whose corner is the cover, RGB uint8; None for one random colour with some grain.
    """
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


def turned(pixels: Pixels, _box: Box, rng: np.random.Generator) -> Pixels:
    """Return the whole photograph turned by ``TURN_DEGREES`` to one side or the other; the corners that this adds are black."""
    degrees = TURN_DEGREES if rng.integers(2) else -TURN_DEGREES
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    cosine, sine = abs(matrix[0, 0]), abs(matrix[0, 1])
    size = (math.ceil(width * cosine + height * sine), math.ceil(width * sine + height * cosine))
    matrix[:, 2] += ((size[0] - width) / 2, (size[1] - height) / 2)
    return np.asarray(cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR), dtype=np.uint8)


def grey(pixels: Pixels, _box: Box, _rng: np.random.Generator) -> Pixels:
    """Return the photograph without colour: its luma (ITU-R BT.601) in all three channels."""
    return np.ascontiguousarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB))


DAMAGES = (
    Damage("small-24", f"the photograph reduced until the face is {SMALL_FACE_PX} px wide", reduced),
    Damage("jpeg-10", f"the photograph saved as a JPEG of quality {JPEG_QUALITY}", compressed),
    Damage("motion", "the photograph blurred along a line of a sixth of the face, in a random direction", moved),
    Damage("half-hidden", "one half of the face (left, right, upper or lower) behind a random colour", half_covered),
    Damage("turned-40", f"the photograph turned by {TURN_DEGREES:g}° to the left or the right", turned),
    Damage("grey", "the photograph without colour", grey),
)
"""The damages that are measured, in the order that they are reported in."""
