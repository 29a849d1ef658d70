"""Wrong labels among crops: who is under the wrong name, who has two names, and who is in the data that will be measured on.

Arithmetic on templates: it embeds nothing and writes nothing. What another label's photographs resemble is found by searching an
index (HNSW where the crops are many); what holds together within a label by density (DBSCAN, Ester et al. 1996). Wrong labels that
resemble another label, and labels of one person, are found by the gallery doctor's examination.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.decision import OperatingPoints
from facesearch.core.protocols import GalleryIndex, IndexFactory
from facesearch.core.template import Template, TemplateBatch
from facesearch.service.gallery_examination import (
    NEAR_IDENTICAL,
    SEARCHED_AT_ONCE,
    Duplicate,
    ExaminationRule,
    Misplaced,
    Survey,
    examine,
    survey,
)
from facesearch.training.cleaned_list import PersonDecision, PersonFinding, RowDecision, RowFinding

NEIGHBOURS = 5
"""People of the other data looked at for each crop."""

MAX_SQUARE = 4096
"""Crops of one label whose scores are all computed against all at once (134 MB); of more, so many drawn at random decide what holds
together, and the rest is compared with that."""


@dataclass(frozen=True, slots=True)
class CleaningRule:
    """When a label is wrong enough to be changed. docs/training.md says how the defaults were chosen.

    Attributes:
        own_fmr: A crop is moved when its score against the mean of its label's others is below the threshold at this FMR …
        other_fpir: … that against the mean of another label reaches the threshold at which this share of people would be taken for
            one of all the labels that there are …
        margin: … and the second exceeds the first by this share of that threshold.
        link_fmr: Crops of a label whose score reaches the threshold at this FMR hold together; the most that do are its main
            cluster.
        drop_fmr: A crop outside the main cluster is dropped when its score against that cluster's mean is below the threshold at
            this FMR.
        flag_fmr: Two labels are flagged when the mean of the scores of all their photographs reaches the threshold at this FMR …
        merge_fpir: … and merged from the threshold at which this share of people would be taken for one of all the labels that
            there are, where each has two photographs.
        exclude_fmr: A label is somebody of the other data likewise, where several photographs can be compared …
        exclude_fpir: … and where it is one with one, from the threshold at which this share of people would be taken for somebody
            of the other data.
        is_strict: Whether crops that would be flagged are dropped.
    """

    own_fmr: float = 1e-5
    other_fpir: float = 1e-2
    margin: float = 0.3
    link_fmr: float = 1e-3
    drop_fmr: float = 1e-3
    flag_fmr: float = 1e-5
    merge_fpir: float = 1e-2
    exclude_fmr: float = 1e-5
    exclude_fpir: float = 1e-2
    is_strict: bool = False

    def examination(self, n_people: int) -> ExaminationRule:
        """Return the gallery doctor's rule for what resembles another one of so many labels."""
        return ExaminationRule(self.own_fmr, self.other_fpir / max(1, n_people), self.margin, self.flag_fmr)


DEFAULT_RULE = CleaningRule()


@dataclass(frozen=True, eq=False)
class LabelledTemplates:
    """Templates of crops with their people.

    Attributes:
        vectors: float32 ``(N, D)``, unit norm.
        labels: int64 ``(N,)``, places in ``people``.
        people: Names.
        rows: int64 ``(N,)``, the crop's place in its store.
        paths: The photograph of each.
        embedder_id: Of every row.
    """

    vectors: Vectors
    labels: NDArray[np.int64]
    people: tuple[str, ...]
    rows: NDArray[np.int64]
    paths: Sequence[str]
    embedder_id: str

    def batch(self) -> TemplateBatch:
        """Return the templates as an index takes them: ids are places in ``rows``, identities places in ``people``."""
        return TemplateBatch(np.arange(len(self.labels)), self.labels, self.vectors, self.embedder_id)


@dataclass(frozen=True)
class Findings:
    """All decisions.

    Attributes:
        rows: About crops, by row.
        people: About labels, by label; the surest merger first within one.
    """

    rows: tuple[RowFinding, ...]
    people: tuple[PersonFinding, ...]


