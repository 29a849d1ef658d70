"""Principal components against NumPy's own decomposition."""

from __future__ import annotations

import numpy as np
import pytest

from facesearch.core.arrays import normalised
from facesearch.core.errors import InputError
from facesearch.embedding.compress import learn_components
from facesearch.embedding.pca import fit_projection

TOLERANCE = 1e-8


def cloud(n: int = 200, d: int = 12, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) * np.linspace(3.0, 0.2, d) @ np.linalg.qr(rng.normal(size=(d, d)))[0] + 0.5


@pytest.mark.parametrize("is_centred", [True, False])
def test_components_are_those_of_the_singular_value_decomposition(is_centred: bool) -> None:
    data = cloud()
    found = fit_projection(data, 5, is_centred=is_centred)
    shifted = data - data.mean(axis=0) if is_centred else data
    _, values, rows = np.linalg.svd(shifted, full_matrices=False)
    np.testing.assert_allclose(np.abs(np.sum(found.matrix * rows[:5], axis=1)), 1.0, atol=TOLERANCE)
    assert found.kept == pytest.approx(np.sum(values[:5] ** 2) / np.sum(values**2))
    assert found.dim == 5
    np.testing.assert_allclose(found.matrix @ found.matrix.T, np.eye(5), atol=TOLERANCE)


def test_the_same_vectors_give_the_same_signs() -> None:
    data = cloud()
    first, second = fit_projection(data, 6), fit_projection(data[::-1], 6)
    np.testing.assert_allclose(first.matrix, second.matrix, atol=1e-7)
    assert (np.take_along_axis(first.matrix, np.abs(first.matrix).argmax(axis=1)[:, None], axis=1) > 0).all()


def test_whitened_components_have_unit_variance_and_no_covariance() -> None:
    data = cloud()
    whitened = fit_projection(data, 12, is_whitened=True)(data)
    np.testing.assert_allclose(np.cov(whitened.T, bias=True), np.eye(12), atol=1e-7)


def test_a_folded_layer_does_both_layers_work() -> None:
    rng = np.random.default_rng(4)
    weight, bias, inputs = rng.normal(size=(12, 7)), rng.normal(size=12), rng.normal(size=(30, 7))
    projection = fit_projection(cloud(), 5, is_whitened=True)
    folded_weight, folded_bias = projection.folded(weight, bias)
    np.testing.assert_allclose(inputs @ folded_weight.T + folded_bias, projection(inputs @ weight.T + bias), atol=TOLERANCE)


def test_components_of_templates_keep_scores_better_than_any_others() -> None:
    templates = normalised(cloud(400, 16))
    wanted = templates @ templates.T
    kept = learn_components(templates, 4)(templates)
    error = np.square(kept @ kept.T - wanted).sum()
    others = [np.linalg.qr(np.random.default_rng(seed).normal(size=(16, 4)))[0] for seed in range(5)]
    assert len(others) == 5
    assert all(error < np.square((templates @ one) @ (templates @ one).T - wanted).sum() for one in others)


@pytest.mark.parametrize(("n", "dim"), [(200, 0), (200, 13), (6, 6)])
def test_more_directions_than_there_are_is_an_error(n: int, dim: int) -> None:
    with pytest.raises(InputError, match=f"{dim} directions cannot be learnt of {n} vectors of 12"):
        fit_projection(cloud(n), dim)


def test_empty_directions_are_not_whitened_and_nan_is_not_learnt() -> None:
    flat = np.concatenate([cloud(d=3), np.zeros((200, 2))], axis=1)
    with pytest.raises(InputError, match="do not differ in 5 directions"):
        fit_projection(flat, 5, is_whitened=True)
    with pytest.raises(InputError, match="finite vectors"):
        fit_projection(np.full((9, 4), np.nan), 2)
    with pytest.raises(InputError, match="at least"):
        learn_components(normalised(cloud(20)), 6)
    with pytest.raises(InputError, match=r"2 … 11, not 12"):
        learn_components(normalised(cloud()), 12)
