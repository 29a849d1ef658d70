"""Which faces may be enrolled: the same face again, another person under this label, this person under another label.

A face that is accepted counts for those after it, although it is written later: many faces are decided on and written together with
the outcomes that one after the other would have. It writes nothing: see ``enroll``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.decision import Neighbour, OperatingPoints, stricter
from facesearch.core.errors import (
    DuplicatePersonError,
    DuplicateTemplateError,
    IdentityMismatchError,
    LabelTakenError,
    UncalibratedEmbedderError,
)
from facesearch.core.face import box_iou
from facesearch.core.identity import Identity, KeptPicture
from facesearch.core.protocols import GalleryIndex, StoreReader
from facesearch.core.quality import QualityGate
from facesearch.service.feedback import objections
from facesearch.service.found_face import FoundFace

SAME_FACE_IOU = 0.5
"""Boxes of one photograph that overlap at least so far are the same face (PASCAL VOC's criterion)."""


@dataclass(frozen=True, slots=True)
class EnrollmentChecks:
    """What an enrolment may wave through.

    Attributes:
        new: The label must not exist yet.
        allow_mismatch: Enroll although the face resembles none of the label's photographs.
        allow_duplicate: Enroll although the face is that of somebody enrolled under another label.
        quality_gate: How usable the face must be; None for the setting.
        identity_id: Enroll for this person only, whatever label the faces were given; None goes by the label.
    """

    new: bool = False
    allow_mismatch: bool = False
    allow_duplicate: bool = False
    quality_gate: QualityGate | None = None
    identity_id: int | None = None


@dataclass(frozen=True, slots=True, eq=False)
class FaceToEnroll:
    """A face, whose it is, and what to keep of the photograph."""

    face: FoundFace
    label: str
    picture: KeptPicture | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Accepted:
    """A face that may be written.

    Attributes:
        one: The face, its label and tags in normal form.
        person_key: The person's id, or a negative number of its own for somebody who is not written yet.
        tags: The person's tags from now on.
        is_new: Whether the label begins with this face.
        other_label: Somebody else whom the face could be taken for, where that was allowed.
    """

    one: FaceToEnroll
    person_key: int
    tags: tuple[str, ...]
    is_new: bool
    other_label: str | None


@dataclass(frozen=True, slots=True, eq=False)
class SameAsAccepted:
    """A face that was accepted before, in the same group: refused as a duplicate of what is about to be written."""

    first: Accepted


@dataclass(slots=True)
class _Person:
    """A label as the faces decided on so far leave it."""

    key: int
    label: str
    tags: tuple[str, ...]
    enrolled: Vectors | None


def same_face_message(name: str, label: str, template_id: int | None) -> str:
    """Return what is said of a face that is enrolled already."""
    return f"{name}: this face of this photograph is enrolled already, as {label!r} (template {template_id})"


def same_face_error(face: FoundFace, label: str, template_id: int) -> DuplicateTemplateError:
    """Return the error of a face that is enrolled already."""
    return DuplicateTemplateError(same_face_message(face.image.name, label, template_id), label=label, template_id=template_id)


def _without_checks(exc: UncalibratedEmbedderError) -> UncalibratedEmbedderError:
    """Return the error with the way to enroll all the same."""
    return UncalibratedEmbedderError(
        f"{exc.message}; or enroll without the checks that decide: allow duplicates and mismatches", **exc.context
    )


def mismatch_threshold(points: OperatingPoints, fmr: float) -> float:
    """Return the score that a further photograph of a person must reach against one of those enrolled.

    Raises:
        UncalibratedEmbedderError: Nobody measured the embedder; the message says how to enroll all the same.
    """
    try:
        return points.at_fmr(fmr).threshold
    except UncalibratedEmbedderError as exc:
        raise _without_checks(exc) from exc


class EnrollmentDecisions:
    """Decides on the faces of one transaction, in order.

    What the database and the index know of them is asked for at once, here.

    Args:
        reader: The transaction.
        index: The collection's index, in step with the transaction.
        faces: All faces that will be decided on, with labels and tags in normal form; of one embedder.
        collection: Where they go.
        rules: The operating points, the FPIR of duplicates and the FMR of mismatches.
    """

    def __init__(
        self,
        reader: StoreReader,
        index: GalleryIndex,
        faces: Sequence[FaceToEnroll],
        *,
        collection: str,
        rules: tuple[OperatingPoints, float, float],
    ) -> None:
        self._reader = reader
        self._collection = collection
        self._points, self._duplicate_fpir, self._mismatch_fmr = rules
        self._n_templates = len(index)
        embedder_id = faces[0].face.template.embedder_id
        self._known_faces = reader.faces_of_images(collection, {one.face.image.digest for one in faces}, embedder_id)
        self._people = self._known_people(embedder_id, {one.label for one in faces})
        said = objections(reader, collection, embedder_id)
        self._said = said
        self._rejected = [said.rejected(one.face) if said.said else frozenset[int]() for one in faces]
        # A face's own person and those it was said not to be are no doubles: so many more are asked for.
        n_near = 2 + max(map(len, self._rejected))
        self._near = index.search_many([one.face.template for one in faces], n_near)
        self._places = {id(one): place for place, one in enumerate(faces)}
        self._accepted: list[Accepted] = []
        self._vectors: NDArray[np.float64] = np.empty((len(faces), faces[0].face.template.dim))
        self._by_digest: dict[str, list[Accepted]] = {}

    def decide(self, one: FaceToEnroll, checks: EnrollmentChecks) -> Accepted | SameAsAccepted:
        """Return the face as it is to be written, or which accepted one it is.

        Raises:
            LabelTakenError: ``checks.new`` and the label exists.
            DuplicateTemplateError: The same face of the same photograph is enrolled already.
            IdentityMismatchError: The face resembles none of the label's photographs.
            DuplicatePersonError: The face is that of somebody enrolled under another label.
            UncalibratedEmbedderError: Nobody measured the embedder, and not both checks that decide are waved through.
        """
        before = self._same_face(one.face)
        if before is not None:
            return SameAsAccepted(before)
        person = self._people.get(one.label)
        if person is not None and checks.new:
            raise LabelTakenError(
                f"label {one.label!r} exists in collection {self._collection!r}; leave out 'new' to add a photograph"
            )
        if person is not None and not checks.allow_mismatch:
            self._refuse_mismatch(one.face, person)
        other = self._double(one, person, checks)
        if other is not None and not checks.allow_duplicate:
            raise DuplicatePersonError(
                f"{one.face.image.name}: the face for {one.label!r} is that of {other!r} already enrolled in "
                f"{self._collection!r}; allow duplicates to enroll it all the same",
                label=one.label,
                other_label=other,
            )
        return self._accept(one, person, other)

    def _known_people(self, embedder_id: str, labels: set[str]) -> dict[str, _Person]:
        known = self._reader.identities_by_label(self._collection, labels)
        enrolled = self._reader.template_batch_of((person.identity_id for person in known.values()), embedder_id)
        order = np.argsort(enrolled.identity_ids, kind="stable")
        owners = enrolled.identity_ids[order]
        people = {}
        for label, person in known.items():
            first, end = np.searchsorted(owners, [person.identity_id, person.identity_id + 1])
            own = enrolled.vectors[order[first:end]] if end > first else None
            people[label] = _Person(person.identity_id, label, person.tags, own)
        return people

    def _same_face(self, face: FoundFace) -> Accepted | None:
        box = face.detection.box
        for template_id, label, other in self._known_faces.get(face.image.digest, ()):
            if box_iou(other, box) >= SAME_FACE_IOU:
                raise same_face_error(face, label, template_id)
        for accepted in self._by_digest.get(face.image.digest, ()):
            if box_iou(accepted.one.face.detection.box, box) >= SAME_FACE_IOU:
                return accepted
        return None

    def _refuse_mismatch(self, face: FoundFace, person: _Person) -> None:
        vector = face.template.vector
        scores = [] if person.enrolled is None else [float((person.enrolled @ vector).max())]
        own = [place for place, accepted in enumerate(self._accepted) if accepted.person_key == person.key]
        if own:
            scores.append(float((self._vectors[own] @ vector).max()))
        threshold = mismatch_threshold(self._points, self._mismatch_fmr) if scores else -1.0
        if scores and max(scores) < threshold:
            raise IdentityMismatchError(
                f"{face.image.name}: the face resembles no photograph of {person.label!r} "
                f"(best score {max(scores):.3f}, needed {threshold:.3f}); "
                "allow the mismatch to enroll it all the same",
                label=person.label,
                score=round(max(scores), 4),
                threshold=threshold,
            )

    def _double(self, one: FaceToEnroll, person: _Person | None, checks: EnrollmentChecks) -> str | None:
        """Return whose else the face could be taken for, as feedback allows, or None; None too where nobody can tell and may."""
        place = self._places[id(one)]
        try:
            threshold = self._points.at_fpir(self._duplicate_fpir, self._n_templates + len(self._accepted)).threshold
        except UncalibratedEmbedderError as exc:
            if checks.allow_duplicate:
                return None
            raise _without_checks(exc) from exc
        ruled_out = self._rejected[place] | ({person.key} if person is not None else set())
        for key, score in self._nearest(place, one)[: 1 + len(ruled_out)]:
            if key not in ruled_out and score >= stricter(threshold, self._said.floor(key)):
                return self._label_of(key)
        return None

    def _nearest(self, place: int, one: FaceToEnroll) -> list[tuple[int, float]]:
        """Return people and the best score of each, enrolled and accepted ones, by falling score; the earlier enrolled first."""
        near: Sequence[Neighbour] = self._near[place]
        best = {other.identity_id: other.score for other in near}
        if self._accepted:
            before = self._vectors[: len(self._accepted)]
            scores = np.clip(before @ one.face.template.vector.astype(np.float64), -1.0, 1.0)
            for accepted, score in zip(self._accepted, scores.tolist(), strict=True):
                # Faces of one photograph are different people's, however alike they are.
                if accepted.one.face.image.digest != one.face.image.digest and score > best.get(accepted.person_key, -2.0):
                    best[accepted.person_key] = score
        return sorted(best.items(), key=lambda item: -item[1])

    def _label_of(self, key: int) -> str | None:
        for accepted in self._accepted:
            if accepted.person_key == key:
                return accepted.one.label
        person: Identity | None = self._reader.identities_by_id([key]).get(key)
        return None if person is None else person.label

    def _accept(self, one: FaceToEnroll, person: _Person | None, other: str | None) -> Accepted:
        is_new = person is None
        if person is None:
            person = self._people[one.label] = _Person(-1 - len(self._accepted), one.label, one.tags, None)
        elif one.tags:
            person.tags = tuple(sorted({*person.tags, *one.tags}))
        accepted = Accepted(one, person.key, person.tags, is_new, other)
        self._vectors[len(self._accepted)] = one.face.template.vector
        self._accepted.append(accepted)
        self._by_digest.setdefault(one.face.image.digest, []).append(accepted)
        return accepted