def clean(
    given: LabelledTemplates,
    indexes: IndexFactory,
    points: OperatingPoints,
    rule: CleaningRule = DEFAULT_RULE,
    *,
    against: Sequence[tuple[str, LabelledTemplates]] = (),
    seen: Survey | None = None,
) -> Findings:
    """Return what to do about crops and labels.

    Args:
        given: The crops.
        indexes: Makes the index that is searched.
        points: The embedder's operating points.
        rule: When a label is wrong enough to be changed.
        against: Other data by name, whose people are to be excluded.
        seen: What a survey of the crops found, where it was made already.
    """
    batch = given.batch()
    seen = survey(batch, index_of(batch, indexes)) if seen is None else seen
    found = examine(batch, seen, points, rule.examination(len(given.people)))
    moved = {one.template_id: one for one in found.misplaced if one.other_id is not None}
    rows = [*(_moved(given, one) for one in moved.values()), *_unlike_their_label(given, moved, points, rule)]
    dropped = {one.row for one in rows if one.decision is RowDecision.DROPPED}
    counts = np.bincount(np.delete(given.labels, list(moved)), minlength=len(given.people))
    people = _overlapping(given, found.duplicates, counts, points.at_fpir(rule.merge_fpir, len(given.people)).threshold)
    if against:
        kept = _relabelled(given, moved, dropped)
        usual = points.at_fmr(rule.exclude_fmr).threshold
        for name, other in against:
            single = max(usual, points.at_fpir(rule.exclude_fpir, len(other.people)).threshold)
            people += _in_other_data(kept, name, other, indexes, (usual, single))
    return Findings(
        tuple(sorted(rows, key=lambda one: one.row)),
        tuple(sorted(people, key=lambda one: (one.person, -one.score))),
    )


def index_of(batch: TemplateBatch, indexes: IndexFactory) -> GalleryIndex:
    """Return an index of a batch."""
    index = indexes.empty(len(batch))
    if len(batch):
        index.add(batch, revision=1)
    return index


def main_cluster(vectors: Vectors, threshold: float) -> tuple[NDArray[np.bool_], bool]:
    """Return which templates of a label hold together, and whether that settles who the label is.

    Density clustering with a core of two: the connected components of the graph that joins templates whose score reaches the
    threshold, those of one template left out. The largest is the main cluster; of equals the one that is most alike in itself.

    Args:
        vectors: float32 ``(N, D)`` of one label, N at least 1.
        threshold: Score that joins two.

    Returns:
        bool ``(N,)``, all False where nothing holds together; and whether the main cluster is larger than any other.
    """
    from sklearn.cluster import DBSCAN

    wide = vectors.astype(np.float64)
    distances = np.clip(1.0 - wide @ wide.T, 0.0, 2.0)
    clusters = DBSCAN(eps=1.0 - threshold, min_samples=2, metric="precomputed").fit_predict(distances)
    n_clusters = int(clusters.max()) + 1
    if not n_clusters:
        return np.zeros(len(vectors), dtype=np.bool_), False
    sizes = np.bincount(clusters[clusters >= 0], minlength=n_clusters)
    lengths = [float(np.linalg.norm(wide[clusters == one].sum(axis=0))) for one in range(n_clusters)]
    order = sorted(range(n_clusters), key=lambda one: (-sizes[one], -lengths[one]))
    is_settled = n_clusters == 1 or sizes[order[0]] > sizes[order[1]]
    return clusters == order[0], bool(is_settled)


def _moved(given: LabelledTemplates, one: Misplaced) -> RowFinding:
    other = given.people[one.other_id if one.other_id is not None else -1]
    return RowFinding(
        int(given.rows[one.template_id]),
        given.paths[one.template_id],
        given.people[one.identity_id],
        RowDecision.MOVED,
        "unlike its label's other photographs, and much more like another label's",
        other,
        round(one.own_score, 4),
        round(one.other_score, 4) if one.other_score is not None else None,
    )


def _unlike_their_label(
    given: LabelledTemplates, moved: Mapping[int, Misplaced], points: OperatingPoints, rule: CleaningRule
) -> Iterator[RowFinding]:
    """Yield the crops that do not belong to their label's main cluster: dropped where there is one, else flagged."""
    link, low = points.at_fmr(rule.link_fmr).threshold, points.at_fmr(rule.drop_fmr).threshold
    unsure = RowDecision.DROPPED if rule.is_strict else RowDecision.FLAGGED
    for column, places in enumerate(_places_by_person(given)):
        left = np.array([one for one in places.tolist() if one not in moved], dtype=np.int64)
        if len(left) < 2:
            continue
        vectors = given.vectors[left]
        drawn = _drawn(len(left))
        is_main, is_settled = main_cluster(vectors[drawn], link)
        if not is_main.any():
            if len(left) > 2 or float(vectors[0] @ vectors[1]) < low:
                reason = f"none of the label's {len(left)} photographs is like another"
                yield from (_row(given, int(one), column, unsure, reason, None) for one in left)
            continue
        in_main = np.zeros(len(left), dtype=np.bool_)
        in_main[drawn[is_main]] = True
        total = vectors[in_main].astype(np.float64).sum(axis=0)
        scores = vectors @ (total / np.linalg.norm(total))
        for place in np.flatnonzero(~in_main & (scores < low)).tolist():
            decision = RowDecision.DROPPED if is_settled else unsure
            of = f"the {int(in_main.sum())} of the label's {len(left)} photographs that hold together"
            reason = f"unlike {of}" if is_settled else f"unlike {of}; as many others do"
            yield _row(given, int(left[place]), column, decision, reason, float(scores[place]))


