"""Error rates of photographs whose people are known: all pairs 1:1, an open-set search 1:N, and groups of people.

It reads no list and embeds nothing: see ``evaluate_folder`` and ``evaluate_lfw``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError
from facesearch.evaluation.all_pairs import AllPairs, AllPairsPoint, all_pairs
from facesearch.evaluation.intervals import WeightedRate, percent
from facesearch.evaluation.one_to_many import OpenSetPoint, cmc, fnir_at_fpir
from facesearch.evaluation.searches import SearchTrials
from facesearch.service.evaluate_groups import GroupRates, groups_of_people
from facesearch.service.evaluate_quality import QualityCurve, quality_curve
from facesearch.service.evaluation_data import KnownPeople, OpenSetSearch, open_set_search
from facesearch.service.evaluation_intervals import Interval, RateIntervals, all_pairs_intervals, weighted_intervals
from facesearch.service.faces import FaceChoice
from facesearch.service.photograph_lists import Attributes, overlap_warning

DEFAULT_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
"""FMRs reported where none are asked for."""

DEFAULT_FPIRS = (1e-1, 1e-2, 1e-3)
"""FPIRs reported: 4,069 strangers support 1e-3 with four of them."""

RANKS = (1, 10)

N_WORST = 12
"""False matches and false non-matches shown as pictures."""


@dataclass(frozen=True, slots=True)
class EvaluationOptions:
    """What a measurement is asked for besides its photographs.

    Attributes:
        fmrs: False match rates to report, each in (0, 1].
        face: Which face of a photograph is meant.
        cache: Folder of the templates' cache instead of the default one.
        attributes: What groups people, or None.
        trained_on: People whose photographs were used for training or tuning.
    """

    fmrs: tuple[float, ...] = DEFAULT_FMRS
    face: FaceChoice = "central"
    cache: Path | None = None
    attributes: Attributes | None = None
    trained_on: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Check the rates and put them in order, loosest first."""
        if not self.fmrs:
            raise InputError("at least one FMR is needed")
        rates = {checked_rate(fmr, what="FMR") for fmr in self.fmrs}
        object.__setattr__(self, "fmrs", tuple(sorted(rates, reverse=True)))


@dataclass(frozen=True, slots=True, eq=False)
class OpenSet:
    """The figures of the open-set search.

    Attributes:
        search: What was searched.
        trials: The searches as the arithmetic takes them.
        points: FNIR at each FPIR, every person weighing the same.
        intervals: 95 % intervals of FNIR and of the measured FPIR at each point.
        ranks: Share of enrolled people's probes among the best k, whatever the score, with its k.
    """

    search: OpenSetSearch
    trials: SearchTrials
    points: tuple[OpenSetPoint, ...]
    intervals: tuple[tuple[Interval | None, Interval | None], ...]
    ranks: tuple[tuple[int, WeightedRate], ...]

    @classmethod
    def of(cls, search: OpenSetSearch) -> OpenSet:
        """Return the figures of a search."""
        trials = search.trials()
        points = tuple(fnir_at_fpir(trials, fpir) for fpir in DEFAULT_FPIRS)
        cuts = np.array([point.threshold for point in points])
        is_somebody = trials.top_scores[:, None] >= cuts
        enrolled = trials.is_enrolled
        missed = ~(is_somebody & trials.is_top_right[:, None])[enrolled]
        fnir = weighted_intervals(missed, trials.people[enrolled], trials.weights[enrolled])
        fpir = weighted_intervals(is_somebody[~enrolled], trials.people[~enrolled], trials.weights[~enrolled])
        return cls(search, trials, points, tuple(zip(fnir, fpir, strict=True)), cmc(trials, RANKS))

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "n_gallery": self.search.n_gallery,
            "n_gallery_failures": self.search.n_gallery_failures,
            "strangers": "also enrolled people taken out" if self.search.is_leave_one_out else "people with one photograph",
            "points": [
                {
                    **point.as_dict(),
                    "fnir_interval": None if fnir is None else list(fnir),
                    "false_positives_interval": None if fpir is None else list(fpir),
                }
                for point, (fnir, fpir) in zip(self.points, self.intervals, strict=True)
            ],
            "ranks": [{"rank": rank, **rate.as_dict()} for rank, rate in self.ranks],
        }


