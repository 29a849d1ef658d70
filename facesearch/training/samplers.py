"""Which crops make a batch: people by photographs (P×K), pairs, or all crops in turn.

A sampler reads no picture. A batch is a function of the seed and the number of the step alone, so a run that goes on where it was
interrupted draws the very same batches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError

Rows = NDArray[np.int64]
"""Places of crops in a store."""

Few = Literal["repeat", "leave-out"]
"""What becomes of people with fewer than K photographs: some of theirs come twice (each otherwise augmented), or none."""


class Sampler(Protocol):
    """Says which crops the batch of a step is made of."""

    @property
    def steps_per_epoch(self) -> int:
        """Batches until every person (or crop) had a turn, but for those who did not fill one."""
        ...

    @property
    def batch_size(self) -> int:
        """Crops of a batch."""
        ...

    @property
    def group(self) -> int:
        """Neighbours in a batch that must stay together when it is divided among processes."""
        ...

    def batch(self, step: int) -> Rows:
        """Return the rows of a step's batch, from step 0 on."""
        ...

    def __str__(self) -> str:
        """Return who takes part and who does not, with counts."""
        ...


@dataclass(frozen=True, slots=True)
class _People:
    """The rows of each person, by falling number of photographs unless told otherwise."""

    rows: tuple[Rows, ...]

    @classmethod
    def of(cls, labels: ArrayLike) -> _People:
        ids = np.asarray(labels)
        if ids.ndim != 1 or ids.size == 0:
            raise InputError(f"labels are one number a crop, at least one, not of shape {ids.shape}")
        order = np.argsort(ids, kind="stable").astype(np.int64)
        _, begins = np.unique(ids[order], return_index=True)
        return cls(tuple(np.split(order, begins[1:])))


