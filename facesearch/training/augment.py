"""Crops changed as photographs differ: shifted, turned, flipped, coloured, blurred, of low resolution, partly covered.

What is done to a crop depends on the seed and the number of the draw alone, not on its batch, process or thread. It keeps the size
and draws nothing that an aligned face does not show: no large turns, no crops of other places.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.core.errors import InputError

Strength = Literal["none", "light", "standard", "strong"]


@dataclass(frozen=True, slots=True)
class Augmentation:
    """How far crops are changed; sizes are of a crop of any side, chances in [0, 1].

    Attributes:
        flip: Chance of the mirror image.
        shift: Largest shift each way, as a share of the side.
        turn_deg: Largest turn each way, in degrees.
        zoom: Largest change of size each way, as a share.
        brightness: Largest change of brightness each way, as a share of 255.
        contrast: Largest change of contrast each way, as a share.
        tint: Largest change of a channel's gain each way, as a share.
        grey: Chance of a picture without colour.
        blur: Chance of a Gaussian blur.
        blur_sigma: Its largest standard deviation, as a share of the side.
        low_resolution: Chance of being made smaller and large again.
        low_px: Smallest side it is made, as a share of the side.
        occlusion: Chance of a covered rectangle.
        occlusion_side: Its largest side, as a share of the side.
    """

    flip: float = 0.0
    shift: float = 0.0
    turn_deg: float = 0.0
    zoom: float = 0.0
    brightness: float = 0.0
    contrast: float = 0.0
    tint: float = 0.0
    grey: float = 0.0
    blur: float = 0.0
    blur_sigma: float = 0.015
    low_resolution: float = 0.0
    low_px: float = 0.25
    occlusion: float = 0.0
    occlusion_side: float = 0.4

    def __post_init__(self) -> None:
        """Check the ranges."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            most = 45.0 if field.name == "turn_deg" else 1.0
            if not 0.0 <= value <= most:
                raise InputError(f"{field.name} of an augmentation lies in [0, {most:g}], not {value}", field=field.name)


STRENGTHS: dict[Strength, Augmentation] = {
    "none": Augmentation(),
    "light": Augmentation(flip=0.5, shift=0.018, turn_deg=2, zoom=0.02, brightness=0.08, contrast=0.1, tint=0.05),
    "standard": Augmentation(
        flip=0.5,
        shift=0.03,
        turn_deg=5,
        zoom=0.05,
        brightness=0.15,
        contrast=0.2,
        tint=0.08,
        grey=0.05,
        blur=0.1,
        low_resolution=0.1,
        low_px=0.35,
        occlusion=0.1,
    ),
    "strong": Augmentation(
        flip=0.5,
        shift=0.05,
        turn_deg=10,
        zoom=0.1,
        brightness=0.25,
        contrast=0.3,
        tint=0.15,
        grey=0.1,
        blur=0.2,
        low_resolution=0.25,
        occlusion=0.25,
        occlusion_side=0.5,
    ),
}
"""Ready-made ones: ``light`` for fine-tuning a good network, ``standard`` for training, ``strong`` for few people."""

_NUMBERS = (
    "flip", "shift_x", "shift_y", "turn", "zoom", "brightness", "contrast", "red", "green", "blue", "grey", "blur", "blur_sigma",
    "low", "low_px", "occlusion", "cover_w", "cover_h", "cover_x", "cover_y", "cover_value",
)  # fmt: skip
"""One random number each, in this order: a new one goes to the end, or old runs would draw others."""

_GOLDEN = 0x9E3779B97F4A7C15


