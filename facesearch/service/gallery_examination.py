"""What is probably wrong in a gallery: photographs under the wrong label, one person under two labels, the same picture twice.

Arithmetic on templates and the index's neighbours; it reads no database and changes nothing. Its cost is one search a template, not
one comparison a pair of templates.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.decision import OperatingPoints
from facesearch.core.protocols import GalleryIndex
from facesearch.core.template import Template, TemplateBatch

NEIGHBOURS = 5
"""Other people looked at a template: the right one is nearly always the first, and a few more cover people split in several."""

SEARCHED_AT_ONCE = 256
"""Templates searched in one pass of the index."""

EMPTY_LENGTH = 1e-9
"""Length of a sum of vectors that is a rounding error: nothing is left in it."""

NEAR_IDENTICAL = 0.95
"""Score from which two templates are taken for copies of one picture.

With the shipped embedder 57 of 60 photographs of LFW saved again at JPEG quality 50 reach it against the original, and 25 of the
242,256 pairs of different files of one person do (some of them copies as well).
"""

DUPLICATE_RATE = 1e-2
"""Chance of a false duplicate among all pairs of people of a gallery that a single comparison may have to count as probable."""


@dataclass(frozen=True, slots=True)
class ExaminationRule:
    """When something is wrong enough to be said. docs/gallery-doctor.md says how the defaults were chosen.

    Attributes:
        own_fmr: A photograph is suspicious when its score against the mean of its label's other photographs is below the threshold
            at this FMR …
        other_fmr: … that against the mean of another label's reaches the threshold at this one …
        margin: … and the second exceeds the first by this share of the threshold at ``other_fmr``.
        duplicate_fmr: Two labels are one person when the mean of the scores of all their photographs reaches the threshold at this
            FMR, each label having at least two.
        stranger_fmr: A photograph whose score against its label's others, at least two, is below the threshold at this FMR, without
            another label to go to, is possibly of somebody else.
    """

    own_fmr: float = 1e-4
    other_fmr: float = 1e-4
    margin: float = 0.8
    duplicate_fmr: float = 1e-5
    stranger_fmr: float = 1e-2


DEFAULT_RULE = ExaminationRule()


@dataclass(frozen=True, slots=True)
class Misplaced:
    """A photograph that is probably under the wrong label.

    Attributes:
        template_id: Its template.
        identity_id: Its label's.
        other_id: The identity it resembles, or None where it resembles nobody: then it is only possibly misplaced.
        own_score: Score against the mean of its label's other photographs.
        other_score: Score against the mean of the other's photographs; None without another.
    """

    template_id: int
    identity_id: int
    other_id: int | None
    own_score: float
    other_score: float | None


@dataclass(frozen=True, slots=True)
class Duplicate:
    """Two labels that are probably one person.

    Attributes:
        identity_id: The one with fewer photographs.
        other_id: The other.
        score: Mean of the scores of all pairs of their photographs.
        n_comparisons: So many pairs.
        is_probable: Whether the evidence reaches: two photographs on each side, or operating points that support a single
            comparison among all pairs of people of this gallery.
    """

    identity_id: int
    other_id: int
    score: float
    n_comparisons: int
    is_probable: bool


@dataclass(frozen=True, slots=True)
class NearIdentical:
    """Two templates that look like copies of one picture.

    Attributes:
        template_id: The later one.
        other_template_id: The earlier one.
        identity_id: Whose the later one is.
        other_id: Whose the earlier one is; the same for a plain repeat.
        score: Their cosine similarity.
    """

    template_id: int
    other_template_id: int
    identity_id: int
    other_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything found, each kind with the surest first.

    Attributes:
        misplaced: Wrong labels.
        duplicates: One person under two labels.
        near_identical: Copies.
        missing: Templates that the index cannot find.
        misowned: Templates that the index counts to another person than the batch does.
    """

    misplaced: tuple[Misplaced, ...]
    duplicates: tuple[Duplicate, ...]
    near_identical: tuple[NearIdentical, ...]
    missing: tuple[int, ...]
    misowned: tuple[int, ...]


