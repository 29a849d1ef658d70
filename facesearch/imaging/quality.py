"""What can be measured of one face without recognising it: detail, pose, light, cover.

Every figure comes from the aligned crop and the detection; nothing is looked up, and no network is run. What the figures mean for
recognition is ``facesearch.core.quality``'s matter.
"""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import InputError
from facesearch.core.face import Alignment, Detection, FaceCrop
from facesearch.core.quality import Quality
from facesearch.imaging.align import ARCFACE_POINTS, similarity_transform

Grey = NDArray[np.float32]

REFERENCE_PX = 112
"""Side of the square that every measure is taken on, whatever crop an embedder wants: figures do not depend on the embedder."""

REFERENCE_POINTS = ARCFACE_POINTS
"""Five points on the reference crop (Deng et al. 2019, as the field uses them)."""

REFERENCE_FACE_PX = 84.0
"""Shorter side of a detector's box around the face on the reference crop, in pixels of that crop."""

SPECTRUM_PX = 72
"""Side of the square in the middle of the face whose spectrum is taken."""

SPECTRUM_TOP, SPECTRUM_LEFT = 36, 20

DETAIL_ROLL_OFF, ACUITY_ROLL_OFF = 0.98, 0.9
"""Shares of the gradient energy below the frequency called the end of detail. The first tells enlarged faces from others best; the
second motion, whose side lobes reach further up (on LFW, ROC areas of 0.9997 and 0.998)."""

DETAIL_OVERSHOOT = 1.38
"""How far the first of them lies beyond half the pixels there were: enlarging rings. Set so that the median of LFW faces reduced to
24 pixels and enlarged back is 24 (``benchmarks/quality_damage.py``)."""

N_RINGS = SPECTRUM_PX // 2
"""Frequencies told apart, in periods over that square."""

N_SECTORS = 8
"""Directions in which detail is looked for: motion blurs one and leaves the one across it."""

FLAT_ENERGY = 1.0
"""Gradient energy of a sector below which a face is a plain surface: rounding leaves less, the faintest grain more."""

SHAPE_SIGMA_PX = 2.0
"""Blur of the crop before parts of a face are looked for: eyes and mouth stay, grain and small print go."""

PART_PX = 18
"""Side of the square around a point of the face in which its contrast is taken."""

DARK_LEVEL, BRIGHT_LEVEL = 25, 250
"""Grey levels of 255 at or beyond which a pixel shows no more of a face."""


def measure_quality(crop: FaceCrop, alignment: Alignment) -> Quality:
    """Return how usable a face is, with the figures that say why.

    Args:
        crop: The aligned face.
        alignment: How it was aligned.

    Returns:
        All measures; see ``Quality`` for their meaning and ranges.
    """
    grey = reference_grey(crop, alignment)
    detection = crop.detection
    yaw, pitch, roll = pose(detection)
    middle = grey[_face_mask()]
    fineness, acuity = detail(grey)
    side = min(detection.width, detection.height)
    return Quality(
        face_px=side,
        detail_px=min(side, fineness),
        acuity=acuity,
        sharpness=sharpness(grey),
        yaw=yaw,
        pitch=pitch,
        roll=roll,
        brightness=float(middle.mean()) / 255.0,
        dark_share=float((middle <= DARK_LEVEL).mean()),
        bright_share=float((middle >= BRIGHT_LEVEL).mean()),
        visible=visible(grey),
        detection_score=detection.score,
    )


def reference_grey(crop: FaceCrop, alignment: Alignment) -> Grey:
    """Return a crop's luma on the reference square, float32 ``(112, 112)`` in [0, 255]."""
    grey = cv2.cvtColor(crop.pixels, cv2.COLOR_RGB2GRAY)
    points = alignment.points if crop.points is None else crop.points
    if points is None:
        raise InputError(f"a crop of alignment {alignment.name} does not say where its landmarks lie")
    if alignment.crop_px != REFERENCE_PX or not np.allclose(points, REFERENCE_POINTS, atol=0.01):
        matrix = similarity_transform(points, np.array(REFERENCE_POINTS))
        grey = cv2.warpAffine(grey, matrix, (REFERENCE_PX, REFERENCE_PX), flags=cv2.INTER_AREA)
    return np.asarray(grey, dtype=np.float32)


def pose(detection: Detection) -> tuple[float, float, float]:
    """Return stand-ins for yaw and pitch, and the roll, from the five points alone.

    Returns:
        Yaw: how far the nose lies from the middle of the eyes, along their line, as a share of half their distance; 0 from the
        front, about ±1 where the nose is below an eye, positive towards the image's right. Pitch: how far down from the eyes to
        the mouth the nose lies, less a half; positive where the face looks down. Roll: turn of the line of the eyes in degrees, 0
        upright, positive clockwise.
    """
    points = detection.landmarks.astype(np.float64)
    eyes, mouth = (points[0] + points[1]) / 2, (points[3] + points[4]) / 2
    across = points[1] - points[0]
    apart = math.hypot(*across)
    down = mouth - eyes
    length = math.hypot(*down)
    if apart == 0.0 or length == 0.0:
        return 2.0, 0.0, 0.0
    nose = points[2] - eyes
    yaw = float(nose @ across) / apart / (apart / 2)
    pitch = float(nose @ down) / length / length - 0.5
    roll = math.degrees(math.atan2(across[1], across[0]))
    return max(-2.0, min(2.0, yaw)), max(-2.0, min(2.0, pitch)), roll


