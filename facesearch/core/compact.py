"""Templates in less space: a byte a number, and a bit a number.

Bytes are a way to store and to score, bits one to choose what is scored. Neither is a template: bytes come back as unit vectors.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.errors import TemplateFormatError

TemplateFormat = Literal["f32", "int8", "binary"]
"""How a gallery holds templates: as they are, as bytes, or as bits that choose the bytes to be scored."""

LARGEST = 127
"""Code of a vector's largest number: codes are −127 … 127."""

BITS_A_WORD = 64

Codes = NDArray[np.int8]
Words = NDArray[np.uint64]


def quantised(vectors: NDArray[np.floating]) -> Codes:
    """Return vectors as bytes, each vector by a scale of its own: its largest number becomes ±127 (scalar quantisation).

    The scale is not kept: scores are cosines, so that the direction of the bytes is all there is to know. Of 128 numbers the
    direction is off by about 0.006 radians. Bytes that are made vectors and bytes again stay the same.

    Args:
        vectors: Finite floats ``(N, D)``; a row of zeros stays one.
    """
    wide = np.asarray(vectors, dtype=np.float32)
    largest = np.abs(wide).max(axis=1, keepdims=True, initial=0.0)
    largest[largest == 0] = 1.0
    scaled = wide * (np.float32(LARGEST) / largest)
    codes: Codes = np.rint(scaled).astype(np.int8)
    return codes


def restored(codes: Codes) -> Vectors:
    """Return bytes as vectors of unit norm, float32 ``(N, D)``; a row of zeros stays one."""
    wide = codes.astype(np.float32)
    # Sums of squares of bytes are whole numbers below 2²⁴ up to 1,040 of them: exact, and a hair off beyond.
    norms = np.sqrt(np.einsum("ij,ij->i", wide, wide))[:, None]
    norms[norms == 0] = 1.0
    vectors: Vectors = wide / norms
    return vectors


def checked_codes(codes: Codes, *, what: str) -> Codes:
    """Return bytes after checking that they could come from ``quantised``.

    Raises:
        TemplateFormatError: A row has no number of ±127, or a −128.
    """
    largest = np.abs(codes.astype(np.int16)).max(axis=1, initial=0)
    bad = np.flatnonzero(largest != LARGEST)
    if bad.size:
        raise TemplateFormatError(f"{what} {int(bad[0])} has {int(largest[bad[0]])} for its largest byte, {LARGEST} is expected")
    return codes


def sign_words(values: NDArray[np.floating] | Codes) -> Words:
    """Return a bit a number, whether it is above zero, in words of 64: uint64 ``(N, ⌈D / 64⌉)``; bits beyond ``D`` are zero.

    Of random hyperplanes, the share of bits in which two vectors differ is their angle divided by π (Charikar 2002); the axes of
    learnt embeddings come close enough to choose candidates by.

    Args:
        values: Numbers ``(N, D)``.
    """
    n_words = -(-values.shape[1] // BITS_A_WORD)
    bits = np.zeros((len(values), n_words * BITS_A_WORD), dtype=np.bool_)
    bits[:, : values.shape[1]] = values > 0
    words: Words = np.packbits(bits, axis=1, bitorder="little").view(np.uint64)
    return words


def bit_differences(words: Words, probe: Words) -> NDArray[np.uint16]:
    """Return in how many bits each row differs from a probe: uint16 ``(N,)``.

    Args:
        words: uint64 ``(N, W)``.
        probe: uint64 ``(W,)``.
    """
    different = np.bitwise_xor(words, probe)
    counts = np.bitwise_count(different) if hasattr(np, "bitwise_count") else _counted(different)
    total: NDArray[np.uint16] = counts[:, 0].astype(np.uint16)
    for word in range(1, words.shape[1]):  # a few words: quicker than a sum along the shorter axis
        total += counts[:, word]
    return total


def _counted(words: Words) -> NDArray[np.uint8]:
    """Return the bits set in each word, for NumPy below 2.0."""
    halves = np.unpackbits(np.ascontiguousarray(words).view(np.uint8), axis=1).reshape(len(words), words.shape[1], BITS_A_WORD)
    counts: NDArray[np.uint8] = halves.sum(axis=2, dtype=np.uint8)
    return counts
