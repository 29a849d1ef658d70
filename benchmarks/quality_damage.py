"""Three ways to spoil a photograph of a face, for measuring what a quality gate finds; it measures nothing itself."""

from __future__ import annotations

import math

import cv2
import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.face import Box, Detection
from facesearch.imaging.damage import MOTION_SHARE, half_covered, moved_along

KINDS = ("small", "motion", "covered")

SMALL_PX = 24
"""Shorter side of the face's box after the reduction, in pixels."""


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
        return moved_along(pixels, side * MOTION_SHARE, rng.uniform(0.0, math.pi))
    if kind == "covered":
        return half_covered(pixels, box, rng, texture)
    raise ValueError(f"damage is one of {', '.join(KINDS)}, not {kind!r}")


def _reduced(pixels: Pixels, factor: float) -> Pixels:
    height, width = pixels.shape[:2]
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


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
