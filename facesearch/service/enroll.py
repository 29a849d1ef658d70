"""Enrolment: one photograph, all faces of a photograph, or a folder of people.

The checks (same face again, another person under this label, this person under another label) and the writing are one transaction:
what was checked still holds when it is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from facesearch.core.decision import OperatingPoints, stricter
from facesearch.core.errors import (
    DuplicatePersonError,
    DuplicateTemplateError,
    IdentityMismatchError,
    InputError,
    LabelTakenError,
    LowQualityFaceError,
    UnknownIdentityError,
)
from facesearch.core.face import box_iou
from facesearch.core.identity import EnrolledTemplate, Identity, KeptPicture, NewFace, Provenance, checked_label, checked_tags
from facesearch.core.protocols import GalleryIndex, IdentityStore, StoreWriter
from facesearch.core.quality import QualityGate
from facesearch.service.feedback import objections
from facesearch.service.gallery import GalleryIndexes
from facesearch.service.pipeline import ProbeFace

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
    """

    new: bool = False
    allow_mismatch: bool = False
    allow_duplicate: bool = False
    quality_gate: QualityGate | None = None


@dataclass(frozen=True, slots=True)
class Enrollment:
    """A face that was enrolled.

    Attributes:
        identity: The person.
        template: What was stored.
        is_new_identity: Whether the label was made by this enrolment.
        possible_duplicate: Label of somebody else whom the face could be taken for, where that was allowed; else None.
    """

    identity: Identity
    template: EnrolledTemplate
    is_new_identity: bool
    possible_duplicate: str | None


@dataclass(frozen=True, slots=True, eq=False)
class FaceToEnroll:
    """A face, whose it is, and what to keep of the photograph."""

    face: ProbeFace
    label: str
    picture: KeptPicture | None = None


