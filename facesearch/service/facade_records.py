"""The part of the library's face about what is learned beside the gallery: operating points, calibration, feedback.

It only passes on, like ``facade``.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facesearch.core.calibration import DEFAULT_PRIOR, Calibration, CalibrationMethod
from facesearch.core.errors import InputError
from facesearch.core.records import Feedback, FeedbackKind, SavedPoint
from facesearch.service.faces import FaceChoice
from facesearch.service.feedback import FeedbackBook
from facesearch.service.found_face import ProbeFace
from facesearch.service.pipeline import FacePipeline, ImageSource
from facesearch.service.saved_points import SavedPoints
from facesearch.service.who import Who

if TYPE_CHECKING:
    from facesearch.service.calibrate import Calibrate, CalibrationOutcome
    from facesearch.service.photographs import Progress


@dataclass(frozen=True, slots=True)
class Records:
    """The use cases about what is learned beside the gallery; ``calibrate`` is made when it is needed."""

    saved_points: SavedPoints
    calibrate: Callable[[], Calibrate]
    feedback: FeedbackBook


class RecordsFacade:
    """Operating points, calibration and feedback of a ``FaceSearch``."""

    @abstractmethod
    def _records(self, collection: str | None = None) -> tuple[Records, FacePipeline]:
        """Return the use cases of a collection's embedder, that of the settings for None, and what finds faces."""

    @abstractmethod
    def _collection(self, name: str | None) -> str:
        """Return the name of a collection, that of the settings for None."""

    def reject(
        self,
        photo: ImageSource | ProbeFace,
        label: Who,
        *,
        collection: str | None = None,
        face: FaceChoice = "only",
        by: str = "",
        raise_threshold: bool = False,
    ) -> Feedback:
        """Say that a face is not an enrolled person's: no later answer says so again for that face of that photograph.

        Args:
            photo: The photograph.
            label: The person it is not.
            collection: The person's collection.
            face: Which face.
            by: Who says so, free text.
            raise_threshold: Ask from now on for a score above this face's before anybody is that person. Removing the feedback
                takes it back.

        Raises:
            UnknownIdentityError: The label is not enrolled.
        """
        return self._say(FeedbackKind.NOT_THIS_PERSON, photo, label, (collection, face, by), raises_threshold=raise_threshold)

    def confirm(
        self,
        photo: ImageSource | ProbeFace,
        label: Who,
        *,
        collection: str | None = None,
        face: FaceChoice = "only",
        by: str = "",
    ) -> Feedback:
        """Say that a face is an enrolled person's; it takes back an earlier ``reject`` of the face, and makes nothing a match.

        Raises:
            UnknownIdentityError: The label is not enrolled.
        """
        return self._say(FeedbackKind.IS_THIS_PERSON, photo, label, (collection, face, by), raises_threshold=False)

    def feedback(self, *, collection: str | None = None) -> tuple[Feedback, ...]:
        """Return everything said in a collection, oldest first."""
        return self._records()[0].feedback.list(self._collection(collection))

    def remove_feedback(self, feedback_id: int, *, collection: str | None = None) -> Feedback:
        """Strike out what was said, with its effect, and return it; only if it was said in a collection, where one is named.

        Raises:
            UnknownFeedbackError: There is no such feedback.
        """
        return self._records()[0].feedback.remove(feedback_id, collection=collection)

    def save_points(self, points: Iterable[SavedPoint]) -> tuple[SavedPoint, ...]:
        """Keep measured operating points, all or none; see ``SavedPoints.save``."""
        return self._records()[0].saved_points.save(points)

    def saved_points(self) -> tuple[SavedPoint, ...]:
        """Return all saved operating points, those of other embedders too, by name."""
        return self._records()[0].saved_points.all()

    def saved_point(self, name: str) -> SavedPoint:
        """Return a saved operating point of the embedder in use.

        Raises:
            OperatingPointError: There is none of this name.
            IncompatibleTemplatesError: It is of another embedder.
        """
        return self._records()[0].saved_points.get(name)

    def remove_point(self, name: str) -> SavedPoint:
        """Delete a saved operating point of the embedder in use and return it; raises as ``saved_point``."""
        return self._records()[0].saved_points.remove(name)

    def calibrate(
        self,
        folder: str | os.PathLike[str] | None = None,
        *,
        collection: str | None = None,
        method: CalibrationMethod | str = CalibrationMethod.LOGISTIC,
        prior: float = DEFAULT_PRIOR,
        on_progress: Progress | None = None,
    ) -> CalibrationOutcome:
        """Measure what scores are worth as evidence; from then on ``verify`` gives a probability and a log-likelihood ratio.

        Args:
            folder: ``<label>/<picture>``; None for the people enrolled in the collection.
            collection: Whose people, where there is no folder.
            method: ``"logistic"`` or ``"isotonic"``.
            prior: Probability of "same person" in the use at hand, in (0, 1).
            on_progress: Called after each photograph of the folder.

        Raises:
            InputError: Too few people or photographs to support any statement, or an argument is wrong.
        """
        try:
            chosen = CalibrationMethod(method)
        except ValueError as exc:
            raise InputError(f"method must be one of {', '.join(CalibrationMethod)}, not {method!r}") from exc
        if folder is None:
            where = self._collection(collection)
            return self._records(where)[0].calibrate().enrolled(where, method=chosen, prior=prior)
        service = self._records()[0].calibrate()
        return service.folder(folder, method=chosen, prior=prior, on_progress=on_progress)

    def calibrations(self) -> tuple[Calibration, ...]:
        """Return the stored calibrations, one an embedder."""
        return self._records()[0].calibrate().all()

    def remove_calibration(self) -> bool:
        """Delete the calibration of the embedder in use; return whether there was one."""
        return self._records()[0].calibrate().remove()

    def _say(
        self,
        kind: FeedbackKind,
        photo: ImageSource | ProbeFace,
        label: Who,
        about: tuple[str | None, FaceChoice, str],
        *,
        raises_threshold: bool,
    ) -> Feedback:
        collection, face, by = about
        where = self._collection(collection)
        records, pipeline = self._records(where)
        found = pipeline.face(photo, face)
        return records.feedback.say(kind, found, label, collection=where, by=by, raises_threshold=raises_threshold)
