"""Error rates of groups of people at the threshold that all of them share.

A false match is counted between two people of the same group: strangers who look alike mostly share age, sex and origin, and rates
over mixed pairs would hide that. It chooses no threshold a group: one system has one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import AllPairsPoint, all_pairs
from facesearch.evaluation.evidence import MIN_FALSE, MIN_PERSON_PAIRS
from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.service.evaluation_data import KnownPeople
from facesearch.service.evaluation_intervals import Interval, all_pairs_intervals
from facesearch.service.photograph_lists import Attributes

MIN_MATED_PEOPLE = 10
"""People with two photographs that a group's FNMR needs: below, one person is more than a tenth of it."""

Share = Rate | WeightedRate


@dataclass(frozen=True, slots=True)
class GroupPoint:
    """A group's error rates at one threshold.

    Attributes:
        fmr: The FMR that the threshold keeps over everybody.
        threshold: Common to all groups.
        false_matches: Share of the group's non-mated pairs that match, or None where there are none.
        non_matches: Share of the group's mated pairs that do not match, or None where there are none.
        fmr_interval: 95 % interval of the first, or None.
        fnmr_interval: 95 % interval of the second, or None.
        remark: What is too little to say, or empty.
    """

    fmr: float
    threshold: float
    false_matches: Share | None
    non_matches: Share | None
    fmr_interval: Interval | None = None
    fnmr_interval: Interval | None = None
    remark: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "fmr": self.fmr,
            "threshold": self.threshold,
            "false_matches": None if self.false_matches is None else self.false_matches.as_dict(),
            "false_matches_interval": None if self.fmr_interval is None else list(self.fmr_interval),
            "non_matches": None if self.non_matches is None else self.non_matches.as_dict(),
            "non_matches_interval": None if self.fnmr_interval is None else list(self.fnmr_interval),
            "remark": self.remark,
        }


@dataclass(frozen=True, slots=True)
class GroupRates:
    """One group.

    Attributes:
        group: Value of the attribute.
        n_photographs: Its photographs, failures included.
        n_people: Its people.
        points: One at each threshold, loosest first.
    """

    group: str
    n_photographs: int
    n_people: int
    points: tuple[GroupPoint, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        points = [point.as_dict() for point in self.points]
        return {"group": self.group, "n_photographs": self.n_photographs, "n_people": self.n_people, "points": points}


def complement(rate: Share) -> Share:
    """Return the share of everything else: FNMR for TAR."""
    if isinstance(rate, Rate):
        return Rate(rate.total - rate.count, rate.total)
    return WeightedRate(max(0.0, 1.0 - rate.value), rate.total - rate.count, rate.total, rate.n_units, rate.unit)


def groups_of_people(
    known: KnownPeople, attributes: Attributes, points: Sequence[AllPairsPoint]
) -> tuple[tuple[GroupRates, ...], int]:
    """Return every group's rates by the group's name, and the number of photographs in no group.

    A person whose photographs bear different values is in each of those groups with the photographs that bear it.

    Args:
        known: Photographs and their people.
        attributes: The groups.
        points: The common thresholds and the FMRs they were set for.

    Raises:
        InputError: No photograph has the attribute.
    """
    values = [attributes.of(path, label) for path, label in zip(known.paths, known.labels.tolist(), strict=True)]
    unstated = sum(value is None for value in values)
    if unstated == len(values):
        raise InputError(
            f"none of the {len(values)} photographs has a {attributes.column}: the files and labels of the attributes' CSV are "
            "those of the folder, paths relative to it",
            column=attributes.column,
        )
    groups = []
    for group in sorted({value for value in values if value is not None}):
        chosen = known.some(np.array([value == group for value in values]))
        groups.append(_group(group, chosen, points))
    return tuple(groups), unstated


def _group(group: str, known: KnownPeople, points: Sequence[AllPairsPoint]) -> GroupRates:
    people, counts = np.unique(known.labels, return_counts=True)
    n_mated_people = int((counts >= 2).sum())
    if len(people) < 2 or n_mated_people == 0:
        what = f"too small to say: {len(known)} photographs of {len(people)} people, {n_mated_people} with two or more"
        empty = tuple(GroupPoint(_asked(point), point.threshold, None, None, remark=what) for point in points)
        return GroupRates(group, len(known), len(people), empty)
    pairs = all_pairs(known.vectors, known.labels, n_worst=0)
    intervals = all_pairs_intervals(known, pairs, [point.threshold for point in points])
    rates = []
    for point, ends in zip(points, intervals, strict=True):
        here = pairs.at_threshold(point.threshold)
        remark = too_small(_asked(point), here.false_matches, pairs.n_person_pairs, n_mated_people)
        rates.append(
            GroupPoint(_asked(point), point.threshold, here.false_matches, complement(here.tar), ends.fmr, ends.fnmr, remark)
        )
    return GroupRates(group, len(known), len(people), tuple(rates))


def _asked(point: AllPairsPoint) -> float:
    return point.fmr if point.fmr is not None else point.false_matches.value


def too_small(fmr: float, false_matches: Share | None, n_person_pairs: int | None, n_mated_people: int) -> str:
    """Say which rate of a group rests on too little, or nothing.

    Args:
        fmr: The rate that the threshold keeps over everybody.
        false_matches: The group's share, or None where it has no non-mated pair.
        n_person_pairs: Pairs of people compared, or None where only the comparisons are to be judged.
        n_mated_people: People with two photographs compared.
    """
    said = []
    if false_matches is None:
        said.append("FMR too small to say: no comparison of two people")
    elif false_matches.total * fmr * (1.0 + 1e-9) < MIN_FALSE:
        expected = f"{false_matches.total * fmr:.2g}"
        said.append(f"FMR too small to say: {expected} false matches expected of {false_matches.total} comparisons")
    elif n_person_pairs is not None and n_person_pairs < MIN_PERSON_PAIRS:
        said.append(f"FMR too small to say: {n_person_pairs} pairs of people")
    if n_mated_people < MIN_MATED_PEOPLE:
        said.append(f"FNMR too small to say: {n_mated_people} people with two photographs")
    return "; ".join(said)
