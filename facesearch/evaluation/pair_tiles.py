"""All pairs of photographs of a set, tile by tile of a matrix product.

It counts nothing and keeps no score: ``all_pairs`` and ``resampling`` look at the tiles while they last.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError

DEFAULT_BLOCK = 1536
"""Photographs a side of a tile: its scores, bins and weights take some 70 MB; smaller ones spend more on adding bins up."""


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """The scores of a run of photographs with a later or the same run, both of whole people.

    Attributes:
        rows: Places of the first run, in the order of ``PairTiles.order``.
        columns: Places of the second run; the same places on the diagonal.
        scores: float32 ``(rows, columns)``, cosine similarities.
        non_mated: bool of the same shape, True where the pair is to be counted as one of two people; None where all are.
    """

    rows: slice
    columns: slice
    scores: NDArray[np.float32]
    non_mated: NDArray[np.bool_] | None

    @property
    def is_diagonal(self) -> bool:
        """Whether both runs are the same: the tile that holds mated pairs."""
        return self.rows == self.columns


class PairTiles:
    """Photographs ordered by person, and their pairs.

    A row of NaN is a photograph whose face could not be acquired: it is in no tile, but counts in ``n_photographs_of`` and in every
    number of pairs. Memory: the vectors once more, and a tile; a tile grows with a person of more than ``block`` photographs, since
    people are never cut in two.

    Args:
        vectors: Templates of one embedder, float ``(N, D)``, rows of unit norm or all NaN.
        person_ids: Who is on each photograph, ``(N,)``: whole numbers or strings.
        left_out: Pairs of person ids whose comparisons count as neither kind (one person under two names); those that name
            somebody absent are passed over.
        block: Photographs a side of a tile, at least 1.

    Raises:
        InputError: Shapes that do not fit, NaN in part of a row, rows that are not of unit norm, or a pair of a person with itself.

    Attributes:
        people: The distinct person ids, sorted; people are numbered by their place here.
        order: int64 ``(A,)``, which row of ``vectors`` each acquired photograph is, by person.
        person: int64 ``(A,)``, number of its person.
        weight: float64 ``(A,)``, 1 over the number of photographs of its person.
        n_photographs_of: int64 ``(P,)``, photographs of each person, failures included.
        left_out: int64 ``(L, 2)``, numbers of the people left out, the lower first, without repetition.
    """

    def __init__(
        self, vectors: ArrayLike, person_ids: ArrayLike, *, left_out: Iterable[tuple[Any, Any]] = (), block: int = DEFAULT_BLOCK
    ) -> None:
        rows = np.asarray(vectors, dtype=np.float32)
        ids = np.asarray(person_ids)
        if rows.ndim != 2 or ids.shape != rows.shape[:1]:
            raise InputError(f"one person id a vector is needed: vectors {rows.shape}, person ids {ids.shape}")
        if rows.shape[0] < 2:
            raise InputError(f"a pair needs two photographs, there are {rows.shape[0]}")
        if block < 1:
            raise InputError(f"a tile has at least 1 photograph a side, not {block}")
        self.people, numbers = np.unique(ids, return_inverse=True)
        numbers = numbers.reshape(-1).astype(np.int64)
        self.n_photographs_of = np.bincount(numbers, minlength=self.people.size).astype(np.int64)
        acquired = _acquired(rows)
        order = np.argsort(numbers, kind="stable")
        self.order: NDArray[np.int64] = order[acquired[order]].astype(np.int64)
        self.person: NDArray[np.int64] = numbers[self.order]
        self.weight: NDArray[np.float64] = 1.0 / self.n_photographs_of[self.person]
        self.left_out = self._left_out(left_out)
        self._vectors = np.ascontiguousarray(rows[self.order])
        self._block = block
        self.n_photographs = int(rows.shape[0])

    def _left_out(self, pairs: Iterable[tuple[Any, Any]]) -> NDArray[np.int64]:
        """Return the pairs left out as sorted numbers of people."""
        place = {person: number for number, person in enumerate(self.people.tolist())}
        numbered = set()
        for one, other in pairs:
            if one == other:
                raise InputError(f"a pair of people to leave out names {one!r} twice")
            if one in place and other in place:
                numbered.add((min(place[one], place[other]), max(place[one], place[other])))
        return np.array(sorted(numbered), dtype=np.int64).reshape(-1, 2)

    @property
    def n_people(self) -> int:
        """Number of people, those without an acquired photograph included."""
        return int(self.people.size)

    @property
    def n_failures(self) -> int:
        """Photographs whose face could not be acquired."""
        return self.n_photographs - int(self.order.size)

    @property
    def n_person_pairs(self) -> int:
        """Pairs of two people, those left out not counted."""
        return self.n_people * (self.n_people - 1) // 2 - len(self.left_out)

    @property
    def n_non_mated(self) -> int:
        """Pairs of photographs of two people, failures included, those left out not counted."""
        sizes = self.n_photographs_of
        left_out = sizes[self.left_out[:, 0]] * sizes[self.left_out[:, 1]]
        return (int(sizes.sum()) ** 2 - int((sizes**2).sum())) // 2 - int(left_out.sum())

    @property
    def n_mated(self) -> int:
        """Pairs of photographs of one person, failures included."""
        return int((self.n_photographs_of * (self.n_photographs_of - 1) // 2).sum())

    @property
    def n_mated_people(self) -> int:
        """People with at least two photographs."""
        return int((self.n_photographs_of >= 2).sum())

    def runs(self, places: slice) -> NDArray[np.int64]:
        """Return where each person begins within a run of places of whole people, counted from the run's start."""
        person = self.person[places]
        return np.flatnonzero(np.r_[True, person[1:] != person[:-1]]).astype(np.int64)

    def __iter__(self) -> Iterator[Tile]:
        """Yield the tiles on and above the diagonal; together they hold every pair once."""
        blocks = self._blocks()
        for first, rows in enumerate(blocks):
            for columns in blocks[first:]:
                scores = self._vectors[rows] @ self._vectors[columns].T
                yield Tile(rows, columns, scores, self._mask(rows, columns))

    def _blocks(self) -> list[slice]:
        """Return runs of whole people, of at least ``block`` photographs but for the last."""
        begins = self.runs(slice(0, self.order.size)) if self.order.size else np.zeros(0, dtype=np.int64)
        blocks, at = [], 0
        for end in [*begins[1:].tolist(), int(self.order.size)]:
            if end - at >= self._block or (end == self.order.size and end > at):
                blocks.append(slice(at, int(end)))
                at = int(end)
        return blocks

    def _mask(self, rows: slice, columns: slice) -> NDArray[np.bool_] | None:
        """Return which pairs of a tile are of two people, or None for all."""
        row_people, column_people = self.person[rows], self.person[columns]
        mask = row_people[:, None] < column_people[None, :] if rows == columns else None
        for one, other in self.left_out:
            if row_people[0] <= one <= row_people[-1] and column_people[0] <= other <= column_people[-1]:
                if mask is None:
                    mask = np.ones((row_people.size, column_people.size), dtype=np.bool_)
                mask[np.ix_(row_people == one, column_people == other)] = False
        return mask


def _acquired(rows: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Return which rows are templates after checking that the others are all NaN."""
    norms = np.sqrt(np.einsum("nd,nd->n", rows, rows, dtype=np.float64))
    failed = np.isnan(norms)
    if failed.any() and not np.isnan(rows[failed]).all():
        raise InputError("a row of vectors holds NaN in part: a failure to acquire is a row of NaN, a template has none")
    off = np.abs(norms[~failed] - 1.0)
    if off.size and not float(off.max()) <= 1e-3:
        raise InputError(f"templates have unit norm within 1e-3, one is {float(off.max()):.3g} off")
    acquired: NDArray[np.bool_] = ~failed
    return acquired
