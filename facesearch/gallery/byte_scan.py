"""Scores of vectors held as bytes: every one of them, compiled where the library was built, by NumPy in blocks elsewhere.

Making float32 of all bytes first would write and read five times as much memory as there is to be scored.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.compact import Codes
from facesearch.gallery.beam import load_library

BLOCK_NUMBERS = 2**19
"""Numbers that are float32 at a time: 2 MB, which stay in the processor's cache."""

COMPILED_PROBES = 8
"""Probes up to which the library scans for each of them; of more, one conversion is shared by a matrix product."""

Scores = NDArray[np.float32]


def byte_scores(probes: Vectors, codes: Codes) -> Scores:
    """Return the cosine of each probe with each vector of bytes: float32 ``(len(probes), N)``; 0 for a vector of zeros.

    Args:
        probes: Unit vectors ``(P, D)``.
        codes: Bytes ``(N, D)``, see ``core.compact.quantised``.
    """
    if len(probes) <= COMPILED_PROBES:
        found = compiled_scores(load_library(), probes, codes)
        if found is not None:
            return found
    return blockwise_scores(probes, codes)


def compiled_scores(
    library: ctypes.CDLL | None, probes: Vectors, codes: Codes, *, instructions: str | None = None
) -> Scores | None:
    """Return ``byte_scores`` by the compiled library; None where there is none, or nothing in it for this processor.

    Args:
        library: See ``beam.load_library``.
        probes: As for ``byte_scores``.
        codes: As for ``byte_scores``.
        instructions: ``"avx512"`` or ``"avx2"``; None for the best that the processor has.
    """
    if library is None:
        return None
    wanted, held = np.ascontiguousarray(probes, dtype=np.float32), np.ascontiguousarray(codes)
    named = None if instructions is None else instructions.encode()
    scores: Scores = np.empty((len(wanted), len(held)), dtype=np.float32)
    for probe, line in zip(wanted, scores, strict=True):
        done = library.facesearch_byte_cosines(held.ctypes.data, *held.shape, probe.ctypes.data, line.ctypes.data, named)
        if done != 0:
            return None
    return scores


def blockwise_scores(probes: Vectors, codes: Codes) -> Scores:
    """Return ``byte_scores`` by NumPy."""
    step = max(1, BLOCK_NUMBERS // max(1, codes.shape[1]))
    wide = np.empty((min(step, len(codes)), codes.shape[1]), dtype=np.float32)
    scores: Scores = np.empty((len(probes), len(codes)), dtype=np.float32)
    for start in range(0, len(codes), step):
        block = codes[start : start + step]
        values = wide[: len(block)]
        np.copyto(values, block)
        # Sums of squares of bytes are whole numbers below 2²⁴ up to 1,040 of them: exact, and a hair off beyond.
        norms = np.sqrt(np.einsum("ij,ij->i", values, values))
        norms[norms == 0] = 1.0
        products = (values @ probes[0])[None] if len(probes) == 1 else probes @ values.T
        np.divide(products, norms, out=scores[:, start : start + step])
    return scores
