"""Embedded photographs with their people, as the arithmetic of ``facesearch.evaluation`` wants them.

It embeds nothing and computes no rate.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.errors import InputError
from facesearch.core.quality import Quality
from facesearch.evaluation.searches import SearchTrials
from facesearch.service.photographs import EmbeddedPhotographs

MIN_STRANGERS = 10
"""People with one photograph who make a population of strangers; an FPIR of fewer is the story of one of them."""

SEARCH_BLOCK = 2048
"""Probes searched at once: 2,048 × 10,000 scores of 4 bytes take 80 MB."""


@dataclass(frozen=True, slots=True, eq=False)
class KnownPeople:
    """Photographs, their people and their templates, row by row.

    Attributes:
        paths: Photographs by path.
        labels: The person of each.
        vectors: float32 ``(N, D)``; a row of NaN is a failure to acquire.
        qualities: How usable each face is, None for a failure to acquire; empty where no quality was measured.
    """

    paths: tuple[Path, ...]
    labels: NDArray[np.str_]
    vectors: Vectors
    qualities: tuple[Quality | None, ...] = ()

    def __len__(self) -> int:
        """Return the number of photographs."""
        return len(self.paths)

    def some(self, chosen: NDArray[np.bool_]) -> KnownPeople:
        """Return some of the photographs, by a bool ``(N,)``."""
        paths = tuple(path for path, is_chosen in zip(self.paths, chosen.tolist(), strict=True) if is_chosen)
        qualities = tuple(one for one, is_chosen in zip(self.qualities, chosen.tolist(), strict=False) if is_chosen)
        return KnownPeople(paths, self.labels[chosen], self.vectors[chosen], qualities)


def known_people(embedded: EmbeddedPhotographs, labels: Mapping[Path, str]) -> tuple[KnownPeople, tuple[str, ...]]:
    """Return photographs with their people, and warnings.

    Of byte-identical copies under one label the first is kept: a photograph compared with itself says nothing. Copies under two
    labels stay, and are warned of: one of the labels is wrong.

    Raises:
        InputError: No photograph has a face.
    """
    if not embedded.rows:
        raise InputError(
            f"none of the {len(embedded)} photographs has a face that was found; the first failure: {embedded.failures[0].message}"
        )
    owners: defaultdict[str, dict[str, Path]] = defaultdict(dict)
    kept = []
    n_copies = 0
    for path, digest in zip(embedded.paths, embedded.digests, strict=True):
        label = labels[path]
        if label in owners[digest]:
            n_copies += 1
            continue
        if digest:
            owners[digest][label] = path
        kept.append(path)
    warnings = []
    if n_copies:
        warnings.append(f"exact copies of other photographs of the same person, left out: {n_copies}")
    torn = [tuple(by_label.values()) for by_label in owners.values() if len(by_label) > 1]
    if torn:
        warnings.append(
            f"photographs under several labels, of which at most one is right: {len(torn)}; the first is "
            f"{' and '.join(path.as_posix() for path in torn[0])}"
        )
    vectors = np.full((len(kept), embedded.vectors.shape[1]), np.nan, dtype=np.float32)
    places = [embedded.rows.get(path) for path in kept]
    for row, place in enumerate(places):
        if place is not None:
            vectors[row] = embedded.vectors[place]
    qualities = tuple(None if place is None else embedded.qualities[place] for place in places) if embedded.qualities else ()
    return KnownPeople(tuple(kept), np.array([labels[path] for path in kept]), vectors, qualities), tuple(warnings)


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetSearch:
    """Searches of a gallery that holds some of the people.

    The gallery is the first photograph (by path) of everybody with two or more; mated probes are their other photographs. Strangers
    are the people with one photograph; where there are fewer than ``MIN_STRANGERS`` of them, every mated probe is searched again in
    the gallery without its person.

    Attributes:
        n_gallery: Photographs in the gallery, one a person.
        n_gallery_failures: Those whose face could not be acquired: their people cannot be found.
        is_leave_one_out: Whether enrolled people taken out for one search are strangers too.
        top_scores: float64 ``(N,)``, best score of each search; NaN where the probe's face could not be acquired.
        is_enrolled: bool ``(N,)``, True for mated probes.
        ranks: int64 ``(N,)``, rank of the right person from 1; 0 where not enrolled or not acquired.
        people: ``(N,)``, the person of each probe; enrolled people taken out for one search count as others.
    """

    n_gallery: int
    n_gallery_failures: int
    is_leave_one_out: bool
    top_scores: NDArray[np.float64]
    is_enrolled: NDArray[np.bool_]
    ranks: NDArray[np.int64]
    people: NDArray[np.str_]

    @property
    def n_searched(self) -> int:
        """Templates that every search looked at, at least: without failures, and without the person taken out for it."""
        return self.n_gallery - self.n_gallery_failures - int(self.is_leave_one_out)

    def trials(self) -> SearchTrials:
        """Return the searches as the arithmetic takes them."""
        is_right = self.is_enrolled & (self.ranks == 1)
        return SearchTrials(self.top_scores, self.is_enrolled, is_right, person_ids=self.people, ranks=self.ranks)


def open_set_search(known: KnownPeople, *, block: int = SEARCH_BLOCK) -> OpenSetSearch:
    """Search every probe of the open-set protocol (see ``OpenSetSearch``), exactly.

    Args:
        known: Photographs and their people.
        block: Probes searched at once.

    Raises:
        InputError: Fewer than two people have two photographs, the first of them with a face.
    """
    people, first, counts = np.unique(known.labels, return_index=True, return_counts=True)
    is_enrolled = counts >= 2
    if int(is_enrolled.sum()) < 2:
        raise InputError(f"an open-set search needs two people with two photographs, {int(is_enrolled.sum())} have them")
    number_of = np.searchsorted(people, known.labels)
    is_probe = np.ones(len(known), dtype=np.bool_)
    is_probe[first[is_enrolled]] = False
    place = np.full(people.size, -1)
    place[is_enrolled] = np.arange(int(is_enrolled.sum()))
    gallery = known.vectors[first[is_enrolled]]
    n_failures = int(np.isnan(gallery[:, 0]).sum())
    if len(gallery) - n_failures < 2:
        raise InputError(f"an open-set search needs two people in the gallery, a face was found for {len(gallery) - n_failures}")
    probes = np.flatnonzero(is_probe)
    right = place[number_of[probes]]
    top, ranks, top_of_others = _searched(known.vectors[probes], gallery, right, block)
    mated = right >= 0
    labels = known.labels[probes]
    if int((~mated).sum()) >= MIN_STRANGERS:
        return OpenSetSearch(len(gallery), n_failures, False, top, mated, ranks, labels)
    tops = np.concatenate([top, top_of_others[mated]])
    is_mated = np.concatenate([mated, np.zeros(int(mated.sum()), dtype=np.bool_)])
    all_ranks = np.concatenate([ranks, np.zeros(int(mated.sum()), dtype=np.int64)])
    # Taken out of the gallery a person is a stranger: another name keeps the two roles apart.
    names = np.concatenate([labels, np.char.add(labels[mated], "\x1ftaken out")])
    return OpenSetSearch(len(gallery), n_failures, True, tops, is_mated, all_ranks, names)


def _searched(
    probes: Vectors, gallery: Vectors, right: NDArray[np.int64], block: int
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64]]:
    """Return each probe's best score, rank of its right row (0 for none), and best score of the other rows.

    Rows of the gallery without a template are never found: a tie with the right row counts against it.
    """
    top, ranks = np.full(len(probes), np.nan), np.zeros(len(probes), dtype=np.int64)
    others = np.full(len(probes), np.nan)
    usable = np.flatnonzero(~np.isnan(gallery[:, 0]))
    column_of = np.full(len(gallery) + 1, -1)  # the last place answers for -1: nobody
    column_of[usable] = np.arange(usable.size)
    for start in range(0, len(probes), block):
        rows = start + np.flatnonzero(~np.isnan(probes[start : start + block, 0]))
        scores = np.clip(probes[rows] @ gallery[usable].T, -1.0, 1.0).astype(np.float64)
        top[rows] = scores.max(axis=1)
        columns = column_of[right[rows]]
        found = np.flatnonzero(columns >= 0)
        own = scores[found, columns[found]]
        # The right row itself is among those at or above its own score.
        ranks[rows[found]] = (scores[found] >= own[:, None]).sum(axis=1)
        scores[found, columns[found]] = -np.inf
        others[rows] = scores.max(axis=1)
    return top, ranks, others
