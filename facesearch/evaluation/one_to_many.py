"""Error rates of 1:N identification: FPIR and FNIR over thresholds, TPIR, and rank-k.

It runs no search: it is handed the best score of each probe and the rank of the right person. Terms as in NIST's FRTE 1:N reports
(Grother, Ngan & Hanaoka 2019, NISTIR 8271).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError
from facesearch.evaluation.evidence import MIN_PERSON_PAIRS, Evidence
from facesearch.evaluation.histogram import ROUNDING
from facesearch.evaluation.intervals import Rate, WeightedRate
from facesearch.evaluation.searches import SearchTrials

__all__ = [
    "OpenSetCurve",
    "OpenSetPoint",
    "OpenSetResult",
    "SearchTrials",
    "cmc",
    "fnir_at_fpir",
    "open_set_curve",
    "open_set_point",
    "open_set_result",
]


@dataclass(frozen=True, slots=True)
class OpenSetResult:
    """Errors of open-set identification by the best candidate (rank 1).

    Attributes:
        fpir: Probes of people not enrolled who came back as somebody, or None where there was no such probe.
        fnir: Probes of enrolled people who did not come back as themselves, or None where there was no such probe. A failure to
            acquire is one of them.
        n_misidentified: Enrolled people who came back as somebody else; counted in ``fnir`` too.
        n_failures: Probes whose face could not be acquired.
    """

    fpir: Rate | None
    fnir: Rate | None
    n_misidentified: int
    n_failures: int

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "fpir": self.fpir.as_dict() if self.fpir else None,
            "fnir": self.fnir.as_dict() if self.fnir else None,
            "n_misidentified": self.n_misidentified,
            "n_failures": self.n_failures,
        }

    def __str__(self) -> str:
        """Return both rates with their counts."""
        return f"FPIR {self.fpir or 'not measured'}, FNIR {self.fnir or 'not measured'}"


def open_set_result(trials: SearchTrials, thresholds: float | ArrayLike) -> OpenSetResult:
    """Return the errors of searches decided by their best candidate: somebody where ``top_score >= threshold``, else unknown.

    A failure to acquire comes back as nobody: a miss for an enrolled person and no false positive for a stranger, who stays in the
    denominator.

    Args:
        trials: The searches.
        thresholds: One for all, or one a search, shape ``(N,)``; no NaN.

    Raises:
        InputError: Another shape, or NaN.
    """
    given = np.asarray(thresholds, dtype=np.float64)
    if given.shape not in ((), trials.top_scores.shape) or np.isnan(given).any():
        raise InputError(f"thresholds are one number or one a search ({len(trials)}), without NaN, not shape {given.shape}")
    is_somebody = trials.top_scores >= given  # NaN compares as False: nobody
    is_stranger = ~trials.is_enrolled
    n_strangers, n_enrolled = int(is_stranger.sum()), int(trials.is_enrolled.sum())
    n_hits = int((is_somebody & trials.is_top_right).sum())
    return OpenSetResult(
        fpir=Rate(int((is_somebody & is_stranger).sum()), n_strangers) if n_strangers else None,
        fnir=Rate(n_enrolled - n_hits, n_enrolled) if n_enrolled else None,
        n_misidentified=int((is_somebody & trials.is_enrolled & ~trials.is_top_right).sum()),
        n_failures=int(np.isnan(trials.top_scores).sum()),
    )


@dataclass(frozen=True, slots=True)
class OpenSetPoint:
    """Both errors of identification at a threshold, every person weighing the same however many probes show the person.

    Attributes:
        fpir: The rate asked for, or None where a threshold was.
        threshold: Somebody is returned where ``top_score >= threshold``.
        fnir: Share of probes of enrolled people who did not come back as themselves.
        false_positives: Share of probes of strangers who came back as somebody: the FPIR measured.
        n_misidentified: Probes of enrolled people who came back as somebody else; counted in ``fnir`` too.
        evidence: Behind the false positives; each stranger counts as one pair of people.
    """

    fpir: float | None
    threshold: float
    fnir: WeightedRate
    false_positives: WeightedRate
    n_misidentified: int
    evidence: Evidence

    @property
    def tpir(self) -> WeightedRate:
        """Share of probes of enrolled people who came back as themselves."""
        return WeightedRate(1.0 - self.fnir.value, self.fnir.total - self.fnir.count, self.fnir.total, self.fnir.n_units)

    @property
    def is_supported(self) -> bool:
        """Whether the evidence reaches the rate asked for (or measured, where a threshold was)."""
        rate = self.fpir if self.fpir is not None else self.false_positives.value
        return rate > 0.0 and self.evidence.supports(rate)

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        return {
            "fpir": self.fpir,
            "threshold": self.threshold,
            "fnir": self.fnir.as_dict(),
            "tpir": self.tpir.as_dict(),
            "false_positives": self.false_positives.as_dict(),
            "n_misidentified": self.n_misidentified,
            "evidence": self.evidence.as_dict(),
            "is_supported": self.is_supported,
        }

    def __str__(self) -> str:
        """Return both rates with their counts."""
        asked = "" if self.fpir is None else f"FPIR {self.fpir:g}, "
        return f"FNIR {self.fnir} at {asked}threshold {self.threshold:.4f}, false positives {self.false_positives}"


@dataclass(frozen=True, slots=True, eq=False)
class OpenSetCurve:
    """Both errors of identification at every threshold that makes a difference, every person weighing the same.

    Attributes:
        thresholds: float64 ``(T,)``, rising: every distinct best score, then the next number above the highest.
        fpir: float64 ``(T,)``, never rising, ends at 0.
        fnir: float64 ``(T,)``, never falling, ends at 1.
    """

    thresholds: NDArray[np.float64]
    fpir: NDArray[np.float64]
    fnir: NDArray[np.float64]


def _require_both_kinds(trials: SearchTrials) -> None:
    """Raise unless there are searches for enrolled people and for strangers, and one of them has a score."""
    n_enrolled = int(trials.is_enrolled.sum())
    if n_enrolled in (0, len(trials)):
        raise InputError(
            f"open-set rates need probes of enrolled people and of strangers, not {n_enrolled} and {len(trials) - n_enrolled}"
        )
    if bool(np.isnan(trials.top_scores).all()):
        raise InputError("no probe has a score: there is no threshold to look at")


def _share_at_or_above(scores: NDArray[np.float64], weights: NDArray[np.float64], cuts: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the weight of the scores at or above each cut, NaN never, over all the weight."""
    order = np.argsort(scores)  # NaN last
    n_scored = int((~np.isnan(scores)).sum())
    above = np.append(np.cumsum(weights[order][:n_scored][::-1])[::-1], 0.0)
    shares: NDArray[np.float64] = above[np.searchsorted(scores[order][:n_scored], cuts, side="left")] / weights.sum()
    return np.clip(shares, 0.0, 1.0)


