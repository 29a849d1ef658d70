"""From scores to answers: operating points, verification and identification.

Everything here is arithmetic on scores; no search and no network. Error rates are named as in NIST's FRTE reports: FMR and FNMR for
1:1, FPIR and FNIR for 1:N.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise

from facesearch.core.calibration import Calibration
from facesearch.core.errors import InputError, ModelError, OperatingPointError
from facesearch.core.face import Detection
from facesearch.core.template import require_same_embedder, squared_distance

DEFAULT_VERIFY_FMR = 1e-4
"""FMR that 1:1 verification decides at: one stranger in 10,000 passes (the usual border-control setting)."""

DEFAULT_IDENTIFY_FPIR = 1e-2
"""FPIR that 1:N identification decides at: one probe face in 100 of people not enrolled comes back as somebody."""


def checked_rate(rate: float, *, what: str) -> float:
    """Return an error rate as a float in (0, 1].

    Raises:
        InputError: Not a number in that range.
    """
    value = float(rate)
    if not 0.0 < value <= 1.0:
        raise InputError(f"{what} must lie in (0, 1], not {value}")
    return value


@dataclass(frozen=True, slots=True)
class OperatingPoint:
    """A threshold with the error rate it was set for and the evidence behind it.

    Attributes:
        threshold: Cosine similarity in [-1, 1]; a match is ``score >= threshold``.
        fmr: False match rate it was set for, in (0, 1].
        embedder_id: The embedder it holds for.
        n_non_mated: Non-mated comparisons of photographs behind it.
        is_supported: Whether the evidence reaches the FMR that was asked for; False for the tightest point used in
            place of a tighter one.
        name: Under which it was saved; None for the points shipped with the embedder.
        is_in_sample: Whether it was set on the very data that its rates are reported on.
    """

    threshold: float
    fmr: float
    embedder_id: str
    n_non_mated: int
    is_supported: bool = True
    name: str | None = None
    is_in_sample: bool = False

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (math.isfinite(self.threshold) and -1.0 <= self.threshold <= 1.0):
            raise InputError(f"a threshold is a cosine similarity in [-1, 1], not {self.threshold}")
        checked_rate(self.fmr, what="FMR")


@dataclass(frozen=True, slots=True)
class OperatingPoints:
    """The operating points of one embedder, from the loosest to the tightest.

    Attributes:
        points: By falling FMR and rising threshold, at least one, all of one embedder.
    """

    points: tuple[OperatingPoint, ...]

    def __post_init__(self) -> None:
        """Sort, and check that thresholds rise as the FMR falls."""
        points = tuple(sorted(self.points, key=lambda point: -point.fmr))
        if not points:
            raise OperatingPointError("an embedder without operating points cannot decide, only compare")
        for loose, tight in pairwise(points):
            require_same_embedder(loose.embedder_id, tight.embedder_id, what="operating point")
            if tight.fmr == loose.fmr or tight.threshold < loose.threshold:
                raise OperatingPointError(f"thresholds must rise as the FMR falls: {loose} and {tight} do not")
        object.__setattr__(self, "points", points)

    def __iter__(self) -> Iterator[OperatingPoint]:
        """Yield the points from the loosest to the tightest."""
        return iter(self.points)

    @property
    def embedder_id(self) -> str:
        """The embedder the points hold for."""
        return self.points[0].embedder_id

    def at_fmr(self, fmr: float) -> OperatingPoint:
        """Return the operating point for a false match rate.

        Between two measured points the threshold is interpolated linearly in log FMR (the non-mated tail is close to exponential).
        An FMR looser than the loosest point gets the loosest point: the answer errs on the safe side. One tighter than the tightest
        point gets the tightest with ``is_supported=False``.

        Args:
            fmr: False match rate in (0, 1].

        Raises:
            InputError: ``fmr`` is out of range.
        """
        fmr = checked_rate(fmr, what="FMR")
        loosest, tightest = self.points[0], self.points[-1]
        if fmr >= loosest.fmr:
            return loosest
        if fmr < tightest.fmr * (1.0 - 1e-9):
            return OperatingPoint(tightest.threshold, tightest.fmr, tightest.embedder_id, tightest.n_non_mated, is_supported=False)
        place = bisect_left(self.points, -fmr * (1.0 + 1e-9), key=lambda point: -point.fmr)
        tight = self.points[place]
        if math.isclose(tight.fmr, fmr, rel_tol=1e-9):
            return tight
        loose = self.points[place - 1]
        share = (math.log(loose.fmr) - math.log(fmr)) / (math.log(loose.fmr) - math.log(tight.fmr))
        threshold = loose.threshold + share * (tight.threshold - loose.threshold)
        return OperatingPoint(threshold, fmr, loose.embedder_id, min(loose.n_non_mated, tight.n_non_mated))

    def at_fpir(self, fpir: float, n_templates: int) -> OperatingPoint:
        """Return the operating point for a false positive identification rate of one search.

        A stranger is returned as somebody when any of the templates searched reaches the threshold; by the union bound that happens
        at most ``n_templates · FMR`` of the time, so the threshold is the one at ``FMR = fpir / n_templates``.

        Args:
            fpir: Share of probe faces of people not enrolled that may come back as somebody, in (0, 1].
            n_templates: Templates searched, at least 0 (an empty gallery is treated as one).

        Raises:
            InputError: ``fpir`` is out of range or ``n_templates`` negative.
        """
        fpir = checked_rate(fpir, what="FPIR")
        if n_templates < 0:
            raise InputError(f"the number of templates searched cannot be {n_templates}")
        return self.at_fmr(fpir / max(1, n_templates))


class UnmeasuredPoints(OperatingPoints):
    """Stands where an embedder has no operating points: comparing and searching go on, whoever asks for a threshold gets an error.

    Args:
        error: What to raise; says how to get operating points.
    """

    __slots__ = ("_error",)
    _error: ModelError

    def __init__(self, error: ModelError) -> None:
        object.__setattr__(self, "points", ())
        object.__setattr__(self, "_error", error)

    def __iter__(self) -> Iterator[OperatingPoint]:
        """Raise: there are none."""
        raise self._error

    @property
    def embedder_id(self) -> str:
        """Raise: there are no points, so they are nobody's."""
        raise self._error

    def at_fmr(self, fmr: float) -> OperatingPoint:
        """Raise: nobody measured the threshold for any rate.

        Raises:
            UncalibratedEmbedderError: Or what else was the reason.
        """
        checked_rate(fmr, what="FMR")
        raise self._error


