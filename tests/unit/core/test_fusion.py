"""Fusing vectors: against a slow twin, and at its edges."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.fusion import (
    FUSED_CHANCES,
    MIN_WEIGHT,
    Fusion,
    fused_score,
    fused_template,
    fused_vector,
    fused_vectors,
    quality_weight,
)
from facesearch.core.template import Template


def test_the_fused_vector_equals_a_loop():
    rng = np.random.default_rng(1)
    for n in (1, 2, 7):
        vectors = normalised(rng.normal(size=(n, 8)))
        weights = rng.uniform(0.1, 1, size=n).tolist()
        total = [sum(weight * row[column] for weight, row in zip(weights, vectors.tolist(), strict=True)) for column in range(8)]
        length = sum(value * value for value in total) ** 0.5
        assert fused_vector(vectors, weights) == pytest.approx([value / length for value in total], abs=1e-6)
        assert fused_vector(vectors) == pytest.approx(fused_vector(vectors, [0.3] * n), abs=1e-6)


def test_vectors_that_cancel_out_leave_the_heaviest():
    vector = normalised(np.arange(1.0, 5.0))
    pair = np.stack([vector, -vector])
    assert fused_vector(pair) == pytest.approx(vector)
    assert fused_vector(np.stack([vector, vector, -vector]), [0.25, 0.25, 0.5]) == pytest.approx(-vector)


@pytest.mark.parametrize("weights", [[1.0], [1.0, 0.0], [1.0, -1.0], [1.0, float("nan")]])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(InputError, match="positive weights"):
        fused_vector(np.eye(2, dtype=np.float32), weights)


def test_nothing_cannot_be_fused():
    with pytest.raises(InputError, match="at least one"):
        fused_vector(np.zeros((0, 4), dtype=np.float32))
    with pytest.raises(InputError, match="no fused template"):
        fused_template((), Fusion.MEAN)
    with pytest.raises(InputError, match="without templates"):
        fused_score(Template(np.eye(4, dtype=np.float32)[0], "toy@000000000000"), (), Fusion.BEST)


def test_weight_grows_with_size_and_confidence_and_never_vanishes():
    def face(side: float, score: float) -> Detection:
        return Detection((0, 0, side, side + 5), np.zeros((5, 2), dtype=np.float32), score)

    assert quality_weight(face(56, 0.8)) == pytest.approx(0.4)
    assert quality_weight(face(400, 1.0)) == 1.0
    assert quality_weight(face(20, 0.01)) == MIN_WEIGHT


def test_what_counts_as_a_comparison():
    counts = [1, 2, 3, 4, 100]
    assert Fusion.BEST.n_comparisons(counts) == 110
    assert Fusion.MEAN.n_comparisons(counts) == Fusion.QUALITY.n_comparisons(counts) == 1 + 2 + 3 * FUSED_CHANCES
    assert Fusion.MEAN.n_comparisons([]) == 0


def test_many_people_are_fused_as_one_by_one():
    rng = np.random.default_rng(3)
    owners = rng.integers(0, 12, 60) * 7
    vectors = normalised(rng.normal(size=(60, 16)))
    vectors[owners == owners[0]] = 0
    first = np.flatnonzero(owners == owners[0])
    vectors[first] = normalised(rng.normal(size=16))
    vectors[first[: len(first) // 2]] *= -1  # this person's photographs nearly or wholly cancel each other out
    people, fused = fused_vectors(owners, vectors)
    assert people.tolist() == sorted(set(owners.tolist()))
    assert len(people) > 5
    for person, vector in zip(people, fused, strict=True):
        assert np.allclose(vector, fused_vector(vectors[owners == person]), atol=1e-6)
    nobody, nothing = fused_vectors(np.zeros(0, dtype=np.int64), np.zeros((0, 16), dtype=np.float32))
    assert (len(nobody), nothing.shape) == (0, (0, 16))
