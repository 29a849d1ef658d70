"""Checks of arrays, made once where a value is made.

It does not convert between conventions: an array that breaks the rule is refused, never repaired (unit norm excepted, and only by
the function that says so).
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import ImageDecodeError, TemplateFormatError

UNIT_NORM_TOLERANCE = 1e-3
"""Largest deviation of a template's L2 norm from 1 (float32 sums of some hundred squares stay far below it)."""

Pixels = NDArray[np.uint8]
Vectors = NDArray[np.float32]


def freeze(array: NDArray[Any]) -> NDArray[Any]:
    """Return a read-only array: the array itself where it is read-only already, else a copy, since the caller's stays writable.

    Who has just made an array and hands it on for good clears its write flag first and saves the copy.
    """
    if array.flags.writeable:
        array = array.copy()
        array.setflags(write=False)
    return array


def checked_pixels(pixels: object, *, what: str = "image") -> Pixels:
    """Return RGB pixels as a frozen array.

    Args:
        pixels: uint8 array of shape ``(H, W, 3)``, RGB, at least 1×1.
        what: Name used in the message.

    Raises:
        ImageDecodeError: Not such an array.
    """
    if not isinstance(pixels, np.ndarray):
        raise ImageDecodeError(f"{what} must be a NumPy array, not {type(pixels).__name__}")
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ImageDecodeError(
            f"{what} must be uint8 of shape (height, width, 3), not {pixels.dtype} {pixels.shape}",
            shape=pixels.shape,
            dtype=str(pixels.dtype),
        )
    if 0 in pixels.shape:
        raise ImageDecodeError(f"{what} has no pixels: shape {pixels.shape}", shape=pixels.shape)
    return freeze(np.ascontiguousarray(pixels))


def checked_vector(vector: object) -> Vectors:
    """Return an embedding as a frozen float32 array.

    Args:
        vector: Array of shape ``(D,)``, finite, of unit L2 norm within ``UNIT_NORM_TOLERANCE``.

    Raises:
        TemplateFormatError: Wrong shape or type, NaN or infinity, or not of unit norm.
    """
    if not isinstance(vector, np.ndarray) or vector.ndim != 1 or vector.size == 0 or vector.dtype.kind != "f":
        shape = getattr(vector, "shape", None)
        raise TemplateFormatError(f"a template is a float array of shape (dim,), not {type(vector).__name__} {shape}")
    if not np.isfinite(vector).all():
        raise TemplateFormatError("a template holds NaN or infinity")
    norm = float(np.linalg.norm(vector.astype(np.float64)))
    if abs(norm - 1.0) > UNIT_NORM_TOLERANCE:
        raise TemplateFormatError(f"a template has unit norm, this vector has norm {norm:.6g}", norm=norm)
    return freeze(np.ascontiguousarray(vector, dtype=np.float32))


def normalised(vectors: NDArray[Any]) -> Vectors:
    """Return vectors scaled to unit L2 norm along the last axis, computed in float64.

    Args:
        vectors: Finite floats of shape ``(..., D)``.

    Raises:
        TemplateFormatError: A vector is zero or not finite.
    """
    wide = np.asarray(vectors, dtype=np.float64)
    norms = np.linalg.norm(wide, axis=-1, keepdims=True)
    if not np.isfinite(norms).all() or bool((norms == 0).any()):
        raise TemplateFormatError("a vector is zero or not finite and has no direction")
    unit: Vectors = (wide / norms).astype(np.float32)
    return unit


def array_digest(array: NDArray[Any]) -> str:
    """Return the SHA-256 (hex) of an array's shape, dtype and bytes in C order."""
    sha = hashlib.sha256(f"{array.shape}|{array.dtype.str}|".encode())
    sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()
