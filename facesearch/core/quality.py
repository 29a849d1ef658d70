"""How usable a face is, what it lacks, and the gates that refuse it.

It measures nothing: see ``facesearch.imaging.quality``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from enum import StrEnum

from facesearch.core.errors import InputError


class QualityReason(StrEnum):
    """Why a face is hard to recognise; a stable code each."""

    TOO_SMALL = "too_small"
    BLURRED = "blurred"
    TURNED_AWAY = "turned_away"
    TOO_DARK = "too_dark"
    TOO_BRIGHT = "too_bright"
    OCCLUDED = "occluded"
    WEAK_DETECTION = "weak_detection"


class QualityGate(StrEnum):
    """How strict the door is."""

    OFF = "off"
    STANDARD = "standard"
    STRICT = "strict"


@dataclass(frozen=True, slots=True)
class Shortfall:
    """One figure that a gate finds wanting.

    Attributes:
        reason: Why it matters.
        measure: Name of the figure in ``Quality``.
        measured: Its value.
        needed: The limit.
        is_ceiling: Whether the limit is the largest value allowed; else the smallest.
    """

    reason: QualityReason
    measure: str
    measured: float
    needed: float
    is_ceiling: bool

    def as_dict(self) -> dict[str, str | float | bool]:
        """Return plain values."""
        return {
            "reason": str(self.reason),
            "measure": self.measure,
            "measured": round(self.measured, 4),
            "needed": self.needed,
            "is_ceiling": self.is_ceiling,
        }

    def __str__(self) -> str:
        """Return reason, figure and limit, for example ``too_small: face_px 18.0, at least 24 needed``."""
        bound = "at most" if self.is_ceiling else "at least"
        return f"{self.reason}: {self.measure} {self.measured:.3g}, {bound} {self.needed:g} needed"


@dataclass(frozen=True, slots=True)
class Quality:
    """The figures of one face; plain floats.

    Attributes:
        face_px: Shorter side of the face's box in pixels of the photograph.
        detail_px: How many pixels wide a face would be that holds the detail seen; at most ``face_px``. An enlarged face has
            much less than its size.
        acuity: Light and dark periods across the face that hold nine tenths of its gradient energy, in the direction that has
            fewest. Motion and bad focus lower it.
        sharpness: Energy of the Laplacian over the variance of the face's grey levels, at least 0.
        yaw: Stand-in for the turn to a side: 0 from the front, about ±1 where the nose lies below an eye.
        pitch: Stand-in for the nod: about 0 from the front, positive where the face looks down.
        roll: Turn of the line of the eyes in degrees; alignment takes it out.
        brightness: Mean grey level of the face in [0, 1].
        dark_share: Share of the face that is black.
        bright_share: Share of the face that is burnt out.
        visible: Contrast of the least visible of eyes and mouth beside that of the face; near 0 where one is hidden.
        detection_score: The detector's confidence in [0, 1].
    """

    face_px: float
    detail_px: float
    acuity: float
    sharpness: float
    yaw: float
    pitch: float
    roll: float
    brightness: float
    dark_share: float
    bright_share: float
    visible: float
    detection_score: float

    @property
    def score(self) -> float:
        """How usable the face is, in [0, 1]; see ``SCORE_WEIGHTS`` for what it means and where it comes from."""
        log_odds = SCORE_BIAS + sum(weight * term for weight, term in zip(SCORE_WEIGHTS.values(), self.terms(), strict=True))
        return 1.0 / (1.0 + math.exp(-log_odds))

    def terms(self) -> tuple[float, ...]:
        """Return what the score is a weighted sum of, in the order of ``SCORE_WEIGHTS``; every term is bounded."""
        detail = max(self.detail_px, 8.0)
        return (
            math.log(max(self.acuity, 2.0)),
            math.log(detail),
            math.log(min(detail, SMALL_PX) / SMALL_PX),
            min(self.yaw**2, 1.0),
            math.log(max(self.visible, 0.01)),
            -math.log(max(1.0 - self.detection_score, 1e-4)),
            self.dark_share,
            self.bright_share,
        )

    def __post_init__(self) -> None:
        """Check that every figure is finite and in its range.

        Raises:
            InputError: One is not.
        """
        for one in fields(self):
            value = getattr(self, one.name)
            if not math.isfinite(value):
                raise InputError(f"quality figure {one.name} is {value}; figures are finite", figure=one.name)
            if one.name in _SHARES and not 0.0 <= value <= 1.0:
                raise InputError(f"quality figure {one.name} is {value}; it lies in [0, 1]", figure=one.name)

    def figures(self) -> dict[str, float]:
        """Return every figure by name, ``score`` among them, rounded to four digits behind the point."""
        return {"score": round(self.score, 4), **{one.name: round(getattr(self, one.name), 4) for one in fields(self)}}

    def shortfalls(self, gate: QualityGate) -> tuple[Shortfall, ...]:
        """Return what a gate finds wanting, in the order of ``QualityReason``; empty where the face passes."""
        found = []
        for limit in GATE_LIMITS[gate]:
            value = abs(getattr(self, limit.measure)) if limit.is_ceiling else getattr(self, limit.measure)
            if value > limit.needed if limit.is_ceiling else value < limit.needed:
                found.append(Shortfall(limit.reason, limit.measure, value, limit.needed, limit.is_ceiling))
        return tuple(found)

    @property
    def reasons(self) -> tuple[QualityReason, ...]:
        """What the standard gate finds wanting."""
        return tuple(dict.fromkeys(one.reason for one in self.shortfalls(QualityGate.STANDARD)))


_SHARES = frozenset({"brightness", "dark_share", "bright_share", "detection_score"})

SMALL_PX = 24.0
"""Pixels of detail from which on more of them hardly help the shipped embedder."""

SCORE_WEIGHTS: dict[str, float] = {
    "acuity": 1.477,
    "detail": -2.089,
    "small": 3.458,
    "turn": -0.502,
    "visible": 0.502,
    "detection": 0.169,
    "dark": -1.594,
    "bright": -4.324,
}
"""Weights of the score's terms, and below its bias: a logistic model of the share of comparisons with other photographs of the same
person that reach the shipped embedder's threshold at FMR 1e-3. Fitted on the people of LFW's ``peopleDevTrain.txt``, a quarter of
whose photographs were damaged, and one further photograph a person reduced, darkened or burnt out, every person weighing the same:
``benchmarks/quality.py`` prints them. Detail counts against a face only beside acuity: where detail is fine in one direction and
coarse in another, it moved."""

SCORE_BIAS = 5.987


@dataclass(frozen=True, slots=True)
class GateLimit:
    """The smallest (or, as a ceiling, largest) size that a gate allows a figure; signs do not count for a ceiling."""

    reason: QualityReason
    measure: str
    needed: float
    is_ceiling: bool = False


GATE_LIMITS: dict[QualityGate, tuple[GateLimit, ...]] = {
    QualityGate.OFF: (),
    QualityGate.STANDARD: (
        GateLimit(QualityReason.TOO_SMALL, "face_px", 13.0),
        GateLimit(QualityReason.TOO_SMALL, "detail_px", 13.0),
        GateLimit(QualityReason.BLURRED, "acuity", 5.5),
        GateLimit(QualityReason.TURNED_AWAY, "yaw", 1.5, is_ceiling=True),
        GateLimit(QualityReason.TURNED_AWAY, "pitch", 0.4, is_ceiling=True),
        GateLimit(QualityReason.TOO_DARK, "brightness", 0.03),
        GateLimit(QualityReason.TOO_BRIGHT, "bright_share", 0.7, is_ceiling=True),
        GateLimit(QualityReason.OCCLUDED, "visible", 0.1),
        GateLimit(QualityReason.WEAK_DETECTION, "detection_score", 0.97),
    ),
    QualityGate.STRICT: (
        GateLimit(QualityReason.TOO_SMALL, "face_px", 18.0),
        GateLimit(QualityReason.TOO_SMALL, "detail_px", 18.0),
        GateLimit(QualityReason.BLURRED, "acuity", 8.0),
        GateLimit(QualityReason.TURNED_AWAY, "yaw", 1.0, is_ceiling=True),
        GateLimit(QualityReason.TURNED_AWAY, "pitch", 0.3, is_ceiling=True),
        GateLimit(QualityReason.TOO_DARK, "brightness", 0.06),
        GateLimit(QualityReason.TOO_BRIGHT, "bright_share", 0.4, is_ceiling=True),
        GateLimit(QualityReason.OCCLUDED, "visible", 0.2),
        GateLimit(QualityReason.WEAK_DETECTION, "detection_score", 0.99),
    ),
}
"""What each gate demands. Set on the same photographs as the score's weights: beyond a limit of the standard gate about one mated
comparison in five or more is missed at FMR 1e-3 (undamaged photographs miss 0.4 %), beyond one of the strict gate about one in
thirty or more. The limits of yaw and pitch are the ends of what LFW holds: how far a face may turn was not measured."""


def checked_gate(gate: object) -> QualityGate | None:
    """Return a gate by name; None stays None.

    Raises:
        InputError: Neither ``off``, ``standard`` nor ``strict``.
    """
    if gate is None:
        return None
    try:
        return QualityGate(str(gate))
    except ValueError as exc:
        raise InputError(f"the quality gate must be one of {', '.join(QualityGate)}, not {gate!r}") from exc
