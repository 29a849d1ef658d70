"""What refusing photographs of low quality gains on people who are known: the error-versus-reject curve and the gates.

It measures no quality and sets no gate: see ``facesearch.core.quality``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import InputError
from facesearch.core.quality import Quality, QualityGate
from facesearch.evaluation.all_pairs import AllPairs, AllPairsPoint
from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.evaluation.reject import MatedPairs, RejectPoint, error_versus_reject, keep_best
from facesearch.service.evaluation_data import KnownPeople
from facesearch.service.evaluation_intervals import Interval, weighted_intervals

CURVE_FMRS = (1e-3, 1e-2)
"""FMRs whose threshold the curve may be of: the first one that the photographs support."""

SHARES = tuple(percent / 100 for percent in range(21))
"""Shares of photographs refused that the curve is drawn through; a door that refuses more than a fifth is no door."""

LISTED_SHARES = (0.0, 0.01, 0.02, 0.05, 0.10, 0.20)
"""Those of them that are listed with their counts."""

MAX_MATED_PAIRS = 3_000_000
"""Comparisons of one person held at a time, some 50 bytes each; one person with 2,500 photographs has as many."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """What refusing some photographs leaves.

    Attributes:
        name: The share asked for (``"5 %"``) or the gate (``"gate standard"``).
        refused: Share of the photographs with a face that are refused.
        fnmr: Share of the comparisons left that are missed, every person weighing the same.
        interval: Its 95 % interval by resampling people, or None where they are too few.
    """

    name: str
    refused: Rate
    fnmr: WeightedRate
    interval: Interval | None

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "name": self.name,
            "refused": self.refused.as_dict(),
            "fnmr": self.fnmr.as_dict(),
            "fnmr_interval": None if self.interval is None else list(self.interval),
        }


@dataclass(frozen=True, slots=True, eq=False)
class QualityCurve:
    """Error-versus-reject of one set of photographs.

    Attributes:
        point: The operating point whose threshold stays while photographs go.
        n_photographs: Photographs with a face.
        n_without_face: Photographs without one: they have no quality and are in none of these comparisons.
        curve: One point a share of ``SHARES``, as far as comparisons are left.
        listed: Those of ``LISTED_SHARES``, as far as comparisons are left.
        gates: What the gates leave, ``standard`` before ``strict``; a gate that leaves no comparison is left out.
    """

    point: AllPairsPoint
    n_photographs: int
    n_without_face: int
    curve: tuple[RejectPoint, ...]
    listed: tuple[Refusal, ...]
    gates: tuple[Refusal, ...]

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "fmr": self.point.fmr,
            "threshold": self.point.threshold,
            "n_photographs": self.n_photographs,
            "n_without_face": self.n_without_face,
            "points": [one.as_dict() for one in self.listed],
            "gates": [one.as_dict() for one in self.gates],
        }


def quality_curve(known: KnownPeople, pairs: AllPairs) -> QualityCurve:
    """Return the curve of photographs whose quality was measured.

    Photographs without a face are no part of it: nothing could be refused, and they would take the gain for themselves.

    Args:
        known: Photographs, people, templates and qualities.
        pairs: All pairs of the same, which set the threshold.

    Raises:
        InputError: No FMR is supported, no quality was measured, or the comparisons of one person are none or too many.
    """
    if not known.qualities:
        raise InputError("the quality of these photographs was not measured")
    point = next((point for point in map(pairs.at_fmr, CURVE_FMRS) if point.is_supported), None)
    if point is None:
        raise InputError(f"no threshold can be set for it: {pairs.at_fmr(CURVE_FMRS[-1]).answer}")
    qualities = [one for one in known.qualities if one is not None]
    mated = mated_pairs(known, point.threshold)
    scores = np.array([one.score for one in qualities])
    curve: list[RejectPoint] = []
    listed = []
    for share in SHARES:
        try:
            curve += error_versus_reject(mated, scores, (share,))
        except InputError:
            # Comparisons can run out: nobody is left with two photographs.
            break
        if share in LISTED_SHARES:
            listed.append(_refusal(f"{100 * share:g} %", mated, keep_best(scores, share)))
    gates = [_gate(gate, mated, qualities) for gate in (QualityGate.STANDARD, QualityGate.STRICT)]
    n_without = len(known) - len(qualities)
    found = tuple(one for one in gates if one is not None)
    return QualityCurve(point, len(qualities), n_without, tuple(curve), tuple(listed), found)


def mated_pairs(known: KnownPeople, threshold: float) -> MatedPairs:
    """Return all comparisons of one person, photographs numbered among those with a face.

    Raises:
        InputError: There are none, or more than ``MAX_MATED_PAIRS``.
    """
    rows = np.flatnonzero(~np.isnan(known.vectors[:, 0]))
    vectors, labels = known.vectors[rows], known.labels[rows]
    _, numbers, counts = np.unique(labels, return_inverse=True, return_counts=True)
    n_pairs = int((counts * (counts - 1) // 2).sum())
    if not 0 < n_pairs <= MAX_MATED_PAIRS:
        raise InputError(f"it takes comparisons of one person, at most {MAX_MATED_PAIRS:,}, and there are {n_pairs:,}")
    order = np.argsort(numbers, kind="stable")
    parts = []
    for person, members in enumerate(np.split(order, np.cumsum(counts)[:-1])):
        one, other = np.triu_indices(members.size, k=1)
        scores = (vectors[members] @ vectors[members].T)[one, other]
        parts.append((members[one], members[other], np.full(one.size, person), scores < threshold))
    first, second, people, is_missed = (np.concatenate(column) for column in zip(*parts, strict=True))
    return MatedPairs(first, second, people, is_missed)


def _gate(gate: QualityGate, mated: MatedPairs, qualities: list[Quality]) -> Refusal | None:
    """Return what a gate leaves, or None where that is no comparison."""
    is_kept = np.array([not one.shortfalls(gate) for one in qualities])
    if not (is_kept[mated.first] & is_kept[mated.second]).any():
        return None
    return _refusal(f"gate {gate}", mated, is_kept)


def _refusal(name: str, mated: MatedPairs, is_kept: NDArray[np.bool_]) -> Refusal:
    left = is_kept[mated.first] & is_kept[mated.second]
    found = mated.fnmr(is_kept)
    fnmr = WeightedRate(found.by_person, found.pooled.count, found.pooled.total, found.n_people)
    _, people, n_pairs = np.unique(mated.person[left], return_inverse=True, return_counts=True)
    (interval,) = weighted_intervals(mated.is_missed[left][:, None], people, 1.0 / n_pairs[people])
    return Refusal(name, Rate(int((~is_kept).sum()), is_kept.size), fnmr, interval)