def _row(given: LabelledTemplates, place: int, column: int, decision: RowDecision, reason: str, score: float | None) -> RowFinding:
    own = None if score is None else round(score, 4)
    return RowFinding(int(given.rows[place]), given.paths[place], given.people[column], decision, reason, own_score=own)


def _drawn(n: int) -> NDArray[np.int64]:
    """Return the places that decide what holds together: all, or as many as are compared with each other, always the same."""
    if n <= MAX_SQUARE:
        return np.arange(n, dtype=np.int64)
    return np.sort(np.random.default_rng(n).choice(n, MAX_SQUARE, replace=False)).astype(np.int64)


def _places_by_person(given: LabelledTemplates) -> list[NDArray[np.int64]]:
    order = np.argsort(given.labels, kind="stable")
    ends = np.cumsum(np.bincount(given.labels, minlength=len(given.people)))
    return np.split(order, ends[:-1]) if len(given.people) else []


def _overlapping(
    given: LabelledTemplates, duplicates: Sequence[Duplicate], counts: NDArray[np.int64], threshold: float
) -> list[PersonFinding]:
    """Return the labels that are merged, each into one other, and those that are only flagged.

    Args:
        given: The crops.
        duplicates: Labels that are alike, the surest first.
        counts: Photographs of each label, those moved away left out: what was compared.
        threshold: Score from which they are merged.
    """
    merged: set[str] = set()
    found = []
    for one in duplicates:
        person, other = given.people[one.identity_id], given.people[one.other_id]
        decision, reason = PersonDecision.FLAGGED, "alike on average, not enough to be sure"
        if min(counts[one.identity_id], counts[one.other_id]) < 2:
            reason = "alike; one photograph is too little to be sure"
        elif one.score >= threshold and person in merged:
            reason = "alike on average, as with a third label"
        elif one.score >= threshold:
            decision, reason = PersonDecision.MERGED, "their photographs are alike on average"
            merged.add(person)
        found.append(PersonFinding(person, decision, other, reason, round(one.score, 4), one.n_comparisons))
    return found


def _relabelled(given: LabelledTemplates, moved: Mapping[int, Misplaced], dropped: set[int]) -> LabelledTemplates:
    labels = given.labels.copy()
    for place, one in moved.items():
        labels[place] = one.other_id if one.other_id is not None else labels[place]
    kept = np.flatnonzero([row not in dropped for row in given.rows.tolist()])
    paths = [given.paths[place] for place in kept.tolist()]
    return LabelledTemplates(given.vectors[kept], labels[kept], given.people, given.rows[kept], paths, given.embedder_id)


def _in_other_data(
    given: LabelledTemplates, name: str, other: LabelledTemplates, indexes: IndexFactory, thresholds: tuple[float, float]
) -> Iterator[PersonFinding]:
    """Yield the labels of people who are in other data too: alike on average, or with one picture in both.

    Args:
        given: The crops.
        name: What the other data is called.
        other: Its templates.
        indexes: Makes its index.
        thresholds: For the mean of several scores, and for a single one.
    """
    index = index_of(other.batch(), indexes)
    near: set[tuple[int, int]] = set()
    copies: dict[tuple[int, int], float] = {}
    for start in range(0, len(given.labels), SEARCHED_AT_ONCE):
        places = range(start, min(start + SEARCHED_AT_ONCE, len(given.labels)))
        probes = [Template(given.vectors[place], given.embedder_id) for place in places]
        for place, neighbours in zip(places, index.search_many(probes, NEIGHBOURS), strict=True):
            for one in neighbours:
                pair = int(given.labels[place]), one.identity_id
                near.add(pair)
                if one.score >= NEAR_IDENTICAL:
                    copies[pair] = max(one.score, copies.get(pair, -1.0))
    own_sums, own_counts = _sums(given)
    sums, counts = _sums(other)
    best: dict[int, PersonFinding] = {}
    for column, place in sorted(near):
        n = int(own_counts[column] * counts[place])
        score = float(own_sums[column] @ sums[place]) / n
        copied = copies.get((column, place))
        if score < thresholds[n == 1] and copied is None:
            continue
        reason = "the same picture is in both" if copied is not None else "their photographs are alike on average"
        shown = round(min(1.0, score), 4)
        found = PersonFinding(given.people[column], PersonDecision.EXCLUDED, f"{other.people[place]} of {name}", reason, shown, n)
        if column not in best or found.score > best[column].score:
            best[column] = found
    yield from best.values()


def _sums(given: LabelledTemplates) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Return the sum of each person's vectors, and how many they are."""
    sums = np.zeros((len(given.people), given.vectors.shape[1]))
    np.add.at(sums, given.labels, given.vectors.astype(np.float64))
    return sums, np.bincount(given.labels, minlength=len(given.people)).astype(np.int64)
