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
from facesearch.service.evaluate_groups import GroupRates, groups_of_people
from facesearch.service.evaluation_data import KnownPeople, OpenSetSearch, open_set_search
from facesearch.service.faces import FaceChoice
from facesearch.service.photograph_lists import Attributes, overlap_warning

DEFAULT_FMRS = (1e-2, 1e-3, 1e-4, 1e-5)
"""FMRs reported where none are asked for."""

DEFAULT_FPIRS = (1e-1, 1e-2, 1e-3)
"""FPIRs reported: 4,069 strangers support 1e-3 with four of them."""

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
class PeopleEvaluation:
    """The figures of photographs whose people are known.

    Attributes:
        known: What was compared.
        pairs: All pairs.
        points: Both error rates at each FMR asked for, every person weighing the same: the headline.
        pooled: The same with every pair of photographs weighing the same.
        search: The open-set search, or None where people are too few.
        groups: Rates of each group at the common thresholds.
        warnings: What a reader must know.
    """

    known: KnownPeople
    pairs: AllPairs
    points: tuple[AllPairsPoint, ...]
    pooled: tuple[AllPairsPoint, ...]
    search: OpenSetSearch | None
    groups: tuple[GroupRates, ...]
    warnings: tuple[str, ...]


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
    search = None
    try:
        search = open_set_search(known)
    except InputError as exc:
        said.append(f"no open-set search: {exc.message}")
    overlap = overlap_warning(frozenset(np.unique(known.labels).tolist()), options.trained_on)
    if overlap is not None:
        said.insert(0, overlap)
    groups: tuple[GroupRates, ...] = ()
    if options.attributes is not None:
        groups, unstated = groups_of_people(known, options.attributes, points)
        if unstated:
            said.append(f"{unstated} of {len(known)} photographs have no {options.attributes.column}: they are in no group")
    return PeopleEvaluation(known, pairs, points, pairs.at_fmrs(options.fmrs, weighted=False), search, groups, tuple(said))