class PeopleSampler:
    """P people with K photographs each (Hermans, Beyer & Leibe 2017, section 2).

    An epoch goes once over everybody in a new order; those left over at its end are others every time.

    Args:
        labels: Who is on each crop, whole numbers ``(N,)``.
        n_people: P, at least 2.
        n_each: K, at least 2.
        few: What becomes of people with fewer than K photographs.
        singles: Whether people with one photograph take part, K times the same one. Without augmentation their positive is the
            anchor itself and teaches nothing, so they are left out unless asked for.
        seed: Of the order.

    Raises:
        InputError: A number is out of range, or fewer than P people remain.
    """

    def __init__(
        self, labels: ArrayLike, n_people: int, n_each: int, *, few: Few = "repeat", singles: bool = False, seed: int = 0
    ) -> None:
        if n_people < 2 or n_each < 2:
            raise InputError(f"a batch needs at least 2 people with 2 photographs each, not {n_people} with {n_each}")
        everybody = _People.of(labels).rows
        least = n_each if few == "leave-out" else 1 if singles else 2
        self._people = [rows for rows in everybody if rows.size >= least]
        self.n_people, self.n_each, self._seed = n_people, n_each, seed
        self._n_all = len(everybody)
        self._n_single = sum(rows.size == 1 for rows in everybody)
        self._n_repeated = sum(rows.size < n_each for rows in self._people)
        if len(self._people) < n_people:
            raise InputError(
                f"a batch of {n_people} people with {n_each} photographs each cannot be drawn: of {self._n_all} people, "
                f"{len(self._people)} have at least {least} photographs (people with one photograph: {self._n_single}); "
                "bring more people or photographs, or lower people_per_batch",
                n_people=self._n_all,
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches until everybody had a turn."""
        return len(self._people) // self.n_people

    @property
    def batch_size(self) -> int:
        """P times K."""
        return self.n_people * self.n_each

    @property
    def group(self) -> int:
        """K: a person's photographs stay together."""
        return self.n_each

    def batch(self, step: int) -> Rows:
        """Return P·K rows, a person's K beside each other; none twice unless the person has fewer than K."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self._seed, epoch)).permutation(len(self._people))
        chosen = order[place * self.n_people : (place + 1) * self.n_people]
        generator = np.random.default_rng((self._seed, epoch, place))
        return np.concatenate([_drawn(self._people[person], self.n_each, generator) for person in chosen.tolist()])

    def __str__(self) -> str:
        """Return who takes part and what became of people with few photographs."""
        left_out = self._n_all - len(self._people)
        return (
            f"{self.n_people} people × {self.n_each} photographs a batch, {self.steps_per_epoch} batches an epoch; "
            f"{len(self._people)} of {self._n_all} people take part, {self._n_repeated} of them with fewer than {self.n_each} "
            f"photographs, of whom some come more than once; {left_out} left out ({self._n_single} people have one photograph)"
        )


def _drawn(rows: Rows, n_each: int, generator: np.random.Generator) -> Rows:
    """Return as many rows of a person: each as often as any other, give or take one."""
    rounds = [generator.permutation(rows) for _ in range(-(-n_each // rows.size))]
    return np.concatenate(rounds)[:n_each]


class PairSampler:
    """Siamese pairs: neighbours 2i and 2i + 1 are of one person where i is even, of two where it is odd.

    In turn, so that each of several processes has as many pairs of either kind as the others.

    Args:
        labels: Who is on each crop, ``(N,)``.
        n_pairs: Pairs a batch, even, at least 2.
        seed: Of the draw.

    Raises:
        InputError: A number is out of range, or nobody has two photographs, or there is one person only.
    """

    def __init__(self, labels: ArrayLike, n_pairs: int, *, seed: int = 0) -> None:
        if n_pairs < 2 or n_pairs % 2:
            raise InputError(f"pairs a batch are an even number of at least 2, not {n_pairs}: batch_size is twice that number")
        self._people = _People.of(labels).rows
        self._able = [rows for rows in self._people if rows.size >= 2]
        self._n_pairs, self._seed = n_pairs, seed
        if not self._able or len(self._people) < 2:
            raise InputError(
                f"pairs need two people, and two photographs of one of them: there are {len(self._people)} people, "
                f"{len(self._able)} with two or more photographs",
                n_people=len(self._people),
            )

    @property
    def steps_per_epoch(self) -> int:
        """Batches until everybody with two photographs was in about one mated pair."""
        return max(1, len(self._able) // (self._n_pairs // 2))

    @property
    def batch_size(self) -> int:
        """Two crops a pair."""
        return 2 * self._n_pairs

    @property
    def group(self) -> int:
        """A pair stays together."""
        return 2

    def batch(self, step: int) -> Rows:
        """Return the rows of the pairs, mated and not in turn; people are drawn with equal chances."""
        generator = np.random.default_rng((self._seed, step))
        half = self._n_pairs // 2
        mated = [
            generator.choice(self._able[person], 2, replace=False) for person in generator.integers(len(self._able), size=half)
        ]
        other = []
        for _ in range(half):
            one, two = generator.choice(len(self._people), 2, replace=False)
            other.append(np.array([generator.choice(self._people[one]), generator.choice(self._people[two])]))
        return np.concatenate([pair for both in zip(mated, other, strict=True) for pair in both]).astype(np.int64)

    def __str__(self) -> str:
        """Return how many people give pairs."""
        return (
            f"{self._n_pairs} pairs a batch, half of them mated, {self.steps_per_epoch} batches an epoch; mated pairs of "
            f"{len(self._able)} of {len(self._people)} people, the others have one photograph and come in non-mated pairs only"
        )


class TurnSampler:
    """All crops in turn, in a new order every epoch: for losses over classes.

    Args:
        labels: Who is on each crop, ``(N,)``.
        batch_size: Crops a batch, at least 1 and at most N.
        least_people: How many there must be: teachers tell of one person, too.
        seed: Of the order.

    Raises:
        InputError: There are fewer crops than that, or of fewer people.
    """

    group = 1

    def __init__(self, labels: ArrayLike, batch_size: int, *, least_people: int = 2, seed: int = 0) -> None:
        ids = np.asarray(labels)
        self._n, self._n_people = int(ids.size), int(np.unique(ids).size)
        if self._n_people < least_people:
            raise InputError(f"telling people apart needs two of them: there are {self._n_people}", n_people=self._n_people)
        if not 1 <= batch_size <= self._n:
            raise InputError(f"a batch has 1 … {self._n} crops, as many as there are, not {batch_size}: lower batch_size")
        self.batch_size, self._seed = batch_size, seed

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of an epoch."""
        return self._n // self.batch_size

    def batch(self, step: int) -> Rows:
        """Return the rows of a batch, none twice in an epoch."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng((self._seed, epoch)).permutation(self._n)
        return order[place * self.batch_size : (place + 1) * self.batch_size].astype(np.int64)

    def __str__(self) -> str:
        """Return the counts."""
        n_steps = self.steps_per_epoch
        return f"{self.batch_size} crops a batch, {n_steps} batches an epoch of {self._n} crops of {self._n_people} people"


def shard(rows: Rows, group: int, rank: int, world: int) -> Rows:
    """Return a process' part of a batch: whole groups, the same number for every process.

    Raises:
        InputError: The groups cannot be divided evenly.
    """
    n_groups = rows.size // group
    if n_groups % world:
        raise InputError(
            f"a batch of {n_groups} groups of {group} crops cannot be divided among {world} processes: choose a multiple of {world}"
        )
    each = n_groups // world * group
    return rows[rank * each : (rank + 1) * each]
