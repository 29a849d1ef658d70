"""Error rates of a list of pairs: two photographs a line, and whether they show the same person.

It compares what the list pairs and nothing else: see ``evaluate_folder`` for all pairs.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.evidence import Evidence, RateBound
from facesearch.evaluation.intervals import Rate
from facesearch.evaluation.one_to_one import TarAtFmr, tar_at_fmr
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.evaluate_groups import GroupPoint, GroupRates, complement, too_small
from facesearch.service.evaluate_people import N_WORST, EvaluationOptions
from facesearch.service.evaluation_intervals import Interval, trial_intervals
from facesearch.service.photograph_lists import Attributes, PairList, PhotographPair, overlap_warning, read_pairs_csv
from facesearch.service.photographs import EmbeddedPhotographs, EmbedPhotographs, Progress


@dataclass(frozen=True, slots=True)
class PairsPoint:
    """Both error rates of a list at a threshold.

    Attributes:
        at: TAR and false matches with their counts.
        evidence: Behind the false matches.
        tar_interval: 95 % interval of the TAR, or None.
        fmr_interval: 95 % interval of the false matches' share, or None.
    """

    at: TarAtFmr
    evidence: Evidence
    tar_interval: Interval | None = None
    fmr_interval: Interval | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        answer = self.evidence.answer(self.at.fmr)
        return {
            "fmr": self.at.fmr,
            "threshold": self.at.threshold,
            "tar": self.at.tar.as_dict(),
            "tar_interval": None if self.tar_interval is None else list(self.tar_interval),
            "false_matches": self.at.false_matches.as_dict(),
            "false_matches_interval": None if self.fmr_interval is None else list(self.fmr_interval),
            "evidence": self.evidence.as_dict(),
            "is_supported": answer.is_supported,
            "bound": answer.bound if isinstance(answer, RateBound) else None,
            "reason": answer.reason if isinstance(answer, RateBound) else None,
        }


@dataclass(frozen=True, slots=True, eq=False)
class PairsEvaluation:
    """The outcome.

    Attributes:
        embedded: The photographs' templates and failures.
        listed: The list.
        trials: A score a pair, NaN where a face could not be acquired.
        points: Both error rates at each FMR asked for, loosest first.
        are_independent: Whether every photograph, and every person, is in one pair only.
        groups: Rates of pairs within each group at the common thresholds.
        warnings: What a reader must know.
    """

    embedded: EmbeddedPhotographs
    listed: PairList
    trials: VerificationTrials
    points: tuple[PairsPoint, ...]
    are_independent: bool
    groups: tuple[GroupRates, ...]
    warnings: tuple[str, ...]

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        return {
            **self.embedded.as_dict(),
            "n_pairs": len(self.trials),
            "n_mated": self.trials.n_mated,
            "n_non_mated": self.trials.n_non_mated,
            "n_failures": self.trials.n_failures,
            "n_repeated": self.listed.n_repeated,
            "are_independent": self.are_independent,
            "points": [point.as_dict() for point in self.points],
            "groups": [group.as_dict() for group in self.groups],
            "warnings": list(self.warnings),
        }

    def worst(self, *, is_mated: bool) -> tuple[tuple[PhotographPair, float], ...]:
        """Return the mated pairs of lowest score, or the non-mated ones of highest, worst first."""
        chosen = np.flatnonzero((self.trials.is_mated == is_mated) & self.trials.is_acquired)
        keys = self.trials.scores[chosen] * (1.0 if is_mated else -1.0)
        order = chosen[np.argsort(keys, kind="stable")][:N_WORST]
        return tuple((self.listed.pairs[place], float(self.trials.scores[place])) for place in order.tolist())

    def __str__(self) -> str:
        """Return the figures as lines."""
        lines = [f"{len(self.trials)} pairs, {self.trials.n_mated} of the same person and {self.trials.n_non_mated} of two people:"]
        lines += [f"  {point.at}" for point in self.points]
        lines.append(f"failures to acquire: {self.trials.n_failures} of {len(self.trials)} pairs")
        return "\n".join(lines)


class EvaluatePairs:
    """Measures lists of pairs.

    Args:
        embed: Makes the templates.
    """

    def __init__(self, embed: EmbedPhotographs) -> None:
        self._embed = embed

    def __call__(
        self, pairs_csv: str | os.PathLike[str], *, options: EvaluationOptions, on_progress: Progress | None = None
    ) -> PairsEvaluation:
        """Measure the pairs of a CSV; a photograph that is not there, or cannot be read, is a counted failure of its pairs.

        Args:
            pairs_csv: Columns ``a``, ``b`` and ``same``; paths relative to the file.
            options: What to report.
            on_progress: Called after each photograph.

        Raises:
            ProtocolFileError: The CSV is malformed.
            InputError: Pairs of one kind are missing, or no pair has a score.
        """
        listed = read_pairs_csv(pairs_csv)
        embedded = self._embed(listed.root, listed.people, face=options.face, cache=options.cache, on_progress=on_progress)
        if len(embedded.failures) == len(embedded):
            raise InputError(
                f"none of the {len(embedded)} photographs has a face that was found; the first: {embedded.failures[0].message}"
            )
        trials = VerificationTrials(_scores(listed.pairs, embedded), np.array([pair.is_mated for pair in listed.pairs]))
        points = _points(listed, trials, options.fmrs)
        said = _warnings(listed, points)
        labels = frozenset(path.parent.name for path in listed.people if path.parent.name)
        overlap = overlap_warning(labels, options.trained_on)
        if overlap is not None:
            said.insert(0, overlap)
        groups: tuple[GroupRates, ...] = ()
        if options.attributes is not None:
            groups, unstated = _groups(listed, trials, options.attributes, points)
            if unstated:
                said.append(f"{unstated} of {len(trials)} pairs lie within no group of {options.attributes.column}")
        return PairsEvaluation(embedded, listed, trials, points, _are_independent(listed), groups, tuple(said))


def _scores(pairs: Sequence[PhotographPair], embedded: EmbeddedPhotographs) -> NDArray[np.float64]:
    scores = np.full(len(pairs), np.nan)
    for place, pair in enumerate(pairs):
        a, b = embedded.rows.get(pair.a), embedded.rows.get(pair.b)
        if a is not None and b is not None:
            scores[place] = float(np.clip(embedded.vectors[a] @ embedded.vectors[b], -1.0, 1.0))
    return scores


def _points(listed: PairList, trials: VerificationTrials, fmrs: Sequence[float]) -> tuple[PairsPoint, ...]:
    """Return a point for each FMR: Wilson's intervals where pairs are independent, else those of resampled people."""
    found = [tar_at_fmr(trials, fmr) for fmr in fmrs]
    person_a = np.array([listed.people[pair.a] for pair in listed.pairs])
    person_b = np.array([listed.people[pair.b] for pair in listed.pairs])
    is_match = trials.scores[:, None] >= np.array([at.threshold for at in found])  # NaN compares as False: no match
    mated = trials.is_mated
    if _are_independent(listed):
        tar_ends: Sequence[Interval | None] = [at.tar.interval() for at in found]
        fmr_ends: Sequence[Interval | None] = [at.false_matches.interval() for at in found]
    else:
        tar_ends = trial_intervals(is_match[mated], person_a[mated])
        fmr_ends = trial_intervals(is_match[~mated], person_a[~mated], person_b[~mated])
    points = []
    for column, at in enumerate(found):
        false = is_match[:, column] & ~mated
        lower, higher = np.minimum(person_a[false], person_b[false]), np.maximum(person_a[false], person_b[false])
        n_spread = len(set(zip(lower.tolist(), higher.tolist(), strict=True)))
        evidence = Evidence(trials.n_non_mated, at.false_matches.count, n_spread, len(set(listed.people.values())))
        points.append(PairsPoint(at, evidence, tar_ends[column], fmr_ends[column]))
    return tuple(points)