def uniform_numbers(seed: int, draws: NDArray[np.int64], n: int) -> NDArray[np.float64]:
    """Return ``(len(draws), n)`` numbers in [0, 1), a function of seed, draw and column alone.

    A counter through SplitMix64's finaliser (Steele, Lea & Flood 2014): a batch at once, where a generator for each draw would take
    longer than the augmentation.
    """
    with np.errstate(over="ignore"):
        start = _mixed(np.uint64(seed & 0xFFFFFFFFFFFFFFFF) + np.uint64(_GOLDEN))
        state = _mixed(start ^ _mixed(np.asarray(draws).astype(np.uint64) + np.uint64(_GOLDEN)))
        columns = np.arange(1, n + 1, dtype=np.uint64) * np.uint64(_GOLDEN)
        mixed = _mixed(state[:, None] + columns[None, :])
    return (mixed >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mixed(values: NDArray[np.uint64] | np.uint64) -> NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(values ^ (values >> np.uint64(31)), dtype=np.uint64)


def augmented(crops: Pixels, draws: NDArray[np.int64], how: Augmentation, seed: int = 0) -> Pixels:
    """Return crops changed at random.

    Args:
        crops: uint8 RGB ``(B, S, S, 3)``; they stay as they are.
        draws: Number of each draw, ``(B,)``: the same crop drawn twice is changed in two ways.
        how: How far.
        seed: Of the run.

    Returns:
        uint8 RGB ``(B, S, S, 3)``; a copy of the crops where ``how`` is nothing.
    """
    if how == STRENGTHS["none"]:
        return crops.copy()
    drawn = dict(zip(_NUMBERS, uniform_numbers(seed, draws, len(_NUMBERS)).T, strict=True))
    side = crops.shape[1]
    matrices, tables = _matrices(drawn, how, side), _tables(drawn, how)
    changed = np.empty_like(crops)
    for row, crop in enumerate(crops):
        one = {name: float(values[row]) for name, values in drawn.items()}
        # Beyond the edge the edge goes on: black corners would tell how a crop was turned.
        moved = cv2.warpAffine(crop, matrices[row], (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        if one["grey"] < how.grey:
            moved = cv2.cvtColor(cv2.cvtColor(moved, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        changed[row] = _blurred(cv2.LUT(moved, tables[row]), one, how)
        _cover(changed[row], one, how)
    return changed


def _matrices(drawn: dict[str, NDArray[np.float64]], how: Augmentation, side: int) -> NDArray[np.float64]:
    """Return ``(B, 2, 3)``: turn and change of size about the middle, flip, shift."""
    angle = np.radians(how.turn_deg * (2 * drawn["turn"] - 1))
    size = 1.0 + how.zoom * (2 * drawn["zoom"] - 1)
    mirror = np.where(drawn["flip"] < how.flip, -1.0, 1.0)
    cos, sin = size * np.cos(angle), size * np.sin(angle)
    middle = (side - 1) / 2.0
    shift_x, shift_y = (how.shift * side * (2 * drawn[name] - 1) for name in ("shift_x", "shift_y"))
    linear = np.stack([np.stack([mirror * cos, -sin], axis=1), np.stack([mirror * sin, cos], axis=1)], axis=1)
    offset = np.stack([shift_x, shift_y], axis=1) + middle - linear.sum(axis=2) * middle
    return np.concatenate([linear, offset[:, :, None]], axis=2)


def _tables(drawn: dict[str, NDArray[np.float64]], how: Augmentation) -> NDArray[np.uint8]:
    """Return ``(B, 1, 256, 3)``: what each value of each channel becomes by brightness, contrast and tint."""
    gain = 1.0 + how.contrast * (2 * drawn["contrast"] - 1)
    tint = np.stack([1.0 + how.tint * (2 * drawn[name] - 1) for name in ("red", "green", "blue")], axis=1)
    offset = 255.0 * how.brightness * (2 * drawn["brightness"] - 1)
    values = np.arange(256, dtype=np.float64)[None, :, None]
    changed = ((values - 127.5) * gain[:, None, None] + 127.5 + offset[:, None, None]) * tint[:, None, :]
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)[:, None]


def _blurred(crop: Pixels, one: dict[str, float], how: Augmentation) -> Pixels:
    """Return a crop blurred, or made small and large again, where it was drawn so."""
    side = crop.shape[0]
    changed: Any = crop
    if one["blur"] < how.blur:
        changed = cv2.GaussianBlur(changed, (0, 0), max(0.3, one["blur_sigma"] * how.blur_sigma * side))
    if one["low"] < how.low_resolution:
        small = max(4, round(side * (how.low_px + (1.0 - how.low_px) * one["low_px"])))
        changed = cv2.resize(cv2.resize(changed, (small, small), interpolation=cv2.INTER_AREA), (side, side))
    found: Pixels = changed
    return found


def _cover(crop: Pixels, one: dict[str, float], how: Augmentation) -> None:
    """Cover a rectangle with one shade of grey, in place, where it was drawn so (random erasing, Zhong et al. 2020)."""
    if one["occlusion"] >= how.occlusion:
        return
    side = crop.shape[0]
    width, height = (max(1, round(side * how.occlusion_side * (0.25 + 0.75 * one[name]))) for name in ("cover_w", "cover_h"))
    left, top = (int(one[name] * (side - size + 1)) for name, size in (("cover_x", width), ("cover_y", height)))
    crop[top : top + height, left : left + width] = round(255 * one["cover_value"])
