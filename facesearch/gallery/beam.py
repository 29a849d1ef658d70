"""A compiled beam search for large graphs, over vectors of four bits a number.

hnswlib builds the graph; searched is a copy of the file that it saved (Malkov & Yashunin 2018, algorithm 5). A search of a
million templates waits for memory: with 64 bytes a vector instead of 512 the same beam takes about a fifth of hnswlib's time, so
that a beam wide enough to find nearly every person is affordable. The copy never changes: templates that came or moved after it are
named by ``HnswIndex``, which scans them exactly. Scores are approximate, and nobody sees them: rows are scored exactly afterwards.

The library is built from ``native/`` when the package is installed (``hatch_build.py``); without it hnswlib searches, with the same
answers and more slowly.
"""

from __future__ import annotations

import ctypes
import logging
import os
import weakref
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.errors import GalleryError

LIBRARY = Path(__file__).with_name("native") / "beam.so"
"""Where the installation puts the compiled library."""

_VERSION = 2
"""Of the library's functions."""

_WITHOUT = "large galleries are searched by hnswlib, and those of bytes by NumPy, several times slower"

_logger = logging.getLogger("facesearch")


@cache
def load_library(path: Path = LIBRARY) -> ctypes.CDLL | None:
    """Return the compiled library, or None where it is missing or does not load here; why is logged, once a path."""
    if not path.is_file():
        _logger.warning("the compiled search %s is missing: %s", path, _WITHOUT)
        return None
    try:
        library = ctypes.CDLL(str(path))
        _declare(library)
        version = library.facesearch_beam_version()
    except (OSError, AttributeError) as exc:
        _logger.warning("the compiled search does not load (%s): %s", exc, _WITHOUT)
        return None
    if version != _VERSION:
        _logger.warning(
            "the compiled search %s is of another release (%d, not %d): install facesearch again", path, version, _VERSION
        )
        return None
    return library


def _declare(library: ctypes.CDLL) -> None:
    pointer, number, wide, text = ctypes.c_void_p, ctypes.c_int32, ctypes.c_int64, ctypes.c_char_p
    library.facesearch_beam_version.restype = number
    library.facesearch_beam_open.restype = pointer
    library.facesearch_beam_open.argtypes = [text, number, text]
    library.facesearch_beam_free.restype = None
    library.facesearch_beam_free.argtypes = [pointer]
    library.facesearch_beam_size.restype = wide
    library.facesearch_beam_size.argtypes = [pointer]
    library.facesearch_beam_search.restype = number
    library.facesearch_beam_search.argtypes = [pointer, pointer, wide, number, wide, number, pointer, pointer]
    library.facesearch_byte_cosines.restype = number
    library.facesearch_byte_cosines.argtypes = [pointer, wide, number, pointer, pointer, text]


class Beam:
    """A graph that hnswlib saved, ready to be searched. Safe to use from several threads, which search at once.

    Takes ``dim`` / 2 bytes (64 at least) and 4 bytes a link for each node: 200 MB for a million templates of 128 numbers.

    Args:
        library: See ``load_library``.
        path: The file, whose checksum was verified.
        dim: Length of the vectors.
        instructions: ``"avx512"``, ``"avx2"`` or ``"baseline"``; None for the best that the processor has.

    Raises:
        GalleryError: The file is damaged or of another length of vector, the processor lacks the instructions, or memory ran out.
    """

    def __init__(self, library: ctypes.CDLL, path: Path, dim: int, *, instructions: str | None = None) -> None:
        self._library = library
        self._dim = dim
        handle = library.facesearch_beam_open(os.fsencode(path), dim, None if instructions is None else instructions.encode())
        if not handle:
            raise GalleryError(f"{path.name} cannot be prepared for the compiled search of {dim}-d vectors", path=str(path))
        self._handle = ctypes.c_void_p(handle)
        # Not when the process ends: daemon threads may still be searching.
        weakref.finalize(self, library.facesearch_beam_free, self._handle).atexit = False

    def __len__(self) -> int:
        """Return the number of nodes."""
        return int(self._library.facesearch_beam_size(self._handle))

    def nearest_many(self, probes: Vectors, n: int, *, ef: int, n_threads: int) -> NDArray[np.int64]:
        """Return rows near each probe by falling approximate score.

        Args:
            probes: float32 ``(N, dim)``.
            n: Rows wanted of each probe, at least 1.
            ef: Width of the beam, at least 1: how many nodes are kept while searching.
            n_threads: Threads to use, at least 1.

        Returns:
            int64 ``(N, n)``; -1 where fewer nodes can be reached.

        Raises:
            GalleryError: Memory ran out.
        """
        probes = np.ascontiguousarray(probes, dtype=np.float32)
        if probes.ndim != 2 or probes.shape[1] != self._dim:
            raise GalleryError(f"probes of shape {probes.shape} were given, the graph is {self._dim}-d")
        rows: NDArray[np.int64] = np.empty((len(probes), n), dtype=np.int64)
        scores: NDArray[np.float32] = np.empty((len(probes), n), dtype=np.float32)
        done = self._library.facesearch_beam_search(
            self._handle, probes.ctypes.data, len(probes), max(ef, n), n, n_threads, rows.ctypes.data, scores.ctypes.data
        )
        if done != 0:
            raise GalleryError("the compiled search ran out of memory")
        return rows
