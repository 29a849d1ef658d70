"""What people said of answers: stored, used by every later answer, listed and taken back.

A rejected pair never returns: the same face of the same photograph is never again that person. Nothing said ever makes a match
easier: "is this person" only takes back an earlier "not this person" for the same face.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from facesearch.core.errors import IncompatibleTemplatesError, UnknownFeedbackError
from facesearch.core.face import Box, box_iou
from facesearch.core.fusion import DEFAULT_FUSION, Fusion, fused_score
from facesearch.core.identity import EnrolledTemplate
from facesearch.core.protocols import IdentityStore, StoreReader
from facesearch.core.records import Feedback, FeedbackKind, NewFeedback
from facesearch.core.template import Template, compare
from facesearch.service.found_face import FoundFace, ProbeFace
from facesearch.service.who import Who, person_of

SAME_FACE_IOU = 0.5
"""Boxes of one photograph that overlap at least so far are the same face (PASCAL VOC's criterion)."""

SAME_PHOTOGRAPH_SCORE = 0.95
"""Score from which two templates are taken for the same photograph, saved again or resized: LFW's photographs that occur twice
under two names score 0.956 to 0.993 (five pairs), the next pair of its people, two photographs of one person, 0.879."""


@dataclass(frozen=True, slots=True)
class Objections:
    """What was said against answers, as one search or comparison needs it.

    Attributes:
        said: Of one collection, oldest first.
        embedder_id: Whose scores are asked about; what was said of faces under another embedder counts for the same photograph,
            its scores do not. Empty takes them all for the same.
    """

    said: tuple[Feedback, ...] = ()
    embedder_id: str = ""

    def rejected(self, face: FoundFace) -> frozenset[int]:
        """Return the ids of the people whom this face was said not to be; what was said last counts."""
        return self.rejected_at(face.image.digest, face.detection.box, face.template)

    def rejected_at(self, image_digest: str, box: Box, template: Template) -> frozenset[int]:
        """Return ``rejected`` of a face that is no photograph's: a place in a picture of this digest, and its template."""
        last: dict[int, FeedbackKind] = {}
        for one in self.said:
            if _is_about(one.said, image_digest, box, template):
                last[one.said.identity_id] = one.said.kind
        return frozenset(person for person, kind in last.items() if kind is FeedbackKind.NOT_THIS_PERSON)

    def floor(self, identity_id: int) -> float | None:
        """Return the score that feedback made too little for a person, the highest of several; None where there is none.

        A rejection that was taken back, the same face being confirmed later, counts no more.
        """
        own = [one.said for one in self.said if one.said.identity_id == identity_id]
        floors = [
            said.floor
            for place, said in enumerate(own)
            if said.floor is not None
            and self.embedder_id in ("", said.template.embedder_id)
            and not any(
                later.kind is FeedbackKind.IS_THIS_PERSON and _is_about(said, later.image_digest, later.box, later.template)
                for later in own[place + 1 :]
            )
        ]
        return max(floors, default=None)


def said_of(enrolled: Sequence[EnrolledTemplate], said: Iterable[Feedback]) -> tuple[Feedback, ...]:
    """Return the feedback that is about one of these enrolled faces, whomever it names."""
    faces = [(one.provenance.image_digest, one.provenance.detection.box, one.template) for one in enrolled]
    return tuple(one for one in said if any(_is_about(one.said, *face) for face in faces))


def _is_about(said: NewFeedback, image_digest: str, box: Box, template: Template) -> bool:
    """Return whether feedback was about this face: the same place of the same photograph, or a near-identical template."""
    if said.image_digest == image_digest:
        return box_iou(said.box, box) >= SAME_FACE_IOU
    is_comparable = said.template.embedder_id == template.embedder_id
    return is_comparable and compare(said.template, template) >= SAME_PHOTOGRAPH_SCORE


def objections(reader: StoreReader, collection: str, embedder_id: str) -> Objections:
    """Return what was said in a collection; nothing where there is no such collection."""
    return Objections(reader.feedback(collection), embedder_id)


class FeedbackBook:
    """Takes down what people say, lists it, and strikes it out.

    Args:
        store: Where it is kept.
        fusion: How several templates of a person become one score: what is said is said of that score.
    """

    def __init__(self, store: IdentityStore, *, fusion: Fusion = DEFAULT_FUSION) -> None:
        self._store = store
        self._fusion = fusion

    def say(
        self, kind: FeedbackKind, face: ProbeFace, label: Who, *, collection: str, by: str = "", raises_threshold: bool = False
    ) -> Feedback:
        """Store what somebody said of a face and an enrolled person.

        Args:
            kind: What.
            face: The face.
            label: The person.
            collection: The person's collection.
            by: Who says so, free text.
            raises_threshold: Ask from now on for a score above this face's before anybody is this person. Only with "not this
                person".

        Raises:
            UnknownIdentityError: The label is not enrolled.
            IncompatibleTemplatesError: The person was enrolled with other embedders only.
            InputError: ``raises_threshold`` with "is this person".
        """
        with self._store.writing() as writer:
            person = person_of(writer, collection, label)
            usable = [
                one for one in writer.templates_of(person.identity_id) if one.template.embedder_id == face.template.embedder_id
            ]
            if not usable:
                raise IncompatibleTemplatesError(
                    f"{person.label!r} has no template of {face.template.embedder_id}: there is no answer to speak of",
                    embedder_id=face.template.embedder_id,
                )
            score = fused_score(face.template, usable, self._fusion)
            said = NewFeedback(
                identity_id=person.identity_id,
                kind=kind,
                template=face.template,
                image_digest=face.image.digest,
                box=face.detection.box,
                score=score,
                floor=score if raises_threshold else None,
                by=by,
                created_at=datetime.now(UTC),
            )
            return writer.add_feedback(said)

    def list(self, collection: str) -> tuple[Feedback, ...]:
        """Return everything said in a collection, oldest first."""
        with self._store.reading() as reader:
            return reader.feedback(collection)

    def remove(self, feedback_id: int, *, collection: str | None = None) -> Feedback:
        """Strike out what was said, with its effect, and return it.

        Args:
            feedback_id: What was said.
            collection: Only if it was said in this one; None for any.

        Raises:
            UnknownFeedbackError: There is no such feedback.
        """
        with self._store.writing() as writer:
            if collection is not None and all(one.feedback_id != feedback_id for one in writer.feedback(collection)):
                raise UnknownFeedbackError(
                    f"there is no feedback {feedback_id} in collection {collection!r}",
                    feedback_id=feedback_id,
                    collection=collection,
                )
            return writer.remove_feedback(feedback_id)