def open_set_curve(trials: SearchTrials) -> OpenSetCurve:
    """Return FPIR and FNIR (rank 1) at every distinct best score and above the highest.

    Raises:
        InputError: Probes of one kind are missing, or none has a score.
    """
    _require_both_kinds(trials)
    levels = np.unique(trials.top_scores[~np.isnan(trials.top_scores)])
    cuts = np.append(levels, np.nextafter(levels[-1], np.inf))
    weights, enrolled = trials.weights, trials.is_enrolled
    fpir = _share_at_or_above(trials.top_scores[~enrolled], weights[~enrolled], cuts)
    right = np.where(trials.is_top_right, trials.top_scores, np.nan)
    return OpenSetCurve(cuts, fpir, 1.0 - _share_at_or_above(right[enrolled], weights[enrolled], cuts))


def open_set_point(trials: SearchTrials, threshold: float, *, fpir: float | None = None) -> OpenSetPoint:
    """Return both errors at a threshold, every person weighing the same.

    Args:
        trials: With probes of enrolled people and of strangers.
        threshold: Somebody is returned at or above it.
        fpir: The rate it was chosen for, to be carried along.

    Raises:
        InputError: Probes of one kind are missing, none has a score, or ``threshold`` is NaN.
    """
    _require_both_kinds(trials)
    if np.isnan(threshold):
        raise InputError("a threshold is a number, not NaN")
    weights, enrolled = trials.weights, trials.is_enrolled
    is_somebody = trials.top_scores >= threshold
    is_miss = enrolled & ~(is_somebody & trials.is_top_right)
    is_false = is_somebody & ~enrolled
    rates = []
    for outcome, kind in ((is_miss, enrolled), (is_false, ~enrolled)):
        people = int(np.unique(trials.people[kind]).size)
        value = min(1.0, float(weights[outcome].sum() / weights[kind].sum()))
        rates.append(WeightedRate(value, int(outcome.sum()), int(kind.sum()), people))
    n_misidentified = int((is_somebody & enrolled & ~trials.is_top_right).sum())
    return OpenSetPoint(fpir, float(threshold), rates[0], rates[1], n_misidentified, _evidence(trials, is_false))


