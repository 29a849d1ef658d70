"""What is learned beside the gallery and kept in its database: operating points, calibrations, feedback.

It measures nothing and decides nothing: ``facesearch.evaluation`` makes the figures, ``facesearch.service`` uses them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from facesearch.core.calibration import Calibration
from facesearch.core.decision import OperatingPoint, checked_rate
from facesearch.core.errors import InputError
from facesearch.core.face import Box
from facesearch.core.identity import checked_label
from facesearch.core.template import Template

ONE_TEMPLATE = "single"
"""Stands for a fusion rule where every person had one template: what was measured then holds for any rule."""


class PointKind(StrEnum):
    """Which rate an operating point was set for."""

    FMR = "fmr"
    FPIR = "fpir"


@dataclass(frozen=True, slots=True)
class SavedPoint:
    """A measured threshold with its name and the evidence behind it.

    Attributes:
        name: Unique among the points of its embedder.
        embedder_id: The embedder it holds for.
        kind: The rate's kind: of one comparison, or of one search.
        rate: The rate it was set for, in (0, 1].
        threshold: Cosine similarity in [-1, 1].
        n_non_mated: Comparisons of different people (``fmr``) or searches of strangers (``fpir``) behind it.
        n_person_pairs: Different pairs of people among those comparisons; for ``fpir`` the number of strangers.
        n_templates: Templates searched, for ``fpir``; None for ``fmr``.
        fusion: How the templates of a person made one score, for ``fpir``; ``ONE_TEMPLATE`` where nobody had several.
        data_digest: SHA-256 of the data it was measured on.
        source: That data in words.
        is_in_sample: Whether it was set on the very data that its rates are reported on.
        created_at: UTC.
    """

    name: str
    embedder_id: str
    kind: PointKind
    rate: float
    threshold: float
    n_non_mated: int
    n_person_pairs: int
    n_templates: int | None
    fusion: str
    data_digest: str
    source: str
    is_in_sample: bool
    created_at: datetime

    def __post_init__(self) -> None:
        """Check the ranges and take the name in its normal form."""
        object.__setattr__(self, "name", checked_label(self.name, what="name of an operating point"))
        object.__setattr__(self, "kind", PointKind(self.kind))
        checked_rate(self.rate, what=self.kind.upper())
        if not -1.0 <= self.threshold <= 1.0:  # NaN too
            raise InputError(f"a threshold is a cosine similarity in [-1, 1], not {self.threshold}")
        if (self.kind is PointKind.FPIR) != (self.n_templates is not None) or (self.n_templates or 1) < 1:
            raise InputError(f"an FPIR holds for a number of templates searched and an FMR for none, not {self.n_templates}")
        if self.n_non_mated < 0 or self.n_person_pairs < 0:
            raise InputError(f"counts cannot be negative: {self.n_non_mated} comparisons, {self.n_person_pairs} pairs of people")

    def decision_point(self, n_comparisons: int | None = None, *, fusion: str = ONE_TEMPLATE) -> OperatingPoint:
        """Return what an answer is decided at.

        The FMR of a point set for searches is the union bound's, ``rate / n_templates``. A search that gives strangers more
        chances than it was measured with, or by another fusion rule, may let more of them pass: it is then not supported.

        Args:
            n_comparisons: Chances that a stranger has in the search (``Fusion.n_comparisons``); None for 1:1.
            fusion: How the templates of a person make one score in that search.
        """
        fmr = self.rate / (self.n_templates or 1)
        is_supported = self.n_templates is None or (
            n_comparisons is not None and n_comparisons <= self.n_templates and self.fusion in (fusion, ONE_TEMPLATE)
        )
        point = OperatingPoint(self.threshold, fmr, self.embedder_id, self.n_non_mated, is_supported)
        return replace(point, name=self.name, is_in_sample=self.is_in_sample)


class FeedbackKind(StrEnum):
    """What somebody said of a face and an enrolled person."""

    NOT_THIS_PERSON = "not_this_person"
    IS_THIS_PERSON = "is_this_person"


@dataclass(frozen=True, slots=True)
class NewFeedback:
    """What somebody said, about to be stored.

    Attributes:
        identity_id: The enrolled person.
        kind: Whether the face is that person's.
        template: Of the face.
        image_digest: SHA-256 of the photograph.
        box: Of the face, in pixels of the photograph.
        score: Of the face against the person's most similar template, in [-1, 1].
        floor: Scores up to and including this one no longer make anybody this person; None leaves the person's threshold alone.
        by: Who said so, as free text; empty where nobody is named.
        created_at: UTC.
    """

    identity_id: int
    kind: FeedbackKind
    template: Template
    image_digest: str
    box: Box
    score: float
    floor: float | None
    by: str
    created_at: datetime

    def __post_init__(self) -> None:
        """Check the numbers."""
        if not math.isfinite(self.score) or (self.floor is not None and not math.isfinite(self.floor)):
            raise InputError(f"scores of feedback are finite, not {self.score} and {self.floor}")
        if self.floor is not None and self.kind is not FeedbackKind.NOT_THIS_PERSON:
            raise InputError("only 'not this person' can make a person's threshold stricter")


@dataclass(frozen=True, slots=True)
class Feedback:
    """What somebody said, as it is stored.

    Attributes:
        feedback_id: Never reused; rises with time.
        collection: Name of the collection.
        label: The enrolled person's label now.
        said: What was said.
    """

    feedback_id: int
    collection: str
    label: str
    said: NewFeedback


class RecordsReader(Protocol):
    """What can be asked of the store about operating points, calibrations and feedback."""

    def saved_points(self, *, name: str | None = None) -> tuple[SavedPoint, ...]:
        """Return saved points of every embedder by name, then embedder; those of one name where it is given."""
        ...

    def calibration(self, embedder_id: str) -> Calibration | None:
        """Return an embedder's calibration, or None where none was made."""
        ...

    def calibrations(self) -> tuple[Calibration, ...]:
        """Return all calibrations by embedder id."""
        ...

    def feedback(self, collection: str, *, embedder_id: str | None = None) -> tuple[Feedback, ...]:
        """Return what was said in a collection, oldest first; of one embedder's templates where it is named."""
        ...


class RecordsWriter(Protocol):
    """What can be changed about operating points, calibrations and feedback."""

    def save_point(self, point: SavedPoint) -> None:
        """Store a point; one of the same name and embedder is replaced."""
        ...

    def remove_point(self, name: str, embedder_id: str) -> None:
        """Delete a point; nothing happens where there is none."""
        ...

    def save_calibration(self, calibration: Calibration) -> None:
        """Store an embedder's calibration in place of the one it may have."""
        ...

    def remove_calibration(self, embedder_id: str) -> None:
        """Delete an embedder's calibration; nothing happens where there is none."""
        ...

    def add_feedback(self, said: NewFeedback) -> Feedback:
        """Store what somebody said.

        Raises:
            UnknownIdentityError: There is no such identity.
        """
        ...

    def remove_feedback(self, feedback_id: int) -> Feedback:
        """Delete what somebody said and return it.

        Raises:
            UnknownFeedbackError: There is no such feedback.
        """
        ...