def stricter(threshold: float, floor: float | None) -> float:
    """Return the threshold that a person's floor leaves: never a lower one, and just above the floor where that is higher."""
    return threshold if floor is None else max(threshold, math.nextafter(floor, math.inf))


class Reason(StrEnum):
    """Why an answer is what it is."""

    MATCH = "match"
    BELOW_THRESHOLD = "below_threshold"
    EMPTY_GALLERY = "empty_gallery"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Verification:
    """The answer to "are these two the same person?" (1:1).

    Attributes:
        score: Cosine similarity in [-1, 1].
        operating_point: What it was decided at.
        detections: The two faces compared; one face for photograph against identity, none for bare templates.
        label: The identity compared with, or None for two photographs.
        floor: Score that feedback made too little for this identity; None where there is no such feedback.
        is_rejected: Whether somebody said that this face is not this identity's.
        calibration: What the score is worth as evidence, or None where nothing was calibrated or more than one comparison was made.
    """

    score: float
    operating_point: OperatingPoint
    detections: tuple[Detection, ...] = ()
    label: str | None = None
    floor: float | None = None
    is_rejected: bool = False
    calibration: Calibration | None = None

    def __post_init__(self) -> None:
        """Check that the calibration reads scores of this embedder."""
        if self.calibration is not None:
            require_same_embedder(self.operating_point.embedder_id, self.calibration.embedder_id, what="calibration")

    @property
    def is_match(self) -> bool:
        """Whether the score reaches the threshold, and nobody rejected the pair."""
        return not self.is_rejected and self.score >= self.threshold

    @property
    def threshold(self) -> float:
        """The operating point's threshold, or a stricter one where feedback asks for it."""
        return stricter(self.operating_point.threshold, self.floor)

    @property
    def log_likelihood_ratio(self) -> float | None:
        """How much more likely the score is for the same person than for different people, as a natural logarithm.

        Within what the calibration's counts support (see ``is_llr_clamped``); None without a calibration.
        """
        return None if self.calibration is None else self.calibration.log_likelihood_ratio(self.score)

    @property
    def is_llr_clamped(self) -> bool | None:
        """Whether the counts support less than the fitted log-likelihood ratio; None without a calibration."""
        return None if self.calibration is None else self.calibration.is_clamped(self.score)

    @property
    def probability(self) -> float | None:
        """Probability of the same person at the calibration's prior, in (0, 1); None without a calibration."""
        return None if self.calibration is None else self.calibration.probability(self.score)

    @property
    def squared_distance(self) -> float:
        """Squared Euclidean distance of the two unit vectors, in [0, 4]."""
        return squared_distance(self.score)

    @property
    def reason(self) -> Reason:
        """Why the answer is what it is."""
        if self.is_rejected:
            return Reason.REJECTED
        return Reason.MATCH if self.is_match else Reason.BELOW_THRESHOLD


