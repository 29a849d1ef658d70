"""Error rates of open-set 1:N identification at given thresholds.

It runs no search: it is handed the best score of each probe and whether the best candidate was the right person.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from facesearch.core.errors import InputError
from facesearch.evaluation.intervals import Rate
from facesearch.evaluation.trials import checked_flags, checked_scores


@dataclass(frozen=True, slots=True, eq=False)
class SearchTrials:
    """Searches with known truth, by their best candidate.

    Attributes:
        top_scores: float64 ``(N,)``, score of the best candidate; NaN where the probe's face could not be acquired. Read-only.
        is_enrolled: bool ``(N,)``, True where the person searched for is in the gallery. Read-only.
        is_top_right: bool ``(N,)``, True where the best candidate is that person; never for people not enrolled. Read-only.
    """

    top_scores: NDArray[np.float64]
    is_enrolled: NDArray[np.bool_]
    is_top_right: NDArray[np.bool_]

    def __init__(self, top_scores: ArrayLike, is_enrolled: ArrayLike, is_top_right: ArrayLike) -> None:
        scores = checked_scores(top_scores)
        object.__setattr__(self, "top_scores", scores)
        object.__setattr__(self, "is_enrolled", checked_flags(is_enrolled, scores.size, what="is_enrolled"))
        object.__setattr__(self, "is_top_right", checked_flags(is_top_right, scores.size, what="is_top_right"))
        if bool((self.is_top_right & ~self.is_enrolled).any()):
            raise InputError("a best candidate cannot be right for a person who is not enrolled")

    def __len__(self) -> int:
        """Return the number of searches."""
        return int(self.top_scores.size)


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
