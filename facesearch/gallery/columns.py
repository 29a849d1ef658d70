"""The vectors of a table in rows: float32 as they are, a byte a number, or bytes with bits before them.

A column knows no template ids, identities or locks. What is held in less space is scored as it is held, not as it was given.
"""

from __future__ import annotations

import mmap
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.compact import Codes, TemplateFormat, Words, bit_differences, quantised, restored, sign_words
from facesearch.gallery.byte_scan import byte_scores
from facesearch.gallery.huge_pages import LEAST_BYTES

Rows = NDArray[np.int64]

MAPPED_FROM_BYTES = 2**18
"""Columns of this size and more get memory of their own from the system, see ``zeros``."""

MIN_CANDIDATES = 512
CANDIDATE_SHARE = 25
"""Rows that bits choose to be scored: so many, and one in so many of the gallery. See docs/compression.md for what is missed."""


class VectorColumn(Protocol):
    """Vectors by row."""

    @property
    def dim(self) -> int:
        """Length of a vector."""
        ...

    def __len__(self) -> int:
        """Return the number of rows there is room for."""
        ...

    def stored(self, n_rows: int) -> NDArray[Any]:
        """Return what is written to a snapshot of the first rows; a view."""
        ...

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors of some rows, unit norm; zeros where a row holds none."""
        ...

    def put(self, rows: Rows, vectors: Vectors) -> None:
        """Replace the vectors of some rows."""
        ...

    def clear(self, rows: Rows) -> None:
        """Overwrite the vectors of some rows with zeros, and everything made of them."""
        ...

    def holds(self, rows: Rows, vectors: Vectors) -> NDArray[np.bool_]:
        """Return of each row whether it holds this vector, as far as the column tells vectors apart."""
        ...

    def scores(self, probes: Vectors, rows: Rows | None, n_rows: int) -> NDArray[np.float32]:
        """Return the scores of some rows, or of the first ``n_rows``: float32 ``(len(probes), N)``, a new array."""
        ...

    def candidates(self, probe: Vectors, n_rows: int, n: int) -> Rows | None:
        """Return at least so many of the first ``n_rows`` that may be a probe's nearest; None where all have to be scored."""
        ...

    def resize(self, n_rows: int) -> None:
        """Make room for so many rows, new ones zero."""
        ...

    def kept(self, rows: Rows) -> VectorColumn:
        """Return a column of some rows."""
        ...


class FloatColumn:
    """Vectors as they are: four bytes a number.

    Args:
        vectors: float32 ``(N, dim)``, taken over without a copy.
    """

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = vectors

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._vectors.shape[1])

    def __len__(self) -> int:
        """Return the number of rows there is room for."""
        return len(self._vectors)

    def stored(self, n_rows: int) -> Vectors:
        """Return the vectors of the first rows; a view."""
        return self._vectors[:n_rows]

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors of some rows."""
        taken: Vectors = self._vectors.take(rows, axis=0)
        return taken

    def put(self, rows: Rows, vectors: Vectors) -> None:
        """Replace the vectors of some rows."""
        self._vectors[rows] = vectors

    def clear(self, rows: Rows) -> None:
        """Overwrite the vectors of some rows with zeros."""
        self._vectors[rows] = 0.0

    def holds(self, rows: Rows, vectors: Vectors) -> NDArray[np.bool_]:
        """Return of each row whether it holds this vector."""
        same: NDArray[np.bool_] = (self._vectors[rows] == vectors).all(axis=1)
        return same

    def scores(self, probes: Vectors, rows: Rows | None, n_rows: int) -> NDArray[np.float32]:
        """Return the scores of some rows, or of the first ones, by one product."""
        vectors = self._vectors[:n_rows] if rows is None else self._vectors[rows]
        scores: NDArray[np.float32] = probes @ vectors.T if len(probes) > 1 else (vectors @ probes[0])[None]
        return scores

    def candidates(self, probe: Vectors, n_rows: int, n: int) -> Rows | None:
        """Return None: all rows are scored."""
        return None

    def resize(self, n_rows: int) -> None:
        """Make room for so many rows."""
        grown = zeros((n_rows, self.dim), np.float32)
        grown[: len(self._vectors)] = self._vectors
        self._vectors = grown

    def kept(self, rows: Rows) -> FloatColumn:
        """Return a column of some rows."""
        return FloatColumn(self._vectors[rows])


class ByteColumn:
    """A byte a number: see ``quantised``.

    Args:
        codes: int8 ``(N, dim)``, taken over without a copy.
    """

    def __init__(self, codes: Codes) -> None:
        self._codes = codes

    @property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._codes.shape[1])

    def __len__(self) -> int:
        """Return the number of rows there is room for."""
        return len(self._codes)

    def stored(self, n_rows: int) -> Codes:
        """Return the bytes of the first rows; a view."""
        return self._codes[:n_rows]

    def take(self, rows: Rows) -> Vectors:
        """Return the vectors of some rows."""
        return restored(self._codes.take(rows, axis=0))

    def put(self, rows: Rows, vectors: Vectors) -> None:
        """Replace the vectors of some rows."""
        self._codes[rows] = quantised(vectors)

    def clear(self, rows: Rows) -> None:
        """Overwrite the bytes of some rows with zeros."""
        self._codes[rows] = 0

    def holds(self, rows: Rows, vectors: Vectors) -> NDArray[np.bool_]:
        """Return of each row whether it holds this vector's bytes."""
        same: NDArray[np.bool_] = (self._codes[rows] == quantised(vectors)).all(axis=1)
        return same

    def scores(self, probes: Vectors, rows: Rows | None, n_rows: int) -> NDArray[np.float32]:
        """Return the scores of some rows, or of the first ones."""
        return byte_scores(probes, self._codes[:n_rows] if rows is None else self._codes.take(rows, axis=0))

    def candidates(self, probe: Vectors, n_rows: int, n: int) -> Rows | None:
        """Return None: all rows are scored."""
        return None

    def resize(self, n_rows: int) -> None:
        """Make room for so many rows."""
        grown = zeros((n_rows, self.dim), np.int8)
        grown[: len(self._codes)] = self._codes
        self._codes = grown

    def kept(self, rows: Rows) -> ByteColumn:
        """Return a column of some rows."""
        return type(self)(self._codes[rows])


