"""Pictures of every colour mode as RGB uint8.

It applies no colour profile, and it never guesses the range of numbers that carry none (floats, 32-bit integers): those are
refused. Transparency is laid over white, as viewers show it; what an invisible pixel holds is often black, a false border.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image as PilImage

from facesearch.core.arrays import Pixels
from facesearch.core.errors import ImageDecodeError

_STRIP_BYTES = 1 << 20
"""Pixels are handed from Pillow to NumPy in strips of about this size, which stay in the processor's cache: measured four times as
fast as ``np.asarray`` of a 12-megapixel picture, and no second copy of the whole picture is held."""

_SIXTEEN_BIT_MODES = frozenset({"I;16", "I;16L", "I;16B", "I;16N"})
_SIXTEEN_BIT_AS_I = frozenset({"PNG", "PPM"})
"""Formats whose 16-bit grey Pillow may hand out as 32-bit integers of the range 0–65535."""


def rgb_from_picture(picture: PilImage.Image) -> Pixels:
    """Return a Pillow picture's current frame as RGB.

    16-bit values are scaled (65535 becomes 255), never cut off.

    Args:
        picture: Any mode but floats and 32-bit integers; it is not changed.

    Returns:
        uint8 ``(H, W, 3)``, newly made.

    Raises:
        ImageDecodeError: Pixels of a mode whose range is unknown.
    """
    width, height = picture.size
    if picture.mode == "F" or (picture.mode == "I" and picture.format not in _SIXTEEN_BIT_AS_I):
        kind = "floating-point" if picture.mode == "F" else "32-bit integer"
        raise ImageDecodeError(f"its pixels are {kind} numbers of unknown range; scale them to 8 or 16 bits", mode=picture.mode)
    pixels = np.empty((height, width, 3), dtype=np.uint8)
    rows = max(1, _STRIP_BYTES // max(1, 3 * width))
    for top in range(0, height, rows):
        bottom = min(height, top + rows)
        pixels[top:bottom] = _rgb_strip(picture.crop((0, top, width, bottom)))
    return pixels


def _rgb_strip(strip: PilImage.Image) -> NDArray[np.uint8]:
    """Return a strip as ``(h, W, 3)`` or, where it is grey, as ``(h, W, 1)``."""
    if strip.mode in _SIXTEEN_BIT_MODES or strip.mode == "I":
        wide = np.asarray(strip).astype(np.uint32)
        return ((wide * 255 + 32767) // 65535).astype(np.uint8)[:, :, np.newaxis]
    if strip.has_transparency_data:
        if strip.mode == "La":
            strip = strip.convert("LA")
        return over_white(np.asarray(strip.convert("RGBA")))
    if strip.mode in ("1", "L"):
        return np.asarray(strip.convert("L"))[:, :, np.newaxis]
    return np.asarray(strip.convert("RGB"))


def over_white(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return RGBA pixels ``(H, W, 4)`` (straight alpha) laid over a white ground, ``(H, W, 3)``."""
    alpha = rgba[:, :, 3:].astype(np.uint16)
    blended = (rgba[:, :, :3] * alpha + 255 * (255 - alpha) + 127) // 255
    return blended.astype(np.uint8)


def rgb_from_array(array: NDArray[Any]) -> Pixels:
    """Return an array of pixels as RGB.

    Args:
        array: uint8, RGB ``(H, W, 3)``, RGBA ``(H, W, 4)`` or grey ``(H, W)`` or ``(H, W, 1)``.

    Returns:
        uint8 ``(H, W, 3)``, a copy: the caller may go on writing to the array.

    Raises:
        ImageDecodeError: Another shape or type; floats are refused, since their range is a guess.
    """
    channels = 1 if array.ndim == 2 else array.shape[2] if array.ndim == 3 else 0
    if array.dtype != np.uint8 or channels not in (1, 3, 4) or 0 in array.shape:
        raise ImageDecodeError(
            "an array must be uint8 RGB of shape (height, width, 3), RGBA (height, width, 4) or grey (height, width), "
            f"not {array.dtype} {array.shape}{_array_hint(array)}",
            shape=array.shape,
            dtype=str(array.dtype),
        )
    if channels == 4:
        return over_white(array)
    grey_or_rgb = array[:, :, np.newaxis] if array.ndim == 2 else array
    return np.array(np.broadcast_to(grey_or_rgb, (*grey_or_rgb.shape[:2], 3)), order="C")


def _array_hint(array: NDArray[Any]) -> str:
    if 0 in array.shape:
        return ": it holds no pixels"
    if array.dtype.kind == "f":
        finite = bool(np.isfinite(array).all())
        return ": scale floats to 0–255 and round them" if finite else ": it holds NaN or infinity"
    if array.ndim == 3 and array.shape[0] == 3:
        return ": move the channels last"
    return ""
