"""Precision and recall of `train clean` on wrong labels planted among the people of LFW with five or more photographs.

Usage::

    python benchmarks/label_noise.py --lfw LFW [--templates FILE.npz] [--seeds 5] [--choose]

Two kinds of noise, a tenth of the labels each. *Shuffled*: photographs exchange their labels, so whoever is under a wrong label has
a label of their own among the people. *Strangers*: photographs are replaced by those of people with one photograph, who belong to
nobody here. Found is a crop that is moved or dropped; right is one that was planted. LFW's own wrong labels, which are found as
well, count as errors. ``--choose`` tries rules on both kinds among the people of peopleDevTrain.txt (View 1), takes the best by F1,
and reports it on the people of peopleDevTest.txt, whom it has not seen, and on all; without it the shipped rule runs on those.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import astuple, dataclass
from itertools import product
from pathlib import Path

import numpy as np
from lfw_gallery import LfwTemplates, lfw_templates

from facesearch.core.decision import OperatingPoints
from facesearch.embedding.registry import card
from facesearch.evaluation.intervals import wilson_interval
from facesearch.evaluation.lfw import read_people
from facesearch.gallery.factory import GalleryIndexFactory
from facesearch.gallery.options import IndexOptions
from facesearch.service.gallery_examination import Survey, survey
from facesearch.training.cleaned_list import RowDecision
from facesearch.training.cleaning import DEFAULT_RULE, CleaningRule, LabelledTemplates, clean, index_of

NOISE = 0.1
LEAST_PHOTOGRAPHS = 5
CHOOSING_SEEDS = 3
EMBEDDER = card("mobilenet-128")
EMBEDDER_ID = EMBEDDER.embedder_id(flip=False)
INDEXES = GalleryIndexFactory(EMBEDDER_ID, EMBEDDER.dim, IndexOptions())


@dataclass(frozen=True, eq=False)
class Planted:
    """Crops with wrong labels among them.

    Attributes:
        given: What is cleaned.
        wrong: bool ``(N,)``.
        home: int64 ``(N,)``, the label of the person who is really shown; -1 for a stranger.
        seen: The survey of them.
    """

    given: LabelledTemplates
    wrong: np.ndarray
    home: np.ndarray
    seen: Survey


@dataclass
class Counts:
    """Found, right among them, planted, and moved to the person's own label."""

    found: int = 0
    right: int = 0
    planted: int = 0
    home: int = 0

    def add(self, other: Counts) -> None:
        """Add another seed's."""
        for name in ("found", "right", "planted", "home"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall."""
        return 2 * self.right / max(1, self.found + self.planted)

    def __str__(self) -> str:
        """Return both with their counts and intervals."""
        parts = []
        for name, total in (("precision", self.found), ("recall", self.planted)):
            low, high = wilson_interval(self.right, total)
            parts.append(f"{name} {self.right / max(1, total):6.2%} ({self.right}/{total}; 95 % {low:.1%}–{high:.1%})")
        return "  ".join(parts) + f"  moved home {self.home}"


def labelled(vectors: np.ndarray, labels: np.ndarray) -> LabelledTemplates:
    """Return templates with labels counted from 0."""
    people, columns = np.unique(labels, return_inverse=True)
    rows = np.arange(len(labels))
    return LabelledTemplates(vectors, columns, tuple(map(str, people.tolist())), rows, [str(row) for row in rows], EMBEDDER_ID)


def shuffled(data: LfwTemplates, rows: np.ndarray, seed: int) -> Planted:
    """Exchange labels of a tenth of the photographs; nobody keeps the own one."""
    rng = np.random.default_rng(seed)
    truth = data.people[rows]
    chosen = rng.choice(len(rows), round(NOISE * len(rows)), replace=False)
    order = rng.permutation(len(chosen))
    while len(same := np.flatnonzero(truth[chosen] == truth[chosen[order]])):
        other = rng.integers(len(chosen))
        order[same[0]], order[other] = order[other], order[same[0]]
    labels = truth.copy()
    labels[chosen] = truth[chosen[order]]
    return _planted(data.vectors[rows], labels, truth, np.isin(np.arange(len(rows)), chosen))


def strangers(data: LfwTemplates, rows: np.ndarray, seed: int) -> Planted:
    """Replace a tenth of the photographs by people with one photograph."""
    rng = np.random.default_rng(1000 + seed)
    alone = np.flatnonzero(np.bincount(data.people)[data.people] == 1)
    chosen = rng.choice(len(rows), round(NOISE * len(rows)), replace=False)
    taken = rows.copy()
    taken[chosen] = rng.choice(alone, len(chosen), replace=False)
    return _planted(data.vectors[taken], data.people[rows], data.people[taken], np.isin(np.arange(len(rows)), chosen))


def _planted(vectors: np.ndarray, labels: np.ndarray, truth: np.ndarray, wrong: np.ndarray) -> Planted:
    given = labelled(vectors, labels)
    number = {int(person): place for place, person in enumerate(given.people)}
    batch = given.batch()
    return Planted(given, wrong, np.array([number.get(int(one), -1) for one in truth]), survey(batch, index_of(batch, INDEXES)))


def judged(planted: Planted, points: OperatingPoints, rule: CleaningRule) -> Counts:
    """Return what a rule finds."""
    found = clean(planted.given, INDEXES, points, rule, seen=planted.seen).rows
    changed = [one for one in found if one.decision is not RowDecision.FLAGGED]
    n_right = sum(bool(planted.wrong[one.row]) for one in changed)
    n_home = sum(one.to is not None and planted.given.people.index(one.to) == planted.home[one.row] for one in changed)
    return Counts(len(changed), n_right, int(planted.wrong.sum()), n_home)


def rules() -> Iterator[CleaningRule]:
    """Yield the rules tried."""
    for own, other, margin, link, drop in product((1e-4, 1e-5), (1e-1, 1e-2, 1e-3), (0.3, 0.6), (1e-2, 1e-3), (1e-2, 1e-3)):
        yield CleaningRule(own_fmr=own, other_fpir=other, margin=margin, link_fmr=link, drop_fmr=drop)


def report(name: str, rows: np.ndarray, data: LfwTemplates, seeds: int, points: OperatingPoints, rule: CleaningRule) -> None:
    """Print both kinds of noise, a line a seed and the sum."""
    print(f"{name}: {len(np.unique(data.people[rows]))} people, {len(rows)} photographs")
    for kind, plant in (("shuffled ", shuffled), ("strangers", strangers)):
        total = Counts()
        for seed in range(seeds):
            one = judged(plant(data, rows, seed), points, rule)
            print(f"  {kind} seed {seed}  {one}")
            total.add(one)
        print(f"  {kind} all     {total}")
    one = judged(_planted(data.vectors[rows], data.people[rows], data.people[rows], np.zeros(len(rows), bool)), points, rule)
    print(f"  nothing planted  {one.found} of {len(rows)} moved or dropped, LFW's own wrong labels among them\n")


def main() -> None:
    """Print precision and recall."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True)
    parser.add_argument("--templates", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--choose", action="store_true")
    options = parser.parse_args()
    data = lfw_templates(options.lfw, options.templates)
    points = EMBEDDER.operating_points(flip=False)
    names = [person.name for person in read_people(options.lfw / "people.txt")]
    first = {person.name for person in read_people(options.lfw / "peopleDevTrain.txt")}
    is_first = np.array([name in first for name in names])[data.people]
    is_many = np.bincount(data.people)[data.people] >= LEAST_PHOTOGRAPHS
    fit, test, both = (np.flatnonzero(is_many & one) for one in (is_first, ~is_first, np.ones_like(is_first)))
    rule = DEFAULT_RULE
    if options.choose:
        planted = [plant(data, fit, seed) for seed in range(CHOOSING_SEEDS) for plant in (shuffled, strangers)]
        tried = {}
        for one in rules():
            tried[one] = Counts()
            for gallery in planted:
                tried[one].add(judged(gallery, points, one))
            print(f"{astuple(one)}  {tried[one]}", flush=True)
        rule = max(tried, key=lambda one: tried[one].f1)
        print(f"best by F1 on peopleDevTrain: {rule}")
    began = time.perf_counter()
    report("peopleDevTest (had no part in choosing)", test, data, options.seeds, points, rule)
    report("all, of whom 298 in 423 had a part in choosing", both, data, options.seeds, points, rule)
    print(f"{time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
