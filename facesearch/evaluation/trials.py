"""Scores of comparisons whose truth is known, checked once.

It does not compare faces: scores come from whoever ran the protocol.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.arrays import freeze
from facesearch.core.errors import InputError


def checked_scores(scores: ArrayLike) -> NDArray[np.float64]:
    """Return scores as a frozen float64 array of shape ``(N,)``; NaN stands for a failure to acquire.

    Raises:
        InputError: Another shape, no score at all, or infinity.
    """
    checked = np.array(scores, dtype=np.float64)
    if checked.ndim != 1 or checked.size == 0:
        raise InputError(f"scores are one row of at least one number, not an array of shape {checked.shape}")
    if np.isinf(checked).any():
        raise InputError("scores are finite, or NaN for a failure to acquire; infinity is neither")
    return freeze(checked)


def checked_flags(flags: ArrayLike, length: int, *, what: str) -> NDArray[np.bool_]:
    """Return yes/no values as a frozen bool array of shape ``(length,)``.

    Raises:
        InputError: Another length, or values other than booleans.
    """
    checked = np.array(flags)
    if checked.shape != (length,) or checked.dtype != np.bool_:
        raise InputError(f"{what} holds one bool a trial: bool ({length},), not {checked.dtype} {checked.shape}")
    return freeze(checked)


@dataclass(frozen=True, slots=True, eq=False)
class VerificationTrials:
    """1:1 comparisons with known truth.

    Attributes:
        scores: float64 ``(N,)``, higher is more alike; NaN where a face of the pair could not be acquired. Read-only.
        is_mated: bool ``(N,)``, True where both are the same person. Read-only.
        folds: int64 ``(N,)``, the fold of each pair; all 0 where there are none. Read-only.
    """

    scores: NDArray[np.float64]
    is_mated: NDArray[np.bool_]
    folds: NDArray[np.int64]

    def __init__(self, scores: ArrayLike, is_mated: ArrayLike, folds: ArrayLike | None = None) -> None:
        checked = checked_scores(scores)
        object.__setattr__(self, "scores", checked)
        object.__setattr__(self, "is_mated", checked_flags(is_mated, checked.size, what="is_mated"))
        chosen = np.zeros(checked.size, dtype=np.int64) if folds is None else np.array(folds)
        if chosen.shape != checked.shape or chosen.dtype.kind not in "iu":
            raise InputError(f"folds holds one whole number a trial: ({checked.size},), not {chosen.dtype} {chosen.shape}")
        object.__setattr__(self, "folds", freeze(chosen.astype(np.int64)))

    def __len__(self) -> int:
        """Return the number of pairs."""
        return int(self.scores.size)

    @property
    def is_acquired(self) -> NDArray[np.bool_]:
        """True where the pair has a score."""
        return ~np.isnan(self.scores)

    @property
    def n_mated(self) -> int:
        """Number of mated pairs, failures included."""
        return int(self.is_mated.sum())

    @property
    def n_non_mated(self) -> int:
        """Number of non-mated pairs, failures included."""
        return len(self) - self.n_mated

    @property
    def n_failures(self) -> int:
        """Number of pairs without a score."""
        return len(self) - int(self.is_acquired.sum())

    def mated_scores(self) -> NDArray[np.float64]:
        """Return the scores of acquired mated pairs, ascending."""
        return np.sort(self.scores[self.is_mated & self.is_acquired])

    def non_mated_scores(self) -> NDArray[np.float64]:
        """Return the scores of acquired non-mated pairs, ascending."""
        return np.sort(self.scores[~self.is_mated & self.is_acquired])
