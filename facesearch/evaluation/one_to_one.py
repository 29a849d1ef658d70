"""Error rates of 1:1 verification: accuracy by folds, TAR at an FMR, and both errors over all thresholds.

Failures to acquire are trials like any other and never leave a denominator: such a pair is wrong in the accuracy whatever it is, a
non-match where it is mated, and no false match where it is not. It sets no operating point for use: see the model's card for those.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError
from facesearch.evaluation.evidence import Evidence
from facesearch.evaluation.intervals import Rate
from facesearch.evaluation.trials import VerificationTrials

REPORTED_FMRS = (1e-2, 1e-3)
"""FMRs that LFW's 3,000 non-mated pairs can support (30 and 3 false matches)."""


@dataclass(frozen=True, slots=True)
class FoldResult:
    """Accuracy on one fold at the threshold chosen on the others.

    Attributes:
        fold: Its number.
        threshold: Chosen on the other folds; a match is ``score >= threshold``.
        accuracy: Share of the fold's pairs answered rightly.
    """

    fold: int
    threshold: float
    accuracy: Rate


@dataclass(frozen=True, slots=True)
class FoldAccuracy:
    """Accuracy over folds; printed as ``99.62 ± 0.09 % (5977/6000)``.

    Attributes:
        folds: One result a fold, by number, at least two.
    """

    folds: tuple[FoldResult, ...]

    @property
    def mean(self) -> float:
        """Mean of the folds' accuracies, in [0, 1]."""
        return float(np.mean([fold.accuracy.value for fold in self.folds]))

    @property
    def standard_error(self) -> float:
        """Standard error of the mean: sd of the folds' accuracies with ``ddof=1``, over the root of their number."""
        return float(np.std([fold.accuracy.value for fold in self.folds], ddof=1)) / math.sqrt(len(self.folds))

    @property
    def total(self) -> Rate:
        """Pairs answered rightly in all folds together."""
        return Rate(sum(fold.accuracy.count for fold in self.folds), sum(fold.accuracy.total for fold in self.folds))

    def __str__(self) -> str:
        """Return mean, standard error and counts."""
        total = self.total
        return f"{100 * self.mean:.2f} ± {100 * self.standard_error:.2f} % ({total.count}/{total.total})"


@dataclass(frozen=True, slots=True)
class TarAtFmr:
    """True acceptance at the threshold that keeps false matches within a rate.

    Attributes:
        fmr: The rate asked for, in (0, 1].
        threshold: The smallest that keeps it.
        tar: Share of mated pairs at or above the threshold.
        false_matches: Share of non-mated pairs at or above it; at most ``fmr``.
    """

    fmr: float
    threshold: float
    tar: Rate
    false_matches: Rate

    @property
    def evidence(self) -> Evidence:
        """The comparisons behind the false matches; pairs of a protocol count as independent, since their people are not known."""
        return Evidence(self.false_matches.total, self.false_matches.count)

    @property
    def is_supported(self) -> bool:
        """Whether the non-mated pairs are enough for this rate."""
        return self.evidence.supports(self.fmr)

    def __str__(self) -> str:
        """Return the TAR with its counts, the rate and the threshold."""
        return f"TAR {self.tar} at FMR {self.fmr:g} (threshold {self.threshold:.4f}, false matches {self.false_matches})"


@dataclass(frozen=True, slots=True, eq=False)
class ErrorCurve:
    """Both errors at every threshold that makes a difference.

    Attributes:
        thresholds: float64 ``(T,)``, rising: every distinct score, then the next number above the highest.
        fmr: float64 ``(T,)``, never rising, ends at 0.
        fnmr: float64 ``(T,)``, never falling, ends at 1.
    """

    thresholds: NDArray[np.float64]
    fmr: NDArray[np.float64]
    fnmr: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VerificationReport:
    """The figures of one 1:1 protocol.

    Attributes:
        accuracy: By folds, or None where the protocol has none.
        tar: One result for each FMR asked for, loosest first.
        n_pairs: All pairs.
        n_failures: Pairs of which a face could not be acquired.
    """

    accuracy: FoldAccuracy | None
    tar: tuple[TarAtFmr, ...]
    n_pairs: int
    n_failures: int

    def as_dict(self) -> dict[str, object]:
        """Return the figures as plain values; rates in [0, 1]."""
        figures: dict[str, object] = {"n_pairs": self.n_pairs, "n_failures": self.n_failures, "accuracy": None}
        if self.accuracy is not None:
            figures["accuracy"] = {
                "mean": self.accuracy.mean,
                "standard_error": self.accuracy.standard_error,
                "count": self.accuracy.total.count,
                "total": self.accuracy.total.total,
                "folds": [
                    {"fold": fold.fold, "threshold": fold.threshold, **fold.accuracy.as_dict()} for fold in self.accuracy.folds
                ],
            }
        figures["tar"] = [
            {
                "fmr": point.fmr,
                "threshold": point.threshold,
                "tar": point.tar.as_dict(),
                "false_matches": point.false_matches.as_dict(),
                "is_supported": point.is_supported,
            }
            for point in self.tar
        ]
        return figures

    def __str__(self) -> str:
        """Return one line a figure."""
        lines = [] if self.accuracy is None else [f"accuracy {self.accuracy}"]
        lines += [str(point) for point in self.tar]
        lines.append(f"failures to acquire: {self.n_failures} of {self.n_pairs} pairs")
        return "\n".join(lines)


