"""Faces found in a photograph and cut out of it.

Finding is ``facesearch.detection``'s work, cutting ``facesearch.imaging.align``'s.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels, checked_pixels, freeze
from facesearch.core.errors import InputError

Box = tuple[float, float, float, float]
"""``(x1, y1, x2, y2)`` in pixels of the full-size, upright photograph; may reach past its borders."""


def checked_box(box: object) -> Box:
    """Return a box as four finite floats with ``x1 < x2`` and ``y1 < y2``.

    Raises:
        InputError: Not such a box.
    """
    try:
        x1, y1, x2, y2 = (float(value) for value in box)  # type: ignore[attr-defined]
    except (TypeError, ValueError) as exc:
        raise InputError(f"a box is four numbers (x1, y1, x2, y2), not {box!r}") from exc
    if not all(math.isfinite(value) for value in (x1, y1, x2, y2)) or x2 <= x1 or y2 <= y1:
        raise InputError(f"a box needs finite x1 < x2 and y1 < y2, not ({x1}, {y1}, {x2}, {y2})")
    return (x1, y1, x2, y2)


def box_iou(a: Box, b: Box) -> float:
    """Return the intersection over union of two boxes, in [0, 1]."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    shared = width * height
    total = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared
    return min(1.0, shared / total)


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face found in a photograph.

    Attributes:
        box: ``(x1, y1, x2, y2)`` in pixels of the full-size, upright photograph.
        landmarks: float32 ``(5, 2)``, x then y in the same pixels: image-left eye, other eye, nose tip, image-left mouth corner,
            other mouth corner. Read-only.
        score: The detector's confidence in [0, 1]; no probability.
    """

    box: Box
    landmarks: NDArray[np.float32]
    score: float

    def __post_init__(self) -> None:
        """Check the values and freeze the landmarks."""
        object.__setattr__(self, "box", checked_box(self.box))
        points = np.asarray(self.landmarks, dtype=np.float32)
        if points.shape != (5, 2) or not np.isfinite(points).all():
            raise InputError(f"landmarks are five finite points, shape (5, 2), not {points.shape}")
        object.__setattr__(self, "landmarks", freeze(points))
        score = float(self.score)
        if not 0.0 <= score <= 1.0:
            raise InputError(f"a detection score lies in [0, 1], not {score}")
        object.__setattr__(self, "score", score)

    @property
    def width(self) -> float:
        """Width of the box in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> float:
        """Height of the box in pixels."""
        return self.box[3] - self.box[1]

    @property
    def centre(self) -> tuple[float, float]:
        """Middle of the box, x then y in pixels."""
        return ((self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class Alignment:
    """What an embedder wants in its crop: a face's five points in places of their own, or the detector's box as it is.

    Attributes:
        name: Stable name, for example ``"arcface-112"``.
        crop_px: Side of the square crop in pixels.
        points: float32 ``(5, 2)``, x then y in crop pixels, in the order of ``Detection.landmarks``. Read-only. None where the box
            is stretched to the crop whatever the landmarks are.
        margin_px: With a box: how many of the crop's pixels, left and right together, lie beyond the box.
    """

    name: str
    crop_px: int
    points: NDArray[np.float32] | None
    margin_px: int = 0

    def __post_init__(self) -> None:
        """Check the values and freeze the points."""
        if self.points is None:
            if not 0 <= self.margin_px < self.crop_px:
                raise InputError(f"a margin lies in 0 … {self.crop_px - 1} pixels of the crop, not {self.margin_px}")
            return
        points = np.asarray(self.points, dtype=np.float32)
        if points.shape != (5, 2) or not np.isfinite(points).all() or self.crop_px < 1 or self.margin_px:
            raise InputError("an alignment needs five finite points and a positive crop size, and a margin goes with a box only")
        object.__setattr__(self, "points", freeze(points))


@dataclass(frozen=True, slots=True, eq=False)
class FaceCrop:
    """An aligned face, ready to be embedded.

    Attributes:
        pixels: uint8 RGB, shape ``(S, S, 3)``, read-only.
        detection: The face it was cut from, in pixels of the photograph.
        points: float32 ``(5, 2)``: where the face's landmarks lie in the crop, in its pixels; None where the alignment says it.
    """

    pixels: Pixels
    detection: Detection
    points: NDArray[np.float32] | None = None

    def __post_init__(self) -> None:
        """Check and freeze the arrays."""
        pixels = checked_pixels(self.pixels, what="face crop")
        if pixels.shape[0] != pixels.shape[1]:
            raise InputError(f"a face crop is square, not {pixels.shape[1]}×{pixels.shape[0]}")
        object.__setattr__(self, "pixels", pixels)
        if self.points is not None:
            object.__setattr__(self, "points", freeze(np.asarray(self.points, dtype=np.float32)))
