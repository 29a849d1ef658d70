"""How an embedder's scores are spread, mated and non-mated, as its card tells it: for showing where a score lies.

It decides nothing: thresholds come from operating points, set on other people.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SHARE_TOLERANCE = 5e-3
"""How far the shares of a histogram may be from adding up to 1: each is written with three digits."""


@dataclass(frozen=True, slots=True)
class ScoreShares:
    """Two histograms over scores from ``start`` in bins of equal width, every person weighing the same.

    Attributes:
        measured_on: The photographs.
        n_people: People among them.
        n_mated: Mated comparisons of photographs.
        n_non_mated: Non-mated ones.
        start: Lower end of the first bin, at least -1.
        width: Of a bin; the last bin ends at 1 or below, or holds the score 1 alone.
        mated: Share of the mated comparisons in each bin, in [0, 1].
        non_mated: Share of the non-mated ones, as many.
    """

    measured_on: str
    n_people: int
    n_mated: int
    n_non_mated: int
    start: float
    width: float
    mated: tuple[float, ...]
    non_mated: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the two histograms fit each other and are shares.

        Raises:
            ValueError: They do not or are not.
        """
        if len(self.mated) != len(self.non_mated) or not self.mated:
            raise ValueError(
                f"histograms of {len(self.mated)} mated and {len(self.non_mated)} non-mated bins do not fit each other"
            )
        if not (self.start >= -1.0 and self.width > 0.0 and self.start + self.width * (len(self.mated) - 1) <= 1.0):
            raise ValueError(f"{len(self.mated)} bins of {self.width} from {self.start} leave [-1, 1]")
        for shares in (self.mated, self.non_mated):
            if not (min(shares) >= 0.0 and math.isclose(sum(shares), 1.0, abs_tol=SHARE_TOLERANCE)):
                raise ValueError(f"the shares of a histogram add up to 1, not to {sum(shares)}")

    def as_dict(self) -> dict[str, object]:
        """Return the histograms as plain values; shares in [0, 1]."""
        return {
            "measured_on": self.measured_on,
            "n_people": self.n_people,
            "n_mated": self.n_mated,
            "n_non_mated": self.n_non_mated,
            "start": self.start,
            "width": self.width,
            "mated": list(self.mated),
            "non_mated": list(self.non_mated),
        }


def parse_score_shares(fields: Mapping[str, Any]) -> dict[str, ScoreShares]:
    """Return the histograms of a card by way of embedding (``"single"``, ``"flip"``); none where none were counted.

    Raises:
        ValueError: One contradicts itself; ``KeyError`` and ``TypeError`` where a field is missing or has another form.
    """
    return {
        str(way): ScoreShares(
            measured_on=str(one["measured_on"]),
            n_people=int(one["n_people"]),
            n_mated=int(one["n_mated"]),
            n_non_mated=int(one["n_non_mated"]),
            start=float(one["start"]),
            width=float(one["width"]),
            mated=tuple(float(share) for share in one["mated"]),
            non_mated=tuple(float(share) for share in one["non_mated"]),
        )
        for way, one in fields.items()
    }
