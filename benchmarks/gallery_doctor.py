"""Precision and recall of the gallery doctor on faults planted in LFW.

Usage::

    python benchmarks/gallery_doctor.py --lfw LFW [--templates FILE.npz] [--seeds 5] [--choose]

Planted: 2 % of the labels of people with three or more photographs shuffled among each other, and 50 people with four or more
photographs split in two labels. Only probable findings count. A wrong label is right when the photograph was shuffled, a duplicate
when both labels are of one person; LFW's own wrong labels and people under two names, which the doctor finds as well, count as its
errors. ``--choose`` tries rules on one half of the folds (five seeds) and reports the best of them, by F1, on the other half, both
ways round; without it the shipped rule runs on all of LFW.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from lfw_gallery import LfwTemplates, lfw_templates

from facesearch.core.decision import OperatingPoints
from facesearch.core.template import TemplateBatch
from facesearch.embedding.registry import card
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery_examination import Examination, ExaminationRule, Survey, examine, survey

SHUFFLED_SHARE = 0.02
SPLIT_PEOPLE = 50
NEW_LABELS = 1_000_000


@dataclass(frozen=True, eq=False)
class Planted:
    """A gallery with faults.

    Attributes:
        batch: Template ids are rows of LFW plus one, identity ids the labels plus one.
        truth: The person of each row.
        shuffled: Template ids with a wrong label.
        halves: The new label's identity id of each person split, by the person's own.
        seen: The survey of the gallery.
    """

    batch: TemplateBatch
    truth: dict[int, int]
    shuffled: frozenset[int]
    halves: dict[int, int]
    seen: Survey


@dataclass
class Counts:
    """Found, right among them, and planted."""

    found: int = 0
    right: int = 0
    planted: int = 0

    def add(self, other: Counts) -> None:
        """Add another gallery's."""
        self.found += other.found
        self.right += other.right
        self.planted += other.planted

    @property
    def precision(self) -> float:
        """Right of those found."""
        return self.right / max(1, self.found)

    @property
    def recall(self) -> float:
        """Right of those planted."""
        return self.right / max(1, self.planted)

    @property
    def f1(self) -> float:
        """Harmonic mean of both."""
        return 2 * self.right / max(1, self.found + self.planted)

    def __str__(self) -> str:
        """Return both with their counts."""
        found, planted = f"({self.right}/{self.found})", f"({self.right}/{self.planted})"
        return f"precision {self.precision:6.1%} {found:>9}  recall {self.recall:6.1%} {planted:>9}"


def planted(data: LfwTemplates, rows: np.ndarray, seed: int) -> Planted:
    """Plant faults among some photographs."""
    rng = np.random.default_rng(seed)
    truth = data.people[rows] + 1
    labels = truth.copy()
    counts = np.bincount(truth)
    halves = {}
    for person in rng.choice(np.flatnonzero(counts >= 4), SPLIT_PEOPLE, replace=False).tolist():
        own = rng.permutation(np.flatnonzero(truth == person))
        labels[own[: len(own) // 2]] = halves[person] = NEW_LABELS + person
    eligible = np.flatnonzero(counts[truth] >= 3)
    chosen = rng.choice(eligible, round(SHUFFLED_SHARE * len(eligible)), replace=False)
    shift = rng.permutation(len(chosen))
    while (truth[chosen] == truth[chosen[shift]]).any():
        shift = rng.permutation(len(chosen))
    labels[chosen] = labels[chosen[shift]]
    ids = rows + 1
    batch = TemplateBatch(ids, labels, data.vectors[rows], EMBEDDER_ID)
    index = GalleryIndexFactory(EMBEDDER_ID, batch.vectors.shape[1], IndexOptions()).empty(len(batch))
    index.add(batch, revision=1)
    people = dict(zip(ids.tolist(), truth.tolist(), strict=True))
    return Planted(batch, people, frozenset(ids[chosen].tolist()), halves, survey(batch, index))


def judged(gallery: Planted, found: Examination) -> tuple[Counts, Counts, int]:
    """Return the counts of wrong labels and of duplicates, and how many wrong labels were also given the right person."""
    moves = [one for one in found.misplaced if one.other_id is not None]
    right = [one for one in moves if one.template_id in gallery.shuffled]
    n_home = sum((one.other_id or 0) % NEW_LABELS == gallery.truth[one.template_id] for one in right)
    pairs = [one for one in found.duplicates if one.is_probable]
    n_same = sum(one.identity_id % NEW_LABELS == one.other_id % NEW_LABELS for one in pairs)
    return Counts(len(moves), len(right), len(gallery.shuffled)), Counts(len(pairs), n_same, len(gallery.halves)), n_home


def rules() -> Iterator[ExaminationRule]:
    """Yield the rules tried."""
    for own, margin, duplicate in product((1e-3, 1e-4), (0.4, 0.6, 0.8, 1.0), (1e-4, 1e-5, 1e-6)):
        yield ExaminationRule(own_fmr=own, margin=margin, duplicate_fmr=duplicate)


def summed(galleries: Sequence[Planted], points: OperatingPoints, rule: ExaminationRule) -> tuple[Counts, Counts]:
    """Return the counts of several galleries together."""
    labels, people = Counts(), Counts()
    for gallery in galleries:
        one = judged(gallery, examine(gallery.batch, gallery.seen, points, rule))
        labels.add(one[0])
        people.add(one[1])
    return labels, people


def report(galleries: Sequence[Planted], points: OperatingPoints, rule: ExaminationRule) -> None:
    """Print a line a seed and fault, and the sum of all."""
    for seed, gallery in enumerate(galleries):
        found = examine(gallery.batch, gallery.seen, points, rule)
        labels, people, n_home = judged(gallery, found)
        possible = sum(one.other_id is None for one in found.misplaced), sum(not one.is_probable for one in found.duplicates)
        print(f"  seed {seed} wrong labels {labels}, {n_home} given the right person; possible besides: {possible[0]}")
        print(f"  seed {seed} duplicates   {people}; possible besides: {possible[1]}")
    labels, people = summed(galleries, points, rule)
    print(f"  all    wrong labels {labels}\n  all    duplicates   {people}")
    labels.add(people)
    print(f"  all    both         {labels}\n")


EMBEDDER_ID = card("mobilenet-128").embedder_id(flip=False)


def main() -> None:
    """Print precision and recall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--templates", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choose", action="store_true")
    options = parser.parse_args()
    data = lfw_templates(options.lfw, options.templates)
    points = card("mobilenet-128").operating_points(flip=False)
    if not options.choose:
        began = time.perf_counter()
        galleries = [planted(data, np.arange(len(data.people)), seed) for seed in range(options.seeds)]
        seconds = (time.perf_counter() - began) / options.seeds
        print(f"all of LFW, shipped rule; survey of {len(data.people)} templates: {seconds:.1f} s")
        began = time.perf_counter()
        examine(galleries[0].batch, galleries[0].seen, points)
        print(f"examination {time.perf_counter() - began:.1f} s")
        report(galleries, points, ExaminationRule())
        return
    both = [[planted(data, np.flatnonzero(data.half == half), seed) for seed in range(options.seeds)] for half in (0, 1)]
    for fit in (0, 1):
        tried = {rule: summed(both[fit], points, rule) for rule in rules()}
        rule = max(tried, key=lambda one: tried[one][0].f1 + tried[one][1].f1)
        print(
            f"chosen on half {fit + 1}: {rule}\n  there: {tried[rule][0]}\n         {tried[rule][1]}\nreported on half {2 - fit}:"
        )
        report(both[1 - fit], points, rule)


if __name__ == "__main__":
    main()