class Enroll:
    """Enrolls faces.

    Args:
        store: Where they go.
        indexes: Where duplicates are looked for.
        points: The embedder's operating points.
        duplicate_fpir: Rate at which a person new to the gallery may wrongly be called a duplicate.
        mismatch_fmr: FMR whose threshold a further photograph of a person must reach against one of those enrolled.
        quality_gate: How usable a face must be where an enrolment does not say.
    """

    def __init__(
        self,
        store: IdentityStore,
        indexes: GalleryIndexes,
        points: OperatingPoints,
        *,
        duplicate_fpir: float,
        mismatch_fmr: float,
        quality_gate: QualityGate = QualityGate.OFF,
    ) -> None:
        self._store = store
        self._indexes = indexes
        self._points = points
        self._duplicate_fpir = duplicate_fpir
        self._mismatch_fmr = mismatch_fmr
        self._quality_gate = quality_gate

    def __call__(
        self,
        faces: Sequence[FaceToEnroll],
        *,
        collection: str,
        tags: Iterable[str] = (),
        checks: EnrollmentChecks = EnrollmentChecks(),
    ) -> tuple[Enrollment, ...]:
        """Enroll faces of one photograph, all or none of them.

        Raises:
            LabelError: A label, tag or collection name is not allowed.
            LowQualityFaceError: A face falls short of the quality gate.
            LabelTakenError: ``checks.new`` and the label exists.
            DuplicateTemplateError: The same face of the same photograph is enrolled already.
            IdentityMismatchError: The face resembles none of the label's photographs.
            DuplicatePersonError: The face is that of somebody enrolled under another label.
        """
        name = checked_label(collection, what="collection name")
        wanted = checked_tags(tags)
        labels = [checked_label(one.label) for one in faces]
        if len(set(labels)) != len(labels):
            raise InputError("one photograph shows a person once: two faces were given the same label")
        gate = self._quality_gate if checks.quality_gate is None else checks.quality_gate
        for one in faces:
            _refuse_low_quality(one.face, gate)
        self._warm_up(name)
        with self._store.writing() as writer:
            writer.ensure_collection(name)
            _, index = self._indexes.synced(writer, name)
            return tuple(
                self._enroll_one(writer, index, one, label, name, wanted, checks) for one, label in zip(faces, labels, strict=True)
            )

    def _warm_up(self, name: str) -> None:
        # A long catch-up happens here, before the writing transaction makes other writers wait for it.
        with self._store.reading() as reader:
            if any(found.name == name for found in reader.collections()):
                self._indexes.synced(reader, name)

    def _enroll_one(
        self,
        writer: StoreWriter,
        index: GalleryIndex,
        one: FaceToEnroll,
        label: str,
        collection: str,
        tags: tuple[str, ...],
        checks: EnrollmentChecks,
    ) -> Enrollment:
        self._refuse_same_face(writer, one.face, collection)
        try:
            person: Identity | None = writer.identity(collection, label)
        except UnknownIdentityError:
            person = None
        if person is not None and checks.new:
            raise LabelTakenError(f"label {label!r} exists in collection {collection!r}; leave out 'new' to add a photograph")
        if person is not None and not checks.allow_mismatch:
            self._refuse_mismatch(writer, one.face, person)
        double = self._double(writer, index, one.face, collection, person)
        if double is not None and not checks.allow_duplicate:
            raise DuplicatePersonError(
                f"{one.face.image.name}: the face for {label!r} is that of {double.label!r} already enrolled in {collection!r}; "
                "allow duplicates to enroll it all the same",
                label=label,
                other_label=double.label,
            )
        is_new = person is None
        if person is None:
            person = writer.add_identity(collection, label, tags)
        elif tags:
            person = writer.set_tags(person.identity_id, {*person.tags, *tags})
        stored = writer.add_face(person.identity_id, _new_face(one))
        return Enrollment(person, stored, is_new, double.label if double is not None else None)

    def _refuse_same_face(self, writer: StoreWriter, face: ProbeFace, collection: str) -> None:
        for template_id, label, box in writer.faces_of_image(collection, face.image.digest, face.template.embedder_id):
            if box_iou(box, face.detection.box) >= SAME_FACE_IOU:
                raise DuplicateTemplateError(
                    f"{face.image.name}: this face of this photograph is enrolled already, as {label!r} (template {template_id})",
                    label=label,
                    template_id=template_id,
                )

    def _refuse_mismatch(self, writer: StoreWriter, face: ProbeFace, person: Identity) -> None:
        enrolled = [
            one.template for one in writer.templates_of(person.identity_id) if one.template.embedder_id == face.template.embedder_id
        ]
        if not enrolled:
            return
        threshold = self._points.at_fmr(self._mismatch_fmr).threshold
        best = max(float(template.vector @ face.template.vector) for template in enrolled)
        if best < threshold:
            raise IdentityMismatchError(
                f"{face.image.name}: the face resembles no photograph of {person.label!r} "
                f"(best score {best:.3f}, needed {threshold:.3f}); allow the mismatch to enroll it all the same",
                label=person.label,
                score=round(best, 4),
                threshold=threshold,
            )

    def _double(
        self, writer: StoreWriter, index: GalleryIndex, face: ProbeFace, collection: str, person: Identity | None
    ) -> Identity | None:
        """Return whose else the face could be taken for, as feedback allows, or None."""
        threshold = self._points.at_fpir(self._duplicate_fpir, len(index)).threshold
        said = objections(writer, collection, face.template.embedder_id)
        ruled_out = said.rejected(face) | ({person.identity_id} if person is not None else set())
        for near in index.search(face.template, 1 + len(ruled_out)):
            if near.identity_id not in ruled_out and near.score >= stricter(threshold, said.floor(near.identity_id)):
                return writer.identities_by_id([near.identity_id]).get(near.identity_id)
        return None


def _refuse_low_quality(face: ProbeFace, gate: QualityGate) -> None:
    missing = face.quality.shortfalls(gate) if face.quality is not None else ()
    if missing:
        raise LowQualityFaceError(
            f"{face.image.name}: the face is too poor to be enrolled ({'; '.join(str(one) for one in missing)}); "
            f"take a better photograph, or set the quality gate from {gate} to {QualityGate.OFF} to enroll it all the same",
            reasons=[str(one.reason) for one in missing],
            shortfalls=[one.as_dict() for one in missing],
            gate=str(gate),
            box=[round(value, 1) for value in face.detection.box],
        )


def _new_face(one: FaceToEnroll) -> NewFace:
    face = one.face
    figures = face.quality.figures() if face.quality is not None else {}
    provenance = Provenance(
        image_digest=face.image.digest,
        source=face.image.source,
        detection=face.detection,
        enrolled_at=datetime.now(UTC),
        quality={**figures, "face_px": round(min(face.detection.width, face.detection.height), 1)},
    )
    return NewFace(face.template, provenance, one.picture)
