"""Error-versus-reject: how the false non-match rate falls as photographs of lowest quality are refused (Grother & Tabassi 2007).

It measures no quality and sets no threshold of scores: both come in, and the threshold stays where it is while photographs go.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.intervals import Rate


@dataclass(frozen=True, slots=True, eq=False)
class MatedPairs:
    """Mated comparisons by the photographs they are made of.

    Attributes:
        first: int64 ``(M,)``, number of a photograph, from 0.
        second: int64 ``(M,)``, another photograph of the same person.
        person: int64 ``(M,)``, the person, any number.
        is_missed: bool ``(M,)``, whether the score lies below the threshold.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    person: NDArray[np.int64]
    is_missed: NDArray[np.bool_]

    def __post_init__(self) -> None:
        """Check the shapes.

        Raises:
            InputError: No pairs, lists of different lengths, or a photograph paired with itself.
        """
        shapes = {one.shape for one in (self.first, self.second, self.person, self.is_missed)}
        if len(shapes) != 1 or self.first.ndim != 1 or self.first.size == 0:
            raise InputError(f"mated pairs are four lists of one length of at least 1, not {sorted(shapes)}")
        if bool((self.first == self.second).any()) or int(min(self.first.min(), self.second.min())) < 0:
            raise InputError("a mated pair is made of two different photographs, numbered from 0")

    @property
    def n_photographs(self) -> int:
        """Smallest number of photographs that the numbers can come from."""
        return int(max(self.first.max(), self.second.max())) + 1

    def fnmr(self, is_kept: NDArray[np.bool_]) -> MissRate:
        """Return the false non-match rate among photographs that are kept.

        Args:
            is_kept: bool ``(N,)``, one a photograph.

        Raises:
            InputError: No pair is left.
        """
        left = is_kept[self.first] & is_kept[self.second]
        n_pairs = int(left.sum())
        if n_pairs == 0:
            raise InputError(f"no mated pair is left of {self.first.size}: too many photographs were refused")
        _, rows = np.unique(self.person[left], return_inverse=True)
        pairs = np.bincount(rows)
        missed = np.bincount(rows, weights=self.is_missed[left])
        return MissRate(Rate(int(missed.sum()), n_pairs), float((missed / pairs).mean()), pairs.size)


@dataclass(frozen=True, slots=True)
class MissRate:
    """A false non-match rate, pooled and by people.

    Attributes:
        pooled: All comparisons alike.
        by_person: Mean of the people's rates: everybody weighs the same however many photographs they have. The headline.
        n_people: People with a comparison left.
    """

    pooled: Rate
    by_person: float
    n_people: int

    def __str__(self) -> str:
        """Return both rates with their counts."""
        return f"{100 * self.by_person:.3f} % over {self.n_people} people, pooled {self.pooled}"


@dataclass(frozen=True, slots=True)
class RejectPoint:
    """What is left after refusing the worst photographs.

    Attributes:
        refused: Share of photographs refused, with counts.
        fnmr: Of those kept.
    """

    refused: Rate
    fnmr: MissRate


def keep_best(quality: ArrayLike, share_refused: float) -> NDArray[np.bool_]:
    """Return which photographs stay when a share of them, those of lowest quality, is refused.

    Args:
        quality: ``(N,)``, finite, higher is better; of equal ones the earlier goes first.
        share_refused: In [0, 1); rounded to whole photographs.

    Raises:
        InputError: A quality is not finite, or the share is out of range.
    """
    values = np.asarray(quality, dtype=np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise InputError("qualities are a list of at least one finite number")
    if not 0.0 <= share_refused < 1.0:
        raise InputError(f"the share refused lies in [0, 1), not {share_refused}")
    is_kept = np.ones(values.size, dtype=np.bool_)
    is_kept[np.argsort(values, kind="stable")[: round(share_refused * values.size)]] = False
    return is_kept


def error_versus_reject(pairs: MatedPairs, quality: ArrayLike, shares: Sequence[float]) -> tuple[RejectPoint, ...]:
    """Return the false non-match rate after refusing each share of photographs, worst first.

    Args:
        pairs: The comparisons at one threshold.
        quality: ``(N,)``, one a photograph, higher is better.
        shares: Each in [0, 1).

    Raises:
        InputError: Qualities do not fit the pairs, or nothing is left.
    """
    values = np.asarray(quality, dtype=np.float64)
    if values.shape[0] < pairs.n_photographs:
        raise InputError(f"{values.shape[0]} qualities were given for {pairs.n_photographs} photographs")
    points = []
    for share in shares:
        is_kept = keep_best(values, share)
        points.append(RejectPoint(Rate(int((~is_kept).sum()), values.size), pairs.fnmr(is_kept)))
    return tuple(points)


def random_rejections(pairs: MatedPairs, n_photographs: int, *, share: float, n: int = 200, seed: int = 0) -> NDArray[np.float64]:
    """Return the false non-match rates by people of ``n`` random refusals of a share of photographs: what chance alone gives."""
    rng = np.random.default_rng(seed)
    return np.array([pairs.fnmr(keep_best(rng.permutation(n_photographs), share)).by_person for _ in range(n)])