@dataclass(frozen=True, slots=True, eq=False)
class PeopleEvaluation:
    """The figures of photographs whose people are known.

    Attributes:
        known: What was compared.
        pairs: All pairs.
        points: Both error rates at each FMR asked for, every person weighing the same: the headline.
        intervals: 95 % intervals of ``points``, by resampling people.
        pooled: The same with every pair of photographs weighing the same.
        open_set: The open-set search, or None where people are too few.
        groups: Rates of each group at the common thresholds.
        warnings: What a reader must know.
        quality: What refusing photographs of low quality gains, or None where no quality was measured or too little can be said.
    """

    known: KnownPeople
    pairs: AllPairs
    points: tuple[AllPairsPoint, ...]
    intervals: tuple[RateIntervals, ...]
    pooled: tuple[AllPairsPoint, ...]
    open_set: OpenSet | None
    groups: tuple[GroupRates, ...]
    warnings: tuple[str, ...]
    quality: QualityCurve | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        pairs = self.pairs
        return {
            "n_people": pairs.n_people,
            "all_pairs": {
                "n_photographs": pairs.n_photographs,
                "n_failures": pairs.n_failures,
                "n_mated": pairs.mated.total,
                "n_non_mated": pairs.non_mated.total,
                "n_mated_people": pairs.n_mated_people,
                "n_person_pairs": pairs.n_person_pairs,
                "points": [
                    {
                        **point.as_dict(),
                        "tar_interval": None if ends.tar is None else list(ends.tar),
                        "false_matches_interval": None if ends.fmr is None else list(ends.fmr),
                    }
                    for point, ends in zip(self.points, self.intervals, strict=True)
                ],
                "pooled": [point.as_dict() for point in self.pooled],
            },
            "open_set": None if self.open_set is None else self.open_set.as_dict(),
            "error_versus_reject": None if self.quality is None else self.quality.as_dict(),
            "groups": [group.as_dict() for group in self.groups],
            "warnings": list(self.warnings),
        }

    def __str__(self) -> str:
        """Return the figures as lines, the headline first."""
        pairs = self.pairs
        lines = [f"all pairs of {pairs.n_photographs} photographs of {pairs.n_people} people, every person weighing the same:"]
        for point, ends in zip(self.points, self.intervals, strict=True):
            lines.append(f"  {point}{_between('TAR', ends.tar)}")
        lines.append("pooled, every pair of photographs weighing the same:")
        lines += [f"  {point}" for point in self.pooled]
        if self.open_set is not None:
            lines.append(f"open set, {self.open_set.search.n_gallery} people in the gallery, one photograph each:")
            for found, (fnir, _) in zip(self.open_set.points, self.open_set.intervals, strict=True):
                lines.append(f"  {found}{_between('FNIR', fnir)}")
            lines += [f"  rank {rank}: {rate}" for rank, rate in self.open_set.ranks]
        return "\n".join(lines)


def _between(what: str, interval: Interval | None) -> str:
    return "" if interval is None else f"; 95 % interval of the {what} {percent(interval[0])} to {percent(interval[1])}"


def evaluate_people(known: KnownPeople, options: EvaluationOptions, *, warnings: Sequence[str] = ()) -> PeopleEvaluation:
    """Measure photographs whose people are known.

    Args:
        known: The photographs.
        options: What to report.
        warnings: Those of the photographs' lists.

    Raises:
        InputError: There are no comparisons of one kind.
    """
    said = list(warnings)
    pairs = all_pairs(known.vectors, known.labels, n_worst=N_WORST)
    points = pairs.at_fmrs(options.fmrs)
    said += [f"FMR {point.fmr:g}: {point.answer}" for point in points if not point.is_supported]
    intervals = all_pairs_intervals(known, pairs, [point.threshold for point in points])
    open_set = None
    try:
        open_set = OpenSet.of(open_set_search(known))
    except InputError as exc:
        said.append(f"no open-set search: {exc.message}")
    if open_set is not None:
        said += [
            f"FPIR {one.fpir:g}: {one.evidence.answer(one.fpir)}" for one in open_set.points if one.fpir and not one.is_supported
        ]
    overlap = overlap_warning(frozenset(np.unique(known.labels).tolist()), options.trained_on)
    if overlap is not None:
        said.insert(0, overlap)
    groups: tuple[GroupRates, ...] = ()
    if options.attributes is not None:
        groups, unstated = groups_of_people(known, options.attributes, points)
        if unstated:
            said.append(f"{unstated} of {len(known)} photographs have no {options.attributes.column}: they are in no group")
    quality = None
    if known.qualities:
        try:
            quality = quality_curve(known, pairs)
        except InputError as exc:
            said.append(f"no error-versus-reject curve: {exc.message}")
    pooled = pairs.at_fmrs(options.fmrs, weighted=False)
    return PeopleEvaluation(known, pairs, points, intervals, pooled, open_set, groups, tuple(said), quality)
