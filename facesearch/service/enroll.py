"""Enrolment: one photograph, all faces of a photograph, or a group of many photographs.

The checks (see ``enroll_decisions``) and the writing are one transaction: what was checked still holds when it is committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import EnrollmentError, FaceSearchError, IncompatibleTemplatesError, InputError, LowQualityFaceError
from facesearch.core.identity import Collection, EnrolledTemplate, Identity, NewFace, Provenance, checked_label, checked_tags
from facesearch.core.protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.core.quality import QualityGate
from facesearch.service.enroll_decisions import (
    Accepted,
    EnrollmentChecks,
    EnrollmentDecisions,
    FaceToEnroll,
    SameAsAccepted,
    mismatch_threshold,
    same_face_error,
)
from facesearch.service.found_face import FoundFace
from facesearch.service.free_memory import without_frames
from facesearch.service.gallery import GalleryIndexes
from facesearch.service.who import person_of

__all__ = ["Enroll", "Enrollment", "EnrollmentChecks", "FaceToEnroll", "GroupOutcome"]


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


@dataclass(frozen=True, slots=True)
class GroupOutcome:
    """What became of the faces of a group.

    Attributes:
        collection: Where they went, as it was before; None where nothing was enrolled in a collection that is not there yet.
        outcomes: For each face what was stored, or why nothing was.
    """

    collection: Collection | None
    outcomes: tuple[Enrollment | FaceSearchError, ...]


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
        self._rules = (points, duplicate_fpir, mismatch_fmr)
        self._quality_gate = quality_gate

    def __call__(
        self,
        faces: Sequence[FaceToEnroll],
        *,
        collection: str,
        tags: Iterable[str] = (),
        checks: EnrollmentChecks = EnrollmentChecks(),  # noqa: B008 - frozen, without state
    ) -> tuple[Enrollment, ...]:
        """Enroll faces of one photograph, all or none of them.

        Args:
            faces: The faces.
            collection: Where to.
            tags: Tags for all of them, beside their own.
            checks: What is waved through.

        Raises:
            LabelError: A label, tag or collection name is not allowed.
            LowQualityFaceError: A face falls short of the quality gate.
            LabelTakenError: ``checks.new`` and the label exists.
            DuplicateTemplateError: The same face of the same photograph is enrolled already.
            IdentityMismatchError: The face resembles none of the label's photographs.
            DuplicatePersonError: The face is that of somebody enrolled under another label.
            IncompatibleTemplatesError: The collection is searched with another embedder, perhaps since a moment ago.
            UnknownIdentityError: Nobody in the collection has the id ``checks.identity_id``.
        """
        name = checked_label(collection, what="collection name")
        wanted = checked_tags(tags)
        checked = [_checked(one, wanted) for one in faces]
        if len({one.label for one in checked}) != len(checked):
            raise InputError("one photograph shows a person once: two faces were given the same label")
        for one in checked:
            self._refuse_low_quality(one.face, checks)
        if not checked:
            return ()
        self._warm_up(name)
        with self._store.writing() as writer:
            if checks.identity_id is None:
                writer.ensure_collection(name)
            else:  # by the label the person has now: a label read before may be somebody else's by now
                label = person_of(writer, name, checks.identity_id).label
                checked = [replace(one, label=label) for one in checked]
            decisions = self._decisions(writer, name, checked)
            accepted = []
            for one in checked:
                decided = decisions.decide(one, checks)
                if isinstance(decided, SameAsAccepted):
                    raise InputError(
                        f"{one.face.image.name}: {one.label!r} and {decided.first.one.label!r} were given the same face"
                    )
                accepted.append(decided)
            return _written(writer, name, accepted)

    def require_checks(self, checks: EnrollmentChecks) -> None:
        """Raise where faces cannot be checked as asked for, before a long run finds out at some face.

        Duplicates that are let through need no threshold: they are not named then.

        Raises:
            UncalibratedEmbedderError: Nobody measured the embedder, and mismatches are not waved through.
        """
        if not checks.allow_mismatch:
            points, _, mismatch_fmr = self._rules
            mismatch_threshold(points, mismatch_fmr)

    def group(
        self,
        faces: Sequence[FaceToEnroll],
        *,
        collection: str,
        checks: EnrollmentChecks = EnrollmentChecks(),  # noqa: B008 - frozen, without state
    ) -> GroupOutcome:
        """Enroll faces of different photographs in one transaction, with the outcomes of one after the other.

        A face that is refused keeps none of the others out.

        Raises:
            LabelError: The collection name is not allowed.
            IncompatibleTemplatesError: The collection is searched with another embedder; nothing of the group was stored.
            StoreError: The database failed; likewise.
        """
        name = checked_label(collection, what="collection name")
        outcomes: list[Enrollment | FaceSearchError | None] = [None] * len(faces)
        usable: dict[int, FaceToEnroll] = {}
        for place, one in enumerate(faces):
            try:
                self._refuse_low_quality(one.face, checks)
                usable[place] = _checked(one, ())
            except InputError as exc:
                outcomes[place] = without_frames(exc)
        found = None
        if usable:
            try:
                found = self._group(usable, outcomes, name, checks)
            except (InputError, EnrollmentError):
                # Something that only writing shows about one face: each of them alone, so that the others are kept.
                found = self._one_by_one(usable, outcomes, name, checks)
        return GroupOutcome(found, tuple(one for one in outcomes if one is not None))

    def _group(
        self,
        usable: dict[int, FaceToEnroll],
        outcomes: list[Enrollment | FaceSearchError | None],
        name: str,
        checks: EnrollmentChecks,
    ) -> Collection:
        self._warm_up(name)
        with self._store.writing() as writer:
            found = writer.ensure_collection(name)
            decisions = self._decisions(writer, name, tuple(usable.values()))
            decided: dict[int, Accepted | SameAsAccepted] = {}
            for place, one in usable.items():
                try:
                    decided[place] = decisions.decide(one, checks)
                except EnrollmentError as exc:
                    outcomes[place] = without_frames(exc)
            accepted = {place: one for place, one in decided.items() if isinstance(one, Accepted)}
            written = dict(zip(accepted, _written(writer, name, tuple(accepted.values())), strict=True))
        by_accepted = {id(accepted[place]): done for place, done in written.items()}
        for place, one_decided in decided.items():
            if isinstance(one_decided, Accepted):
                outcomes[place] = written[place]
            else:
                first = by_accepted[id(one_decided.first)]
                outcomes[place] = same_face_error(usable[place].face, first.identity.label, first.template.template_id)
        return found

    def _one_by_one(
        self,
        usable: dict[int, FaceToEnroll],
        outcomes: list[Enrollment | FaceSearchError | None],
        name: str,
        checks: EnrollmentChecks,
    ) -> Collection | None:
        for place, one in usable.items():
            try:
                outcomes[place] = self((one,), collection=name, checks=checks)[0]
            except (InputError, EnrollmentError) as exc:
                outcomes[place] = without_frames(exc)
        with self._store.reading() as reader:
            return next((one for one in reader.collections() if one.name == name), None)

    def _warm_up(self, name: str) -> None:
        # A long catch-up happens here, before the writing transaction makes other writers wait for it.
        with self._store.reading() as reader:
            if any(found.name == name for found in reader.collections()):
                self._indexes.synced(reader, name)

    def _decisions(self, writer: StoreWriter, name: str, faces: Sequence[FaceToEnroll]) -> EnrollmentDecisions:
        _, index = self._indexes.synced(writer, name)
        _require_in_use(writer, name, index.embedder_id)
        return EnrollmentDecisions(writer, index, faces, collection=name, rules=self._rules)

    def _refuse_low_quality(self, face: FoundFace, checks: EnrollmentChecks) -> None:
        _refuse_low_quality(face, self._quality_gate if checks.quality_gate is None else checks.quality_gate)


def _checked(one: FaceToEnroll, tags: Iterable[str]) -> FaceToEnroll:
    return replace(one, label=checked_label(one.label), tags=checked_tags((*one.tags, *tags)))


def _require_in_use(reader: StoreReader, collection: str, embedder_id: str) -> None:
    """Raise where a collection was moved to another embedder while a face was embedded: it would be left behind with the former."""
    use = reader.embedder_use(collection)
    if use is not None and use.current.embedder_id != embedder_id:
        raise IncompatibleTemplatesError(
            f"collection {collection!r} was moved from {embedder_id} to {use.current.embedder_id} meanwhile: run it again; "
            "what is enrolled already is not enrolled twice",
            embedder_id=embedder_id,
            enrolled_with=use.current.embedder_id,
        )


def _written(writer: StoreWriter, collection: str, accepted: Sequence[Accepted]) -> tuple[Enrollment, ...]:
    """Write faces that were accepted, in order."""
    fresh = [one for one in accepted if one.is_new]
    people: dict[int, Identity] = {}
    if fresh:
        last_tags = {one.person_key: one.tags for one in accepted}
        made = writer.add_identities(collection, [(one.one.label, last_tags[one.person_key]) for one in fresh])
        people.update((one.person_key, person) for one, person in zip(fresh, made, strict=True))
    known = writer.identities_by_id({one.person_key for one in accepted}.difference(people))
    for one in accepted:
        if one.person_key in known and known[one.person_key].tags != one.tags:
            known[one.person_key] = writer.set_tags(one.person_key, one.tags)
    people.update(known)
    stored = writer.add_faces([(people[one.person_key].identity_id, _new_face(one.one)) for one in accepted])
    return tuple(
        Enrollment(replace(people[one.person_key], tags=one.tags), template, one.is_new, one.other_label)
        for one, template in zip(accepted, stored, strict=True)
    )


def _refuse_low_quality(face: FoundFace, gate: QualityGate) -> None:
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
