"""Principal components: vectors made shorter or whitened, as matrices that a linear layer can swallow.

It learns of arrays and knows no network: see ``compress``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError

LEAST_VARIANCE = 1e-12
"""Share of the greatest variance below which a direction counts as empty: whitening would blow its noise up."""


@dataclass(frozen=True, slots=True, eq=False)
class Projection:
    """An affine map ``(x − mean) · matrixᵀ``.

    Attributes:
        mean: float64 ``(D,)``; zeros where nothing is subtracted.
        matrix: float64 ``(dim, D)``, the strongest direction first.
        kept: Share of the (mean-free, or raw) sum of squares that the directions hold, in [0, 1].
    """

    mean: NDArray[np.float64]
    matrix: NDArray[np.float64]
    kept: float

    @property
    def dim(self) -> int:
        """Length of what comes out."""
        return int(self.matrix.shape[0])

    def __call__(self, vectors: ArrayLike) -> NDArray[np.float64]:
        """Return shape ``(N, dim)`` of ``(N, D)``; not normalised."""
        projected: NDArray[np.float64] = (np.asarray(vectors, dtype=np.float64) - self.mean) @ self.matrix.T
        return projected

    def folded(self, weight: ArrayLike, bias: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return weight and bias of the one linear layer that does a layer's work and then this map's.

        Args:
            weight: ``(D, inputs)``.
            bias: ``(D,)``.
        """
        whole, offset = np.asarray(weight, dtype=np.float64), np.asarray(bias, dtype=np.float64)
        return self.matrix @ whole, self.matrix @ (offset - self.mean)


def fit_projection(vectors: ArrayLike, dim: int, *, is_centred: bool = True, is_whitened: bool = False) -> Projection:
    """Learn the directions in which vectors differ most (Pearson 1901; Jégou & Chum 2012 for whitening in retrieval).

    Without centring the directions are those that keep scalar products best (Eckart & Young 1936): of unit vectors that is cosine
    similarity, and the map is linear, so that it can also be applied to templates that exist already.

    Args:
        vectors: Finite floats ``(N, D)``.
        dim: Directions kept, at least 1, at most ``D`` and at most ``N`` (``N − 1`` when centred).
        is_centred: Whether the mean is subtracted first.
        is_whitened: Whether each direction is divided by its standard deviation.

    Returns:
        The map. Signs are fixed (the largest weight of a direction is positive), so that the same vectors give the same map.

    Raises:
        InputError: ``dim`` is out of range, a value is not finite, or a direction that is to be whitened is empty.
    """
    data = np.asarray(vectors, dtype=np.float64)
    if data.ndim != 2 or not np.isfinite(data).all():
        raise InputError(f"components are learnt of finite vectors (N, D), not of shape {data.shape}")
    most = min(data.shape[1], len(data) - int(is_centred))
    if not 1 <= dim <= most:
        raise InputError(
            f"{dim} directions cannot be learnt of {len(data)} vectors of {data.shape[1]} numbers: at most {max(most, 0)}",
            dim=dim,
            n_vectors=len(data),
        )
    mean = data.mean(axis=0) if is_centred else np.zeros(data.shape[1])
    centred = data - mean
    moments = centred.T @ centred / len(data)
    n = data.shape[1]
    variances, directions = scipy.linalg.eigh(moments, subset_by_index=(n - dim, n - 1))
    matrix = np.ascontiguousarray(directions[:, ::-1].T)
    matrix *= np.sign(np.take_along_axis(matrix, np.abs(matrix).argmax(axis=1)[:, None], axis=1))
    kept, total = variances[::-1], max(float(np.trace(moments)), np.finfo(np.float64).tiny)
    if is_whitened:
        if kept[-1] <= LEAST_VARIANCE * kept[0]:
            raise InputError(f"the vectors do not differ in {dim} directions: whiten fewer", dim=dim)
        matrix = matrix / np.sqrt(kept)[:, None]
    return Projection(mean, matrix, float(kept.sum() / total))