class _Gallery:
    """The templates by row, their people by column, and the sums of each person's vectors without the rows set aside."""

    def __init__(self, batch: TemplateBatch) -> None:
        self.batch = batch
        self.vectors: NDArray[np.float64] = batch.vectors.astype(np.float64)
        self.people, self.column = np.unique(batch.identity_ids, return_inverse=True)
        self.column_of = {int(identity): column for column, identity in enumerate(self.people.tolist())}
        self.row_of = {int(key): row for row, key in enumerate(batch.template_ids.tolist())}
        self.counts = np.bincount(self.column, minlength=len(self.people))
        self.sums = np.zeros((len(self.people), batch.vectors.shape[1]))
        np.add.at(self.sums, self.column, self.vectors)
        self._order = np.argsort(self.column, kind="stable")
        self._ends = np.concatenate([[0], np.cumsum(self.counts)])

    def rows_of(self, column: int) -> list[int]:
        """Return a person's rows in the order of the batch, those set aside included."""
        return [int(row) for row in self._order[self._ends[column] : self._ends[column + 1]]]

    def set_aside(self, row: int) -> None:
        """Take a photograph out of its person's sum."""
        self.sums[self.column[row]] -= self.vectors[row]
        self.counts[self.column[row]] -= 1

    def score(self, row: int, column: int) -> float:
        """Return a photograph's score against the mean of a person's photographs, itself left out; -1 where none are left."""
        is_own = int(self.column[row]) == column
        total = self.sums[column] - self.vectors[row] if is_own else self.sums[column]
        length = float(np.linalg.norm(total))
        n_left = int(self.counts[column]) - is_own
        return float(total @ self.vectors[row]) / length if n_left > 0 and length > EMPTY_LENGTH else -1.0


@dataclass(slots=True)
class Survey:
    """What one pass over the index says of a gallery.

    Attributes:
        others: For each row of the batch the other people near it, most similar first, as places in the sorted identity ids.
        copies: Score of two rows, the earlier first, that look like one picture under two labels.
        missing: Templates that the index cannot find.
        misowned: Templates that it counts to another person than the batch does.
    """

    others: list[list[int]]
    copies: dict[tuple[int, int], float]
    missing: list[int]
    misowned: set[int]


def survey(batch: TemplateBatch, index: GalleryIndex) -> Survey:
    """Search every template of a gallery once.

    Args:
        batch: All templates of the gallery.
        index: The index that holds them.
    """
    gallery = _Gallery(batch)
    ids = [int(key) for key in batch.template_ids.tolist()]
    found = Survey([], {}, [], set())
    for start in range(0, len(ids), SEARCHED_AT_ONCE):
        rows = range(start, min(start + SEARCHED_AT_ONCE, len(ids)))
        probes = [Template(batch.vectors[row], batch.embedder_id) for row in rows]
        for row, probe, neighbours in zip(rows, probes, index.search_many(probes, NEIGHBOURS + 1), strict=True):
            if not index.scores_of(probe, (ids[row],)):
                found.missing.append(ids[row])
            others = []
            for near in neighbours:
                place = gallery.row_of.get(near.template_id)
                if place is None:
                    continue  # the index is ahead of the batch
                owner = int(batch.identity_ids[place])
                if owner != near.identity_id:
                    found.misowned.add(near.template_id)
                elif owner != int(batch.identity_ids[row]):
                    others.append(int(gallery.column[place]))
                    if near.score >= NEAR_IDENTICAL:
                        found.copies[min(row, place), max(row, place)] = near.score
            found.others.append(others)
    return found


def examine(batch: TemplateBatch, seen: Survey, points: OperatingPoints, rule: ExaminationRule = DEFAULT_RULE) -> Examination:
    """Return what is probably wrong with a gallery.

    Args:
        batch: All templates of the gallery.
        seen: What ``survey`` found in it.
        points: The embedder's operating points.
        rule: When something is wrong enough to be said.
    """
    gallery = _Gallery(batch)
    columns = range(len(gallery.people))
    misplaced = [one for column in columns for one in _misplaced(gallery, column, seen.others, points, rule)]
    moved = {gallery.row_of[one.template_id] for one in misplaced}
    strangers = [one for column in columns for one in _strangers(gallery, column, moved, points, rule)]
    return Examination(
        misplaced=(
            *sorted(misplaced, key=lambda one: one.own_score - (one.other_score or 0.0)),
            *sorted(strangers, key=lambda one: one.own_score),
        ),
        duplicates=_duplicates(gallery, seen.others, points, rule),
        near_identical=_near_identical(gallery, seen.copies),
        missing=tuple(seen.missing),
        misowned=tuple(sorted(seen.misowned)),
    )