def _evidence(trials: SearchTrials, is_false: NDArray[np.bool_]) -> Evidence:
    """Return the searches of strangers behind false positives."""
    strangers = ~trials.is_enrolled & ~np.isnan(trials.top_scores)
    highest: dict[int, float] = {}
    for person, score in zip(trials.people[strangers].tolist(), trials.top_scores[strangers].tolist(), strict=True):
        highest[person] = max(score, highest.get(person, score))
    maxima = sorted(highest.values(), reverse=True)
    floor = 1.0
    if len(maxima) >= MIN_PERSON_PAIRS:
        weights = trials.weights
        reached = ~trials.is_enrolled & (trials.top_scores >= maxima[MIN_PERSON_PAIRS - 1])
        floor = float(weights[reached].sum() / weights[~trials.is_enrolled].sum())
    return Evidence(
        n_comparisons=int((~trials.is_enrolled).sum()),
        n_false=int(is_false.sum()),
        n_person_pairs=int(np.unique(trials.people[is_false]).size),
        n_people=int(np.unique(trials.people[~trials.is_enrolled]).size),
        spread_floor=floor,
        what="FPIR",
    )


def fnir_at_fpir(trials: SearchTrials, fpir: float) -> OpenSetPoint:
    """Return the errors at the smallest threshold that keeps the false positive identification rate, people weighing the same.

    The threshold is the next number above the highest best score of a stranger that would make it more, so ties are all refused and
    the rate kept is never above the one asked for. Where all strangers may pass, it is the lowest best score of all.

    Raises:
        InputError: ``fpir`` is outside (0, 1], probes of one kind are missing, or none has a score.
    """
    fpir = checked_rate(fpir, what="FPIR")
    _require_both_kinds(trials)
    strangers = ~trials.is_enrolled
    levels = np.unique(trials.top_scores[strangers & ~np.isnan(trials.top_scores)])
    shares = _share_at_or_above(trials.top_scores[strangers], trials.weights[strangers], levels)
    too_many = np.flatnonzero(shares > fpir * (1.0 + ROUNDING))
    threshold = float(np.nextafter(levels[too_many[-1]], np.inf)) if too_many.size else float(np.nanmin(trials.top_scores))
    return open_set_point(trials, threshold, fpir=fpir)


def cmc(trials: SearchTrials, ranks: Sequence[int] = (1, 5, 10, 20)) -> tuple[tuple[int, WeightedRate], ...]:
    """Return the cumulative match characteristic: how often enrolled people are among the best ``k``, whatever the score.

    Args:
        trials: With probes of enrolled people; strangers are passed over.
        ranks: The ``k``, each at least 1.

    Raises:
        InputError: No probe of an enrolled person, or a rank below 1.
    """
    enrolled = trials.is_enrolled
    if not enrolled.any():
        raise InputError("rank-k needs probes of enrolled people, there are none")
    if min(ranks, default=1) < 1:
        raise InputError(f"ranks count from 1, not {min(ranks)}")
    weights = trials.weights
    n_people = int(np.unique(trials.people[enrolled]).size)
    rates = []
    for rank in sorted(ranks):
        hit = enrolled & (trials.ranks >= 1) & (trials.ranks <= rank)
        value = min(1.0, float(weights[hit].sum() / weights[enrolled].sum()))
        rates.append((rank, WeightedRate(value, int(hit.sum()), int(enrolled.sum()), n_people)))
    return tuple(rates)