def _are_independent(listed: PairList) -> bool:
    """Return whether no person is in two pairs, so that Wilson's interval holds."""
    seen: set[int] = set()
    for pair in listed.pairs:
        people = {listed.people[pair.a], listed.people[pair.b]}
        if people & seen:
            return False
        seen |= people
    return True


def _warnings(listed: PairList, points: Sequence[PairsPoint]) -> list[str]:
    said = []
    if listed.n_repeated:
        said.append(f"{listed.n_repeated} lines name a pair of photographs again and count once")
    if listed.n_contradictions:
        said.append(
            f"{listed.n_contradictions} pairs are called two people although pairs called the same person join their photographs: "
            "some labels are wrong"
        )
    answers = ((point.at.fmr, point.evidence.answer(point.at.fmr)) for point in points)
    said += [f"FMR {fmr:g}: {answer}" for fmr, answer in answers if not answer.is_supported]
    return said


def _groups(
    listed: PairList, trials: VerificationTrials, attributes: Attributes, points: Sequence[PairsPoint]
) -> tuple[tuple[GroupRates, ...], int]:
    """Return the rates of pairs within each group, and the number of pairs in none."""
    values = [(attributes.of(pair.a, pair.a.parent.name), attributes.of(pair.b, pair.b.parent.name)) for pair in listed.pairs]
    shared = np.array([a if a is not None and a == b else "" for a, b in values])
    names = sorted({value for pair in values for value in pair if value is not None})
    if not names:
        raise InputError(
            f"none of the photographs has a {attributes.column}: files in the attributes' CSV are relative to the list of pairs",
            column=attributes.column,
        )
    return tuple(_group(name, listed, trials, shared == name, points) for name in names), int((shared == "").sum())


def _group(
    name: str, listed: PairList, trials: VerificationTrials, inside: NDArray[np.bool_], points: Sequence[PairsPoint]
) -> GroupRates:
    rows = [listed.pairs[row] for row in np.flatnonzero(inside).tolist()]
    photographs = {path for pair in rows for path in (pair.a, pair.b)}
    mated_people = {listed.people[pair.a] for pair in rows if pair.is_mated}
    person_a = np.array([listed.people[pair.a] for pair in listed.pairs])
    person_b = np.array([listed.people[pair.b] for pair in listed.pairs])
    rates = []
    for point in points:
        is_match = trials.scores >= point.at.threshold  # NaN compares as False: no match
        apart, together = inside & ~trials.is_mated, inside & trials.is_mated
        false, found = _rate(is_match, apart), _rate(is_match, together)
        fmr_ends = trial_intervals(is_match[apart, None], person_a[apart], person_b[apart])[0] if false else None
        fnmr_ends = trial_intervals(~is_match[together, None], person_a[together])[0] if found else None
        remark = too_small(point.at.fmr, false, None, len(mated_people))
        non_matches = None if found is None else complement(found)
        rates.append(GroupPoint(point.at.fmr, point.at.threshold, false, non_matches, fmr_ends, fnmr_ends, remark))
    return GroupRates(name, len(photographs), len({listed.people[path] for path in photographs}), tuple(rates))


def _rate(outcome: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> Rate | None:
    total = int(chosen.sum())
    return Rate(int((outcome & chosen).sum()), total) if total else None