@dataclass(frozen=True, slots=True)
class Neighbour:
    """An enrolled template near a probe, as an index returns it; nothing is decided yet.

    Attributes:
        template_id: The most similar template of its identity.
        identity_id: Whom it belongs to.
        score: Cosine similarity in [-1, 1].
    """

    template_id: int
    identity_id: int
    score: float


@dataclass(frozen=True, slots=True)
class Candidate:
    """An enrolled person who may be the one searched for.

    Attributes:
        rank: 1 for the most similar.
        identity_id: The person.
        label: The person's label.
        template_id: The person's most similar template.
        score: The person's cosine similarity in [-1, 1]: that template's, or the fused template's (``Fusion``).
        floor: Score that feedback made too little for this person; None where there is no such feedback.
    """

    rank: int
    identity_id: int
    label: str
    template_id: int
    score: float
    floor: float | None = None

    @property
    def squared_distance(self) -> float:
        """Squared Euclidean distance of the two unit vectors, in [0, 4]."""
        return squared_distance(self.score)


def checked_candidates(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """Return candidates after checking that there is one per identity, ranked from 1 by falling score.

    Raises:
        InputError: They break the rule.
    """
    checked = tuple(candidates)
    scores = [candidate.score for candidate in checked]
    if [candidate.rank for candidate in checked] != list(range(1, len(checked) + 1)) or scores != sorted(scores, reverse=True):
        raise InputError("candidates must be ranked from 1 by falling score")
    if len({candidate.identity_id for candidate in checked}) != len(checked):
        raise InputError("candidates must be of different identities")
    return checked


@dataclass(frozen=True, slots=True)
class Identification:
    """The answer to "who is this?" for one face (1:N); unknown is an answer.

    Attributes:
        detection: The face searched for.
        candidates: At most ``k``, one per identity, by falling score; shown whether or not they reach the threshold.
        operating_point: What it was decided at.
        fpir: The false positive identification rate asked for, or None when an FMR was asked for.
        n_templates: Templates searched.
        n_rejected: People left out of the candidates because somebody said that this face is not theirs.
    """

    detection: Detection
    candidates: tuple[Candidate, ...]
    operating_point: OperatingPoint
    fpir: float | None
    n_templates: int
    n_rejected: int = 0

    def __post_init__(self) -> None:
        """Check the candidates."""
        object.__setattr__(self, "candidates", checked_candidates(self.candidates))

    @property
    def match(self) -> Candidate | None:
        """The top candidate when it reaches the threshold, its own stricter one included, else None: unknown."""
        if self.candidates and self.candidates[0].score >= self.threshold_of(self.candidates[0]):
            return self.candidates[0]
        return None

    def threshold_of(self, candidate: Candidate) -> float:
        """Return the threshold for one candidate: the operating point's, or a stricter one where feedback asks for it."""
        return stricter(self.operating_point.threshold, candidate.floor)

    @property
    def label(self) -> str | None:
        """The label of the match, or None for unknown."""
        return self.match.label if self.match else None

    @property
    def is_match(self) -> bool:
        """Whether somebody was recognised."""
        return self.match is not None

    @property
    def threshold(self) -> float:
        """The operating point's threshold."""
        return self.operating_point.threshold

    @property
    def fpir_supported(self) -> bool:
        """Whether the evidence behind the operating points reaches the rate asked for at this gallery size."""
        return self.operating_point.is_supported

    @property
    def reason(self) -> Reason:
        """Why the answer is what it is."""
        if self.match is not None:
            return Reason.MATCH
        if self.candidates:
            return Reason.BELOW_THRESHOLD
        return Reason.REJECTED if self.n_rejected else Reason.EMPTY_GALLERY
