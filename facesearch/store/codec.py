"""From core values to what a database column holds, and back.

It runs no statement. What comes back is checked as strictly as what goes in: a damaged row is an error, never a wrong match.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import UNIT_NORM_TOLERANCE, Vectors, checked_vector
from facesearch.core.compact import LARGEST, TemplateFormat, checked_codes, quantised, restored
from facesearch.core.errors import InputError, TemplateFormatError
from facesearch.core.face import Box, checked_box

STORED_FLOAT = np.dtype("<f4")
"""Vectors are stored as little-endian float32 whatever the machine, so that a database can be carried to another."""


BYTES_TAG = 0xB0
"""First byte of a vector stored as bytes, plus the number of zero bytes behind its numbers (0 … 3).

There are as many of these as make the whole one more than a multiple of four long: no vector of float32 has that length.
"""


def encode_vector(vector: NDArray[np.floating], template_format: TemplateFormat = "f32") -> bytes:
    """Return a vector's bytes: float32, little-endian, ``4 · dim`` of them; or a tag, a byte a number and up to three zeros.

    Args:
        vector: Finite, of unit norm.
        template_format: How it is kept; bits are made of bytes and not kept.

    Raises:
        TemplateFormatError: Not a finite vector of unit norm.
    """
    checked = checked_vector(vector)
    if template_format == "f32":
        return checked.astype(STORED_FLOAT, copy=False).tobytes()
    n_behind = -len(checked) % STORED_FLOAT.itemsize
    numbers: bytes = quantised(checked[None])[0].tobytes()
    return bytes([BYTES_TAG + n_behind]) + numbers + bytes(n_behind)


def _of_bytes(data: bytes, what: str, dim: int | None) -> Vectors | None:
    """Return the vector that was stored as bytes, of ``dim`` numbers where that is known; None for one of float32.

    Raises:
        TemplateFormatError: The tag, the zeros or the largest byte are not those of a vector.
    """
    if len(data) % STORED_FLOAT.itemsize != 1:
        return None
    n_behind = data[0] - BYTES_TAG
    end = len(data) - n_behind
    if not 0 <= n_behind < STORED_FLOAT.itemsize or end < 2 or any(data[end:]) or dim not in (None, end - 1):
        wanted = "no vector" if dim is None else f"no vector of {dim} numbers"
        raise TemplateFormatError(
            f"{what} has {len(data)} bytes, the first of them {data[0]:#x}: that is {wanted}, the database is damaged",
            n_bytes=len(data),
        )
    codes = checked_codes(np.frombuffer(data[1:end], dtype=np.int8)[None], what=f"{what}, row")
    found: Vectors = restored(codes)[0]
    return found


def decode_vector(data: bytes, *, what: str = "stored template", dim: int | None = None) -> Vectors:
    """Return the float32 vector of its bytes, shape ``(dim,)``.

    Args:
        data: What ``encode_vector`` made.
        what: Name used in messages.
        dim: The length it must have; None for any.

    Raises:
        TemplateFormatError: The number of bytes is wrong, or the values are not finite or not of unit norm.
    """
    held = _of_bytes(data, what, dim)
    if held is not None:
        return checked_vector(held)
    _check_length(len(data), dim, what)
    return checked_vector(np.frombuffer(data, dtype=STORED_FLOAT).astype(np.float32))


def decode_vectors(rows: Sequence[bytes], template_ids: Sequence[int], *, dim: int | None = None) -> Vectors:
    """Return many vectors at once, as ``decode_vector`` would return each; float32, shape ``(N, dim)``.

    Args:
        rows: The bytes of each vector.
        template_ids: Their ids, for messages.
        dim: The length all must have; None for that of the first.

    Raises:
        TemplateFormatError: A row cannot be read; names its template.
    """
    if not rows:
        return np.zeros((0, dim or 0), dtype=np.float32)
    if any(len(row) % STORED_FLOAT.itemsize == 1 for row in rows):
        return _decoded_bytes(rows, template_ids, dim)
    size = len(rows[0]) if dim is None else dim * STORED_FLOAT.itemsize
    _check_length(size, None, f"stored template {template_ids[0]}")
    for row, template_id in zip(rows, template_ids, strict=True):
        if len(row) != size:
            _check_length(len(row), size // STORED_FLOAT.itemsize, f"stored template {template_id}")
    vectors = np.frombuffer(b"".join(rows), dtype=STORED_FLOAT).reshape(len(rows), -1).astype(np.float32, copy=False)
    norms = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    # Negated so that NaN, which compares false with everything, is refused too.
    bad = np.flatnonzero(~(np.abs(norms - 1.0) <= UNIT_NORM_TOLERANCE))
    if bad.size:
        first = int(bad[0])
        raise TemplateFormatError(
            f"stored template {template_ids[first]} has norm {norms[first]:.6g}, a template has unit norm: the database is damaged",
            template_id=template_ids[first],
        )
    return vectors


def _decoded_bytes(rows: Sequence[bytes], template_ids: Sequence[int], dim: int | None) -> Vectors:
    """Return vectors of which some or all are stored as bytes: a gallery may hold both."""
    first = rows[0]
    size = (len(first) - 1 - (first[0] - BYTES_TAG) if len(first) % 4 == 1 else len(first) // 4) if dim is None else dim
    n_behind = -size % STORED_FLOAT.itemsize
    is_usual = [len(row) == 1 + size + n_behind and row[0] == BYTES_TAG + n_behind and not any(row[1 + size :]) for row in rows]
    vectors: Vectors = np.empty((len(rows), max(size, 0)), dtype=np.float32)
    usual = np.flatnonzero(is_usual)
    if usual.size:
        codes = np.frombuffer(b"".join(rows[place][1 : 1 + size] for place in usual.tolist()), dtype=np.int8).reshape(-1, size)
        largest = np.abs(codes.astype(np.int16)).max(axis=1)
        for place in usual[largest != LARGEST].tolist():
            decode_vector(rows[place], what=f"stored template {template_ids[place]}", dim=size)
        vectors[usual] = restored(codes)
    for place in (place for place, is_one in enumerate(is_usual) if not is_one):
        vectors[place] = decode_vector(rows[place], what=f"stored template {template_ids[place]}", dim=size)
    return vectors


def _check_length(n_bytes: int, dim: int | None, what: str) -> None:
    if n_bytes == 0 or n_bytes % STORED_FLOAT.itemsize or (dim is not None and n_bytes != dim * STORED_FLOAT.itemsize):
        wanted = "a positive multiple of 4" if dim is None else f"{dim * STORED_FLOAT.itemsize} ({dim}-d)"
        raise TemplateFormatError(f"{what} has {n_bytes} bytes, expected {wanted}: the database is damaged", n_bytes=n_bytes)


def encode_box(box: Box) -> list[float]:
    """Return a box as a JSON list ``[x1, y1, x2, y2]``.

    Raises:
        InputError: Not a box.
    """
    return list(checked_box(box))


def decode_box(stored: object) -> Box:
    """Return the box of a JSON list.

    Raises:
        TemplateFormatError: It is no box.
    """
    try:
        return checked_box(stored)
    except InputError as exc:
        raise TemplateFormatError(f"a stored box is damaged: {exc.message}") from exc


def encode_landmarks(points: Iterable[Iterable[float]]) -> list[list[float]]:
    """Return five points as a JSON list of ``[x, y]``; float32 and float64 values come back exactly.

    Raises:
        InputError: Not five finite points.
    """
    try:
        landmarks = [[float(value) for value in point] for point in points]
    except (TypeError, ValueError) as exc:
        raise InputError("landmarks are five points of two numbers") from exc
    if [len(point) for point in landmarks] != [2] * 5 or not all(math.isfinite(value) for point in landmarks for value in point):
        raise InputError("landmarks are five finite points of two numbers")
    return landmarks


def decode_landmarks(stored: object) -> tuple[tuple[float, float], ...]:
    """Return the five points of a JSON list.

    Raises:
        TemplateFormatError: They are not five finite points.
    """
    try:
        points = encode_landmarks(stored)  # type: ignore[arg-type]
    except InputError as exc:
        raise TemplateFormatError(f"stored landmarks are damaged: {exc.message}") from exc
    return tuple((x, y) for x, y in points)


def encode_quality(quality: Mapping[str, float]) -> dict[str, float]:
    """Return named figures as a JSON object.

    Raises:
        InputError: A figure is NaN or infinite, which JSON cannot hold.
    """
    figures = {str(name): float(value) for name, value in quality.items()}
    for name, value in figures.items():
        if not math.isfinite(value):
            raise InputError(f"quality figure {name!r} is {value}; only finite numbers can be stored", figure=name)
    return figures


def encode_moment(moment: datetime) -> datetime:
    """Return a moment in UTC.

    Raises:
        InputError: It has no time zone.
    """
    if moment.tzinfo is None:
        raise InputError(f"the time {moment.isoformat()} has no time zone; times of enrolment are UTC")
    return moment.astimezone(UTC)


def encode_source(source: str) -> str:
    """Return a file name that every database takes: undecodable bytes of the name and NUL become question marks."""
    return source.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
