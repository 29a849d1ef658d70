"""Made-up galleries whose scores look like real ones: vectors drawn with the between- and within-person covariance of LFW.

A photograph's vector is ``mean + person + photograph``, both parts normal with a covariance measured on LFW (method of moments),
scaled to unit length. It does not claim that faces are normal: families, twins, bad photographs and wrong labels make real tails
heavier, which the histograms printed beside the real ones show.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

MEASURED = Path(__file__).with_name("lfw_covariance.npz")
"""Mean and covariances of the shipped embedder's vectors of LFW, with the histograms of the real scores (no vector of anybody)."""

BINS = np.round(np.linspace(-0.5, 1.0, 31), 2)
"""Edges of the score histograms."""

DRAWN_AT_ONCE = 100_000


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """How vectors spread between and within people.

    Attributes:
        mean: float64 ``(D,)``.
        between: float64 ``(D, D)``, covariance of people.
        within: float64 ``(D, D)``, covariance of a person's photographs.
        mated: Counts of real mated scores by ``BINS``, each person weighing by the pairs there are.
        non_mated: The same of non-mated scores.
        n_people: People measured.
        n_vectors: Photographs measured.
        source: What was measured, in words.
    """

    mean: np.ndarray
    between: np.ndarray
    within: np.ndarray
    mated: np.ndarray
    non_mated: np.ndarray
    n_people: int
    n_vectors: int
    source: str

    def save(self, path: Path) -> None:
        """Write the numbers to a file."""
        np.savez_compressed(
            path,
            mean=self.mean.astype(np.float32),
            between=self.between.astype(np.float32),
            within=self.within.astype(np.float32),
            mated=self.mated,
            non_mated=self.non_mated,
            counts=np.array([self.n_people, self.n_vectors]),
            source=np.array(self.source),
        )

    @classmethod
    def load(cls, path: Path = MEASURED) -> Spread:
        """Read the numbers of a file."""
        with np.load(path, allow_pickle=False) as held:
            mean, between, within = (held[name].astype(np.float64) for name in ("mean", "between", "within"))
            n_people, n_vectors = (int(count) for count in held["counts"])
            return cls(mean, between, within, held["mated"], held["non_mated"], n_people, n_vectors, str(held["source"]))


def measured(vectors: np.ndarray, people: np.ndarray, source: str) -> Spread:
    """Return the spread of real vectors.

    The within-person covariance pools deviations from each person's mean (people with one photograph add nothing); that of the
    person's means, less what the within-person part leaves in a mean, is the between-person covariance.

    Args:
        vectors: float ``(N, D)``, unit norm rows.
        people: int ``(N,)``, whose photograph each is.
        source: What was measured, in words.
    """
    names, person = np.unique(people, return_inverse=True)
    wide = vectors.astype(np.float64)
    counts = np.bincount(person)
    means = np.stack([np.bincount(person, weights=column) for column in wide.T], axis=1) / counts[:, None]
    rests = wide - means[person]
    within = rests.T @ rests / (len(wide) - len(names))
    centre = means.mean(axis=0)
    between = (means - centre).T @ (means - centre) / (len(names) - 1) - float(np.mean(1.0 / counts)) * within
    mated, non_mated = _real_histograms(vectors, person)
    return Spread(centre, _positive(between), _positive(within), mated, non_mated, len(names), len(wide), source)


class People:
    """Draws photographs of made-up people; the same seed makes the same ones.

    Args:
        spread: How they spread.
        n_people: How many there are.
        seed: Of the people and, through ``photographs``, of their photographs.
    """

    def __init__(self, spread: Spread, n_people: int, seed: int) -> None:
        self._spread = spread
        self.n_people = n_people
        self._seed = seed
        self._within = _root(spread.within)
        self._people = _drawn(np.random.default_rng([seed, 0]), n_people, _root(spread.between)) + spread.mean.astype(np.float32)

    def photographs(self, people: np.ndarray, series: int) -> np.ndarray:
        """Return one new photograph of each of some people, float32 ``(len(people), D)`` of unit norm.

        Args:
            people: Numbers of people, from 0.
            series: Another number means other photographs.
        """
        vectors = self._people[people] + _drawn(np.random.default_rng([self._seed, 1, series]), len(people), self._within)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors


def made_histograms(people: People, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the counts of mated and of non-mated scores of made photographs, by ``BINS``."""
    numbers = np.arange(n)
    first, second = people.photographs(numbers, 1001), people.photographs(numbers, 1002)
    mated = np.einsum("ij,ij->i", first, second)
    non_mated = np.concatenate([np.einsum("ij,ij->i", first, np.roll(second, step, axis=0)) for step in range(1, 101)])
    return np.histogram(mated, BINS)[0], np.histogram(non_mated, BINS)[0]


def _drawn(rng: np.random.Generator, n: int, root: np.ndarray) -> np.ndarray:
    drawn = np.empty((n, len(root)), dtype=np.float32)
    for start in range(0, n, DRAWN_AT_ONCE):
        part = drawn[start : start + DRAWN_AT_ONCE]
        part[:] = rng.standard_normal(part.shape, dtype=np.float32) @ root.T
    return drawn


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return a matrix whose product with its own transpose is the covariance, float32."""
    values, axes = np.linalg.eigh(covariance)
    return (axes * np.sqrt(np.clip(values, 0.0, None))).astype(np.float32)


def _positive(covariance: np.ndarray) -> np.ndarray:
    """Return a covariance whose negative eigenvalues (what the method of moments leaves) are zero."""
    values, axes = np.linalg.eigh((covariance + covariance.T) / 2.0)
    return (axes * np.clip(values, 0.0, None)) @ axes.T


def _real_histograms(vectors: np.ndarray, person: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mated, non_mated = np.zeros(len(BINS) - 1, dtype=np.int64), np.zeros(len(BINS) - 1, dtype=np.int64)
    for start in range(0, len(vectors), 1000):
        scores = vectors[start : start + 1000] @ vectors.T
        same = person[start : start + 1000, None] == person[None]
        later = np.arange(len(vectors))[None] > np.arange(start, min(start + 1000, len(vectors)))[:, None]
        mated += np.histogram(scores[same & later], BINS)[0]
        non_mated += np.histogram(scores[~same & later], BINS)[0]
    return mated, non_mated