def sharpness(grey: Grey) -> float:
    """Return the energy of the Laplacian over the variance of a face: contrast and brightness drop out (Pech-Pacheco 2000)."""
    window = grey[SPECTRUM_TOP : SPECTRUM_TOP + SPECTRUM_PX, SPECTRUM_LEFT : SPECTRUM_LEFT + SPECTRUM_PX]
    variance = float(window.var())
    if variance < 1.0:
        return 0.0
    return float(cv2.Laplacian(window, cv2.CV_32F).var()) / variance


def detail(grey: Grey) -> tuple[float, float]:
    """Return how fine the detail of a face is, from the spectrum of its gradient.

    Returns:
        ``detail_px``: how many pixels wide a face needs to be to hold ``DETAIL_ROLL_OFF`` of the gradient energy seen here; two
        pixels hold one period (Nyquist). A face enlarged from 24 pixels keeps about 24, whatever its size. ``acuity``: periods
        across a face that hold ``ACUITY_ROLL_OFF`` of the energy in the direction that has fewest: motion lowers it there.
    """
    window = grey[SPECTRUM_TOP : SPECTRUM_TOP + SPECTRUM_PX, SPECTRUM_LEFT : SPECTRUM_LEFT + SPECTRUM_PX]
    taper, bins, squared = _spectrum_plan()
    parts = cv2.dft((window - window.mean()) * taper, flags=cv2.DFT_COMPLEX_OUTPUT)
    energy = (parts[..., 0] ** 2 + parts[..., 1] ** 2) * squared
    rings = np.bincount(bins, weights=energy.ravel(), minlength=N_SECTORS * N_RINGS + 1)[1:].reshape(N_SECTORS, N_RINGS)
    reached = np.cumsum(rings, axis=1)
    # A constant window leaves only rounding behind, which has no detail to speak of.
    if float(reached[:, -1].min()) <= FLAT_ENERGY:
        return 0.0, 0.0
    periods = np.arange(1, N_RINGS + 1)
    whole = reached.sum(axis=0)
    across = REFERENCE_FACE_PX / SPECTRUM_PX
    end = float(np.interp(DETAIL_ROLL_OFF, whole / whole[-1], periods))
    acuity = min(float(np.interp(ACUITY_ROLL_OFF, sector / sector[-1], periods)) for sector in reached)
    return 2.0 * end * across / DETAIL_OVERSHOOT, acuity * across


def visible(grey: Grey) -> float:
    """Return the contrast of the least visible part of a face (an eye, the mouth) beside that of the face; 0 where it is hidden."""
    shape = cv2.GaussianBlur(grey, (0, 0), SHAPE_SIGMA_PX)
    whole = float(shape[_face_mask()].std())
    if whole < 1.0:
        return 0.0
    half = PART_PX // 2
    contrasts = []
    for x, y in (REFERENCE_POINTS[0], REFERENCE_POINTS[1], REFERENCE_POINTS[3], REFERENCE_POINTS[4]):
        part = shape[round(y) - half : round(y) + half, round(x) - half : round(x) + half]
        contrasts.append(float(part.std()))
    return min(contrasts) / whole


@cache
def _face_mask() -> NDArray[np.bool_]:
    """Return the oval of a face on the reference square."""
    rows, columns = np.mgrid[:REFERENCE_PX, :REFERENCE_PX]
    mask = np.asarray(((columns - 56.0) / 32.0) ** 2 + ((rows - 70.0) / 40.0) ** 2 <= 1.0, dtype=np.bool_)
    mask.setflags(write=False)
    return mask


@cache
def _spectrum_plan() -> tuple[Grey, NDArray[np.intp], Grey]:
    """Return the window function, each frequency's bin (0: counted nowhere) and its squared distance from 0.

    Bins run over the rings of one sector, then the next; opposite directions are one, since a real picture's spectrum is symmetric.
    """
    across = np.fft.fftfreq(SPECTRUM_PX, 1.0 / SPECTRUM_PX)
    v, u = np.meshgrid(across, across, indexing="ij")
    distance = np.hypot(u, v)
    ring = np.rint(distance).astype(np.intp)
    sector = np.rint(np.arctan2(v, u) / (math.pi / N_SECTORS)).astype(np.intp) % N_SECTORS
    bins = np.where((ring >= 1) & (ring <= N_RINGS), sector * N_RINGS + ring, 0).ravel()
    hann = np.hanning(SPECTRUM_PX)
    return np.outer(hann, hann).astype(np.float32), bins, (distance**2).astype(np.float32)
