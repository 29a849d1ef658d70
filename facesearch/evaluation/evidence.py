"""How small an error rate the comparisons at hand can speak for.

It measures no rate: it is handed counts and answers with the rate or with the bound below which nothing is known.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from facesearch.core.decision import checked_rate
from facesearch.core.errors import InputError

MIN_FALSE = 3
"""Comparisons that must be expected to be false at a rate: with none seen in ``n``, 3/n is the 95 % upper bound (rule of three,
Hanley & Lippman-Hand 1983)."""

MIN_PERSON_PAIRS = 10
"""Pairs of people that the false matches must be spread over: fewer are the story of some twins, not a rate."""


def rate_text(rate: float) -> str:
    """Return a rate in two significant digits, rounded up as a bound must be: ``5e-3``, ``4.3e-3``; ``1`` for 1."""
    if not 0.0 < rate < 1.0:
        return f"{rate:g}"
    exponent = math.floor(math.log10(rate) + 1e-12)
    tenths = math.ceil(rate / 10.0 ** (exponent - 1) - 1e-6)
    if tenths >= 100:
        exponent, tenths = exponent + 1, 10
    return f"{tenths / 10:g}e{exponent}" if exponent else "1"


@dataclass(frozen=True, slots=True)
class SupportedRate:
    """A rate that the evidence can speak for.

    Attributes:
        rate: The rate asked for.
        evidence: What supports it.
    """

    rate: float
    evidence: Evidence

    @property
    def is_supported(self) -> bool:
        """True."""
        return True

    def __str__(self) -> str:
        """Return the rate with its evidence."""
        return f"{self.evidence.what} {self.rate:g} ({self.evidence})"


@dataclass(frozen=True, slots=True)
class RateBound:
    """The answer in place of a rate that the evidence cannot speak for.

    Attributes:
        rate: The rate asked for.
        bound: The smallest rate that is supported, in (0, 1].
        reason: Why, for a person: "600 comparisons support nothing below 5e-3".
        evidence: What there is.
    """

    rate: float
    bound: float
    reason: str
    evidence: Evidence

    @property
    def is_supported(self) -> bool:
        """False."""
        return False

    def __str__(self) -> str:
        """Return the reason."""
        return self.reason


@dataclass(frozen=True, slots=True)
class Evidence:
    """The comparisons behind an error rate.

    Attributes:
        n_comparisons: Comparisons of photographs (searches for an FPIR) that could have been false, at least 0.
        n_false: Those that were, at the threshold concerned.
        n_person_pairs: Pairs of people that the false ones are spread over, or None where people are not known (independent pairs).
        n_people: People behind all comparisons, or None where not known.
        spread_floor: Smallest rate at which false ones are spread over ``MIN_PERSON_PAIRS`` pairs of people, 1 where no
            threshold gives that many; None where it was not looked for (or people are not known).
        what: The rate's name, ``"FMR"`` or ``"FPIR"``.
    """

    n_comparisons: int
    n_false: int
    n_person_pairs: int | None = None
    n_people: int | None = None
    spread_floor: float | None = None
    what: str = "FMR"

    def __post_init__(self) -> None:
        """Check the counts."""
        if not 0 <= self.n_false <= self.n_comparisons:
            raise InputError(f"of {self.n_comparisons} comparisons {self.n_false} cannot be false")
        if self.n_person_pairs is not None and not 0 <= self.n_person_pairs <= self.n_false:
            raise InputError(f"{self.n_false} false matches cannot be spread over {self.n_person_pairs} pairs of people")

    @property
    def bound(self) -> float:
        """The smallest rate that can be supported, in (0, 1]; 1 where nothing can."""
        if self.n_comparisons == 0:
            return 1.0
        by_count = MIN_FALSE / self.n_comparisons
        if self.n_person_pairs is None:
            return min(1.0, by_count)
        if self.spread_floor is not None:
            return min(1.0, max(by_count, self.spread_floor))
        # Ten pairs of people need ten false matches; no threshold of these comparisons gives them.
        return 1.0 if self.n_comparisons <= MIN_PERSON_PAIRS else min(1.0, MIN_PERSON_PAIRS / self.n_comparisons)

    def supports(self, rate: float) -> bool:
        """Whether a rate has ``MIN_FALSE`` expected false comparisons, and these ``MIN_PERSON_PAIRS`` pairs of people where known.

        Raises:
            InputError: ``rate`` is outside (0, 1].
        """
        rate = checked_rate(rate, what=self.what)
        enough = self.n_comparisons * rate * (1.0 + 1e-9) >= MIN_FALSE
        return enough and (self.n_person_pairs is None or self.n_person_pairs >= MIN_PERSON_PAIRS)

    def answer(self, rate: float) -> SupportedRate | RateBound:
        """Return the rate where it is supported, else the bound and the reason.

        Raises:
            InputError: ``rate`` is outside (0, 1].
        """
        if self.supports(rate):
            return SupportedRate(rate, self)
        # A bound that does not lie above the rate refused is what ten pairs of people would need, and there are no ten.
        bound = self.bound if self.bound > rate else 1.0
        if self.n_comparisons < MIN_FALSE:
            reason = f"{self.n_comparisons} comparisons support no {self.what} at all"
        elif self.n_comparisons * rate * (1.0 + 1e-9) < MIN_FALSE:
            reason = f"{self.n_comparisons} comparisons support nothing below {rate_text(MIN_FALSE / self.n_comparisons)}"
        else:
            reach = f"nothing below {rate_text(bound)}" if bound < 1.0 else f"no {self.what} at all"
            reason = (
                f"false matches at {self.what} {rate_text(rate)} ({self.n_false}) fall on fewer than {MIN_PERSON_PAIRS} pairs of "
                f"people ({self.n_person_pairs}): {self.n_comparisons} comparisons support {reach}"
            )
        return RateBound(rate, bound, reason, self)

    def as_dict(self) -> dict[str, object]:
        """Return the counts as plain values."""
        return {
            "n_comparisons": self.n_comparisons,
            "n_false": self.n_false,
            "n_person_pairs": self.n_person_pairs,
            "n_people": self.n_people,
            "bound": self.bound,
        }

    def __str__(self) -> str:
        """Return the counts in words."""
        spread = "" if self.n_person_pairs is None else f" over {self.n_person_pairs} pairs of people"
        return f"{self.n_false} of {self.n_comparisons} comparisons false{spread}"
