"""Scores of vectors held as bytes: compiled and by NumPy, each beside a loop over the vectors that they stand for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from facesearch.core.compact import quantised, restored
from facesearch.gallery import byte_scan
from facesearch.gallery.beam import load_library
from facesearch.gallery.byte_scan import COMPILED_PROBES, blockwise_scores, byte_scores, compiled_scores
from tests.gallery_oracle import unit

TOLERANCE = 1e-6
"""Of float32 sums of 600 products of unit vectors, in whatever order."""


def looped(probes: np.ndarray, codes: np.ndarray) -> np.ndarray:
    vectors = restored(codes).astype(np.float64)
    return np.array([[float(np.sum(probe.astype(np.float64) * vector)) for vector in vectors] for probe in probes])


@pytest.fixture(params=[1, 5, 16, 100, 128, 600])
def held(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """Two probes and 70 vectors of bytes, one of them of a row that holds nothing."""
    rng = np.random.default_rng(request.param)
    codes = quantised(unit(rng, 70, request.param))
    codes[13] = 0
    return unit(rng, 2, request.param), codes


def test_numpy_scores_as_a_loop(held: tuple[np.ndarray, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    probes, codes = held
    monkeypatch.setattr(byte_scan, "BLOCK_NUMBERS", 3 * codes.shape[1])  # 23 blocks of three rows and one of one
    wanted = looped(probes, codes)
    np.testing.assert_allclose(blockwise_scores(probes, codes), wanted, atol=TOLERANCE)
    np.testing.assert_allclose(blockwise_scores(probes[:1], codes), wanted[:1], atol=TOLERANCE)
    assert not blockwise_scores(probes, codes)[:, 13].any()


@pytest.mark.skipif(load_library() is None, reason="nothing was compiled")
@pytest.mark.parametrize("instructions", ["avx2", "avx512", None])
def test_every_instruction_set_scores_as_a_loop(held: tuple[np.ndarray, np.ndarray], instructions: str | None) -> None:
    probes, codes = held
    found = compiled_scores(load_library(), probes, codes, instructions=instructions)
    if found is None:
        pytest.skip(f"this processor has no {instructions or 'instructions that anything was written for'}")
    np.testing.assert_allclose(found, looped(probes, codes), atol=TOLERANCE)
    assert not found[:, 13].any()


@pytest.mark.skipif(load_library() is None, reason="nothing was compiled")
def test_what_does_not_lie_side_by_side_is_scored_all_the_same(held: tuple[np.ndarray, np.ndarray]) -> None:
    probes, codes = held
    found = compiled_scores(load_library(), probes[::-1], codes[::2])
    if found is not None:
        np.testing.assert_allclose(found, looped(probes[::-1], codes[::2]), atol=TOLERANCE)


def test_without_a_library_or_the_instructions_numpy_does_it(tmp_path: Path) -> None:
    codes = quantised(unit(np.random.default_rng(0), 3))
    probes = restored(codes[:1])
    assert compiled_scores(load_library(tmp_path / "none.so"), probes, codes) is None
    if load_library() is not None:
        assert compiled_scores(load_library(), probes, codes, instructions="baseline") is None
        assert compiled_scores(load_library(), probes, codes, instructions="sse9") is None


@pytest.mark.parametrize("n_probes", [0, 1, COMPILED_PROBES, COMPILED_PROBES + 1])
@pytest.mark.parametrize("n", [0, 1, 5])
def test_any_number_of_probes_and_vectors(n_probes: int, n: int) -> None:
    rng = np.random.default_rng(3)
    probes, codes = unit(rng, 9)[:n_probes], quantised(unit(rng, 5))[:n]
    found = byte_scores(probes, codes)
    assert found.shape == (n_probes, n)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, looped(probes, codes).reshape(n_probes, n), atol=TOLERANCE)
