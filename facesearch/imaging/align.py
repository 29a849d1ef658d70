"""Faces cut out of photographs, their five points laid on an embedder's template or their box stretched to its crop.

It neither finds faces nor judges them, apart from landmarks that no transform can be computed from.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from facesearch.core.arrays import Pixels
from facesearch.core.errors import InputError, LowQualityFaceError
from facesearch.core.face import Alignment, Detection, FaceCrop
from facesearch.core.image import Image

ARCFACE_POINTS = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))
"""Five points of a face on a crop of 112 pixels (Deng et al. 2019)."""

MIN_SPREAD_PX = 0.5
"""Smallest root mean square distance of landmarks from their middle, in pixels of the photograph; below it they are one spot
and the crop would be that one pixel enlarged."""

MIN_AGREEMENT = 0.1
"""Smallest correlation, in [0, 1], of centred landmarks with the centred template after the best turn. Real faces stay far above;
near 0 the best scale is near 0 too, and the crop would show the whole photograph."""


def similarity_transform(points: NDArray[Any], template: NDArray[Any]) -> NDArray[np.float64]:
    """Return the turn, uniform scale and shift that lay points on a template with the least squared error.

    Without reflection. In the plane Umeyama's solution (1991) has a closed form: with centred points as complex numbers, scale and
    turn are one complex factor, ``sum(conj(p)·q) / sum(|p|²)``.

    Args:
        points: ``(N, 2)``, x then y, N at least 2.
        template: ``(N, 2)``, where they belong.

    Returns:
        float64 ``(2, 3)``: ``matrix @ (x, y, 1)`` maps a point.

    Raises:
        LowQualityFaceError: The points coincide, are not finite, or no turn brings them near the template.
        InputError: The shapes differ or are no lists of points.
    """
    source, target = np.asarray(points, dtype=np.float64), np.asarray(template, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise InputError(f"points and template must both have shape (N, 2), N at least 2, not {source.shape} and {target.shape}")
    if not np.isfinite(source).all():
        raise LowQualityFaceError("a face's landmarks are not finite")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    p = (source - source_mean) @ np.array([1, 1j])
    q = (target - target_mean) @ np.array([1, 1j])
    power = float(np.sum(np.abs(p) ** 2))
    spread = math.sqrt(power / len(p))
    if spread < MIN_SPREAD_PX:
        raise LowQualityFaceError(f"a face's landmarks coincide: they spread over {spread:.2g} px, {MIN_SPREAD_PX} is the least")
    product = complex(np.sum(np.conj(p) * q))
    agreement = abs(product) / math.sqrt(power * float(np.sum(np.abs(q) ** 2)))
    if agreement < MIN_AGREEMENT:
        raise LowQualityFaceError(
            f"a face's landmarks do not form a face: they agree with the template to {agreement:.2f}, {MIN_AGREEMENT} is the least"
        )
    factor = product / power
    linear = np.array([[factor.real, -factor.imag], [factor.imag, factor.real]])
    return np.column_stack([linear, target_mean - linear @ source_mean])


def align_face(image: Image, detection: Detection, alignment: Alignment) -> FaceCrop:
    """Cut one face out of a photograph.

    With a template of five points: one bilinear warp from the photograph's own pixels. Where it shrinks below half size, the
    photograph is averaged over squares of a whole number of pixels first, so that the warp's four samples leave no pixel out; what
    lies outside the photograph is black. With a box: see ``cut_box``.

    Args:
        image: The photograph.
        detection: The face, in the photograph's pixels.
        alignment: Size of the crop and where the five points belong in it. Whole numbers are the centres of pixels.

    Returns:
        The crop, ``(crop_px, crop_px, 3)``.

    Raises:
        LowQualityFaceError: The landmarks coincide or form no face, or the crop would hold nothing of the photograph.
    """
    if alignment.points is None:
        return cut_box(image, detection, alignment)
    matrix = similarity_transform(detection.landmarks, alignment.points)
    scale = math.hypot(matrix[0, 0], matrix[1, 0])
    factor = math.floor(1 / scale) if scale < 0.5 else 1
    if factor > min(image.height, image.width):
        raise LowQualityFaceError(f"a face's landmarks lie too far apart for a photograph of {image.width}×{image.height} pixels")
    window, left, top = _window(image.pixels, matrix, alignment.crop_px, factor)
    if factor > 1:
        window = _area_averaged(window, factor)
    # Pixel i of the window covers pixels left + factor·i … left + factor·i + factor − 1, whose middle is what it stands for.
    offset = (factor - 1) / 2
    to_photograph = np.array([[factor, 0, left + offset], [0, factor, top + offset], [0, 0, 1]])
    crop = cv2.warpAffine(
        window,
        matrix @ to_photograph,
        (alignment.crop_px, alignment.crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=0,
    )
    return FaceCrop(np.asarray(crop, dtype=np.uint8), detection)


def cut_box(image: Image, detection: Detection, alignment: Alignment) -> FaceCrop:
    """Cut out a face's box with its margin, stretched to the crop.

    The very pixels that facenet-pytorch hands to its networks (``extract_face``): the margin is a share of each side, what lies
    outside the photograph is left off, corners are cut down to whole pixels, and Pillow's bilinear filter, which averages where it
    shrinks, makes the square.

    Args:
        image: The photograph.
        detection: The face; its landmarks move nothing.
        alignment: Size of the crop and its margin.

    Returns:
        The crop, with the places of the landmarks in it.

    Raises:
        LowQualityFaceError: The box lies outside the photograph, or the landmarks form no face.
    """
    side, margin = alignment.crop_px, alignment.margin_px
    x1, y1, x2, y2 = detection.box
    beside = margin * (x2 - x1) / (side - margin) / 2
    above = margin * (y2 - y1) / (side - margin) / 2
    left, top = int(max(x1 - beside, 0)), int(max(y1 - above, 0))
    right, bottom = int(min(x2 + beside, image.width)), int(min(y2 + above, image.height))
    if right <= left or bottom <= top:
        raise LowQualityFaceError(f"the face lies outside the photograph of {image.width}×{image.height} pixels")
    region = PilImage.fromarray(np.ascontiguousarray(image.pixels[top:bottom, left:right]))
    pixels = np.asarray(region.resize((side, side), PilImage.Resampling.BILINEAR))
    # Whole numbers are the centres of pixels, in the photograph as in the crop.
    scale = np.array([side / (right - left), side / (bottom - top)])
    points = (detection.landmarks + 0.5 - (left, top)) * scale - 0.5
    points = points.astype(np.float32)
    # The crop needs no landmarks, what is measured of it does: better refused here, where refusals are expected.
    similarity_transform(points, np.array(ARCFACE_POINTS))
    return FaceCrop(pixels, detection, points)


def align_faces(image: Image, detections: Sequence[Detection], alignment: Alignment) -> tuple[FaceCrop, ...]:
    """Cut several faces out of a photograph, in order; see ``align_face``."""
    return tuple(align_face(image, detection, alignment) for detection in detections)


def _window(pixels: Pixels, matrix: NDArray[np.float64], crop_px: int, factor: int) -> tuple[Pixels, int, int]:
    """Return the part of a photograph that a crop samples, its left and its top.

    Left and top are multiples of ``factor``, so that the squares averaged over do not depend on the face. Warping a window, not the
    photograph, also keeps within OpenCV's 32,767 pixels a side.
    """
    inverse = np.linalg.inv(matrix[:, :2])
    corners = np.array([[-1, -1], [crop_px, -1], [-1, crop_px], [crop_px, crop_px]], dtype=np.float64)
    reach = (corners - matrix[:, 2]) @ inverse.T
    height, width = pixels.shape[:2]
    low = np.floor(reach.min(axis=0) / factor - 1) * factor
    high = np.ceil(reach.max(axis=0) / factor + 1) * factor + 1
    left, top = (int(value) for value in np.clip(low, 0, (width, height)))
    right, bottom = (int(value) for value in np.clip(high, 0, (width, height)))
    if right <= left or bottom <= top:
        raise LowQualityFaceError(f"the face lies outside the photograph of {width}×{height} pixels")
    return pixels[top:bottom, left:right], left, top


def _area_averaged(window: Pixels, factor: int) -> Pixels:
    """Return the means of ``factor × factor`` squares; a square that reaches past the photograph counts black there."""
    height, width = window.shape[:2]
    below, beside = -height % factor, -width % factor
    whole = cv2.copyMakeBorder(window, 0, below, 0, beside, cv2.BORDER_CONSTANT, value=0) if below or beside else window
    size = (whole.shape[1] // factor, whole.shape[0] // factor)
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