def best_threshold(trials: VerificationTrials) -> float:
    """Return the threshold of highest accuracy on the trials.

    Every threshold between two neighbouring scores answers alike: the middle of that gap is returned. Of gaps of equal accuracy the
    highest is taken, since it lets fewer strangers pass. Accepting all acquired pairs gives the lowest score, rejecting all the
    next number above the highest.

    Raises:
        InputError: No pair has a score.
    """
    levels = np.unique(trials.scores[trials.is_acquired])
    if levels.size == 0:
        raise InputError("no pair has a score: a threshold cannot be chosen")
    cuts = np.append(levels, np.nextafter(levels[-1], np.inf))
    mated, non_mated = trials.mated_scores(), trials.non_mated_scores()
    right = (mated.size - np.searchsorted(mated, cuts, side="left")) + np.searchsorted(non_mated, cuts, side="left")
    best = cuts.size - 1 - int(np.argmax(right[::-1]))
    if best in (0, cuts.size - 1):
        return float(cuts[best])
    # The middle of two neighbouring floats may round down onto the lower one, which would accept it.
    middle = levels[best - 1] + (levels[best] - levels[best - 1]) / 2
    return float(middle if middle > levels[best - 1] else levels[best])


def fold_accuracy(trials: VerificationTrials) -> FoldAccuracy:
    """Return the accuracy on each fold at the threshold chosen on all others (LFW's View 2; Huang et al. 2007).

    Raises:
        InputError: Fewer than two folds, or the other folds of one have no scored pair.
    """
    numbers = np.unique(trials.folds)
    if numbers.size < 2:
        raise InputError(f"accuracy by folds needs at least two folds, not {numbers.size}")
    results = []
    for fold in numbers:
        inside = trials.folds == fold
        threshold = best_threshold(VerificationTrials(trials.scores[~inside], trials.is_mated[~inside]))
        scores, is_mated = trials.scores[inside], trials.is_mated[inside]
        is_right = ~np.isnan(scores) & ((scores >= threshold) == is_mated)
        results.append(FoldResult(int(fold), threshold, Rate(int(is_right.sum()), int(inside.sum()))))
    return FoldAccuracy(tuple(results))


def tar_at_fmr(trials: VerificationTrials, fmr: float) -> TarAtFmr:
    """Return the true acceptance rate at the smallest threshold that keeps the false match rate.

    Of ``n`` non-mated pairs, failures included, ``⌊fmr · n⌋`` may match. The threshold is the next number above the highest score
    that would make it one more, so pairs tied at that score are all refused: the rate kept is never above the one asked for. Where
    every acquired non-mated pair may match, it is the lowest score of all.

    Args:
        trials: With at least one mated and one non-mated pair.
        fmr: False match rate in (0, 1].

    Raises:
        InputError: ``fmr`` is out of range, pairs of one kind are missing, or no pair has a score.
    """
    fmr = checked_rate(fmr, what="FMR")
    if trials.n_mated == 0 or trials.n_non_mated == 0:
        raise InputError(f"TAR needs pairs of both kinds, not {trials.n_mated} mated and {trials.n_non_mated} non-mated")
    mated, non_mated = trials.mated_scores(), trials.non_mated_scores()
    if mated.size + non_mated.size == 0:
        raise InputError("no pair has a score: a threshold cannot be chosen")
    allowed = _allowed(fmr, trials.n_non_mated)
    if allowed < non_mated.size:
        threshold = float(np.nextafter(non_mated[non_mated.size - 1 - allowed], np.inf))
    else:
        threshold = float(min(scores[0] for scores in (mated, non_mated) if scores.size))
    accepted = mated.size - int(np.searchsorted(mated, threshold, side="left"))
    passed = non_mated.size - int(np.searchsorted(non_mated, threshold, side="left"))
    return TarAtFmr(fmr, threshold, Rate(accepted, trials.n_mated), Rate(passed, trials.n_non_mated))


def _allowed(fmr: float, n_non_mated: int) -> int:
    """Return how many non-mated pairs may match; 0.001 × 3,000 is 3 although the product of floats may fall short of it."""
    return math.floor(fmr * n_non_mated * (1.0 + 1e-12))


def error_curve(trials: VerificationTrials) -> ErrorCurve:
    """Return FMR and FNMR at every distinct score and above the highest.

    Raises:
        InputError: Pairs of one kind are missing, or no pair has a score.
    """
    if trials.n_mated == 0 or trials.n_non_mated == 0:
        raise InputError(f"both errors need pairs of both kinds, not {trials.n_mated} mated and {trials.n_non_mated} non-mated")
    levels = np.unique(trials.scores[trials.is_acquired])
    if levels.size == 0:
        raise InputError("no pair has a score: there is no threshold to look at")
    cuts = np.append(levels, np.nextafter(levels[-1], np.inf))
    mated, non_mated = trials.mated_scores(), trials.non_mated_scores()
    matched = mated.size - np.searchsorted(mated, cuts, side="left")
    passed = non_mated.size - np.searchsorted(non_mated, cuts, side="left")
    return ErrorCurve(cuts, passed / trials.n_non_mated, 1.0 - matched / trials.n_mated)


def verification_report(trials: VerificationTrials, fmrs: Sequence[float] = REPORTED_FMRS) -> VerificationReport:
    """Return all figures of a 1:1 protocol; the accuracy is left out where the trials have fewer than two folds.

    Raises:
        InputError: As ``fold_accuracy`` and ``tar_at_fmr``.
    """
    accuracy = fold_accuracy(trials) if np.unique(trials.folds).size > 1 else None
    tar = tuple(tar_at_fmr(trials, fmr) for fmr in sorted(fmrs, reverse=True))
    return VerificationReport(accuracy, tar, len(trials), trials.n_failures)