def _misplaced(
    gallery: _Gallery, column: int, others: Sequence[Sequence[int]], points: OperatingPoints, rule: ExaminationRule
) -> Iterator[Misplaced]:
    """Yield a label's wrong photographs, the worst first.

    Each is set aside before the next is looked for: one wrong photograph among three makes the two right ones look wrong too.
    """
    low, high = points.at_fmr(rule.own_fmr).threshold, points.at_fmr(rule.other_fmr).threshold
    elsewhere = {}
    for row in gallery.rows_of(column):
        scores = [(gallery.score(row, other), other) for other in others[row]]
        if scores and max(scores)[0] >= high:
            elsewhere[row] = max(scores)
    while elsewhere and gallery.counts[column] > 1:
        own = {row: gallery.score(row, column) for row in elsewhere}
        worst = max(elsewhere, key=lambda row: (elsewhere[row][0] - own[row], row))
        score, other = elsewhere.pop(worst)
        if score - own[worst] < rule.margin * high:
            return
        if own[worst] < low:
            gallery.set_aside(worst)
            ids = (int(gallery.batch.template_ids[worst]), int(gallery.people[column]), int(gallery.people[other]))
            yield Misplaced(*ids, own[worst], score)


def _strangers(
    gallery: _Gallery, column: int, moved: set[int], points: OperatingPoints, rule: ExaminationRule
) -> Iterator[Misplaced]:
    """Yield the photographs that resemble neither their label's others, two or more, nor anybody else enough."""
    if gallery.counts[column] < 3:
        return
    low = points.at_fmr(rule.stranger_fmr).threshold
    for row in gallery.rows_of(column):
        own = gallery.score(row, column) if row not in moved else 1.0
        if own < low:
            yield Misplaced(int(gallery.batch.template_ids[row]), int(gallery.people[column]), None, own, None)


def _duplicates(
    gallery: _Gallery, others: Sequence[Sequence[int]], points: OperatingPoints, rule: ExaminationRule
) -> tuple[Duplicate, ...]:
    """Return the pairs of labels whose photographs, those set aside left out, score alike on average."""
    near = {
        (min(int(gallery.column[row]), other), max(int(gallery.column[row]), other))
        for row, columns in enumerate(others)
        for other in columns
    }
    pairs = np.array(sorted(near), dtype=np.int64).reshape(-1, 2)
    n_each = gallery.counts[pairs]
    n_pairs = len(gallery.people) * (len(gallery.people) - 1) // 2
    usual, single = points.at_fmr(rule.duplicate_fmr).threshold, points.at_fpir(DUPLICATE_RATE, n_pairs)
    found = []
    for (a, b), (n_a, n_b) in zip(pairs.tolist(), n_each.tolist(), strict=True):
        if not n_a or not n_b:
            continue
        score = float(gallery.sums[a] @ gallery.sums[b]) / (n_a * n_b)
        is_single = min(n_a, n_b) == 1
        if score >= (max(single.threshold, usual) if is_single else usual):
            few, many = (a, b) if (n_a, b) <= (n_b, a) else (b, a)
            is_probable = not is_single or single.is_supported
            found.append(Duplicate(int(gallery.people[few]), int(gallery.people[many]), min(1.0, score), n_a * n_b, is_probable))
    return tuple(sorted(found, key=lambda one: (not one.is_probable, -one.score, one.identity_id)))


def _near_identical(gallery: _Gallery, copies: dict[tuple[int, int], float]) -> tuple[NearIdentical, ...]:
    """Return copies across labels, which the index found, and those within a label, which its best template a person hides."""
    found = dict(copies)
    for column in range(len(gallery.people)):
        rows = gallery.rows_of(column)
        for start in range(1, len(rows), SEARCHED_AT_ONCE):
            later = rows[start : start + SEARCHED_AT_ONCE]
            scores = gallery.vectors[later] @ gallery.vectors[rows].T
            for place, row in enumerate(later, start=start):
                first = np.flatnonzero(scores[place - start, :place] >= NEAR_IDENTICAL)
                if len(first):
                    found[rows[int(first[0])], row] = float(scores[place - start, first[0]])
    ids, owners = gallery.batch.template_ids.tolist(), gallery.batch.identity_ids.tolist()
    listed = [
        NearIdentical(ids[later], ids[early], owners[later], owners[early], min(1.0, score))
        for (early, later), score in found.items()
    ]
    return tuple(sorted(listed, key=lambda one: (-one.score, one.template_id)))