class BitColumn(ByteColumn):
    """Bytes, and a bit a number that chooses which of them are scored.

    Args:
        codes: int8 ``(N, dim)``, taken over without a copy.
    """

    def __init__(self, codes: Codes) -> None:
        super().__init__(codes)
        self._words: Words = sign_words(codes)

    def put(self, rows: Rows, vectors: Vectors) -> None:
        """Replace the vectors of some rows."""
        super().put(rows, vectors)
        self._words[rows] = sign_words(self._codes[rows])

    def clear(self, rows: Rows) -> None:
        """Overwrite bytes and bits of some rows with zeros."""
        super().clear(rows)
        self._words[rows] = 0

    def candidates(self, probe: Vectors, n_rows: int, n: int) -> Rows | None:
        """Return the rows whose bits differ least from the probe's, with all that differ as much as the last of them.

        Rows that hold nothing may be among them.
        """
        if n * 2 >= n_rows:
            return None
        differences = bit_differences(self._words[:n_rows], sign_words(np.asarray(probe)[None])[0])
        reached = np.cumsum(np.bincount(differences, minlength=self.dim + 1))
        return np.flatnonzero(differences <= int(np.searchsorted(reached, n)))

    def resize(self, n_rows: int) -> None:
        """Make room for so many rows."""
        super().resize(n_rows)
        grown = zeros((n_rows, self._words.shape[1]), np.uint64)
        grown[: len(self._words)] = self._words
        self._words = grown


def empty_column(dim: int, template_format: TemplateFormat) -> VectorColumn:
    """Return a column without rows."""
    if template_format == "f32":
        return FloatColumn(np.zeros((0, dim), dtype=np.float32))
    return column_of(np.zeros((0, dim), dtype=np.int8), template_format)


def column_of(stored: NDArray[Any], template_format: TemplateFormat) -> VectorColumn:
    """Return a column over an array as ``VectorColumn.stored`` gives it, taken over without a copy."""
    if template_format == "f32":
        return FloatColumn(stored)
    return BitColumn(stored) if template_format == "binary" else ByteColumn(stored)


def n_candidates(n_rows: int, k: int) -> int:
    """Return how many rows bits have to choose for ``k`` people in a gallery of this size."""
    return max(MIN_CANDIDATES, n_rows // CANDIDATE_SHARE, 64 * k)


def zeros(shape: tuple[int, int], dtype: type[np.generic]) -> NDArray[Any]:
    """Return zeros, many of them in pages straight from the system.

    A column that grows beside photographs being decoded would otherwise leave its former, smaller self as a hole in the C library's
    heap each time. These pages go back at once, and those that nothing was written to take no memory.
    """
    n_bytes = np.dtype(dtype).itemsize * shape[0] * shape[1]
    if n_bytes < MAPPED_FROM_BYTES:
        return np.zeros(shape, dtype=dtype)
    pages = mmap.mmap(-1, n_bytes)
    if n_bytes >= LEAST_BYTES and hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # advice only: some systems know none
            pages.madvise(mmap.MADV_HUGEPAGE)
    return np.frombuffer(pages, dtype=dtype).reshape(shape)
