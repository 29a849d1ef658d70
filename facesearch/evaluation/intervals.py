"""Shares with the counts behind them, and how far they can be trusted.

It does not decide which comparisons count: see ``one_to_one`` and ``one_to_many``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from facesearch.core.errors import InputError


def wilson_interval(count: int, total: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return Wilson's score interval of a share (Wilson 1927; Agresti & Coull 1998 on why not the normal one).

    Assumes independent trials. Pairs that share people are not independent: for those the interval is too narrow.

    Args:
        count: Trials with the outcome, in ``[0, total]``.
        total: All trials, at least 1.
        confidence: Share of such intervals that hold the true value, in (0, 1).

    Returns:
        Lower and upper end, in [0, 1]; the share itself lies between them.

    Raises:
        InputError: The counts are no share, or ``confidence`` is out of range.
    """
    _check_counts(count, total)
    if not 0.0 < confidence < 1.0:
        raise InputError(f"confidence must lie in (0, 1), not {confidence}")
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share = count / total
    middle = share + z * z / (2 * total)
    spread = z * math.sqrt(share * (1.0 - share) / total + z * z / (4.0 * total * total))
    scale = 1.0 + z * z / total
    # Rounding may push an end past the share at counts of 0 and total, where the exact ends are 0 and 1.
    lower = 0.0 if count == 0 else min(share, (middle - spread) / scale)
    upper = 1.0 if count == total else max(share, (middle + spread) / scale)
    return max(0.0, lower), min(1.0, upper)


def _check_counts(count: int, total: int) -> None:
    """Raise unless the two are a count and a positive number of trials."""
    if total < 1:
        raise InputError(f"a rate needs at least one trial, not {total}")
    if not 0 <= count <= total:
        raise InputError(f"a count lies between 0 and the number of trials, {count} of {total} does not")


def percent(share: float) -> str:
    """Return a share as a percentage with two decimals; shares under 0.1 % keep two significant digits."""
    hundredths = 100.0 * share
    return f"{hundredths:.2f} %" if hundredths == 0.0 or hundredths >= 0.1 else f"{hundredths:.2g} %"


@dataclass(frozen=True, slots=True)
class Rate:
    """A share with its counts; printed as ``99.27 % (2978/3000)``.

    Attributes:
        count: Trials with the outcome.
        total: All trials, at least 1.
    """

    count: int
    total: int

    def __post_init__(self) -> None:
        """Check the counts."""
        _check_counts(self.count, self.total)

    @property
    def value(self) -> float:
        """The share, in [0, 1]."""
        return self.count / self.total

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Return ``wilson_interval`` of the share."""
        return wilson_interval(self.count, self.total, confidence)

    def as_dict(self) -> dict[str, float | int]:
        """Return ``rate``, ``count`` and ``total`` as plain values."""
        return {"rate": self.value, "count": self.count, "total": self.total}

    def __str__(self) -> str:
        """Return the percentage and the counts; small shares keep two significant digits."""
        return f"{percent(self.value)} ({self.count}/{self.total})"


@dataclass(frozen=True, slots=True)
class WeightedRate:
    """A share in which every person (or pair of people) weighs the same, with the counts behind it.

    Printed as ``0.098 % (17/9000 of 40 people)``; the percentage is not the ratio of the two counts, which is ``pooled``.

    Attributes:
        value: The weighted share, in [0, 1].
        count: Trials with the outcome, each counted once.
        total: All trials, at least 1.
        n_units: People, or pairs of people, that weigh the same, at least 1.
        unit: What they are: ``"people"`` or ``"pairs of people"``.
    """

    value: float
    count: int
    total: int
    n_units: int
    unit: str = "people"

    def __post_init__(self) -> None:
        """Check the counts."""
        _check_counts(self.count, self.total)
        if not 0.0 <= self.value <= 1.0 or self.n_units < 1:
            raise InputError(
                f"a share lies in [0, 1] and is of at least one of the {self.unit}, not {self.value} of {self.n_units}"
            )

    @property
    def pooled(self) -> Rate:
        """The share in which every trial weighs the same."""
        return Rate(self.count, self.total)

    def as_dict(self) -> dict[str, float | int]:
        """Return ``rate``, ``count``, ``total`` and ``n_units`` as plain values."""
        return {"rate": self.value, "count": self.count, "total": self.total, "n_units": self.n_units}

    def __str__(self) -> str:
        """Return the percentage and the counts."""
        return f"{percent(self.value)} ({self.count}/{self.total} of {self.n_units} {self.unit})"
