"""What can be changed inside one writing transaction.

It neither decides whether a face may be enrolled (``facesearch.service``) nor touches an index.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, exists, insert, select, update

from facesearch.core.errors import EnrollmentError, InputError, LabelTakenError, UnknownIdentityError
from facesearch.core.identity import (
    ChangeKind,
    Collection,
    EnrolledTemplate,
    Identity,
    Keep,
    KeptPicture,
    NewFace,
    Provenance,
    checked_label,
    checked_tags,
)
from facesearch.store import codec
from facesearch.store.reader import SqlReader
from facesearch.store.records import RecordsWriter
from facesearch.store.session import chunks
from facesearch.store.tables import ChangeRow, CollectionRow, FaceRow, FeedbackRow, IdentityRow, ImageRow, PictureRow, TemplateRow


class SqlWriter(SqlReader, RecordsWriter):
    """``facesearch.core.protocols.StoreWriter`` on one open writing transaction.

    Names are checked by a query before they are written: writers take turns, so the answer holds, and the transaction stays usable
    after ``LabelTakenError`` (PostgreSQL would abort it at a violated constraint).
    """

    def add_collection(self, name: str) -> Collection:
        """Make a collection.

        Raises:
            LabelTakenError: The name exists.
        """
        clean = checked_label(name, what="collection name")
        if self._find_collection(clean) is not None:
            raise LabelTakenError(f"there is a collection {clean!r} already", collection=clean)
        uid = uuid.uuid4().hex
        return Collection(self._session.insert(insert(CollectionRow).values(name=clean, revision=0, uid=uid)), clean, 0, uid)

    def ensure_collection(self, name: str) -> Collection:
        """Return the collection of this name, made first where there is none."""
        found = self._find_collection(checked_label(name, what="collection name"))
        return self.add_collection(name) if found is None else found

    def remove_collection(self, name: str) -> None:
        """Delete a collection and everything in it.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        self._session.run(delete(CollectionRow).where(CollectionRow.id == self.collection(name).collection_id))

    def add_identity(
        self, collection: str, label: str, tags: Iterable[str] = (), *, enrolled_at: datetime | None = None
    ) -> Identity:
        """Make an identity; the collection must exist.

        Args:
            collection: Its name.
            label: The person's label.
            tags: Texts to filter by.
            enrolled_at: When the person was enrolled, with a time zone; None for now (an import passes the original time).

        Raises:
            LabelTakenError: The label exists in the collection.
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        clean, kept_tags = checked_label(label), checked_tags(tags)
        moment = codec.encode_moment(enrolled_at or datetime.now(UTC))
        self._require_free(owner.collection_id, clean, owner.name)
        values = {"collection_id": owner.collection_id, "label": clean, "tags": list(kept_tags), "enrolled_at": moment}
        return Identity(self._session.insert(insert(IdentityRow).values(values)), clean, owner.name, kept_tags, moment)

    def rename_identity(self, identity_id: int, label: str) -> Identity:
        """Change a label.

        Raises:
            LabelTakenError: The label exists in the collection.
            UnknownIdentityError: There is no such identity.
        """
        clean = checked_label(label)
        identity, collection_id = self._existing(identity_id)
        if clean != identity.label:
            self._require_free(collection_id, clean, identity.collection)
        return self._update(identity, label=clean)

    def set_tags(self, identity_id: int, tags: Iterable[str]) -> Identity:
        """Replace an identity's tags.

        Raises:
            UnknownIdentityError: There is no such identity.
        """
        return self._update(self._existing(identity_id)[0], tags=list(checked_tags(tags)))

    def add_face(self, identity_id: int, face: NewFace) -> EnrolledTemplate:
        """Store a face of an identity; the collection's revision rises by one.

        The photograph and the face are stored once however many templates come from them.

        Raises:
            UnknownIdentityError: There is no such identity.
            InputError: A value that cannot be stored (a time without a zone, a quality figure that is NaN).
        """
        _, collection_id = self._existing(identity_id)
        provenance = face.provenance
        moment = codec.encode_moment(provenance.enrolled_at)
        template_id = self._session.insert(
            insert(TemplateRow).values(
                collection_id=collection_id,
                face_id=self._face_id(identity_id, collection_id, face),
                embedder_id=face.template.embedder_id,
                vector=codec.encode_vector(face.template.vector),
                enrolled_at=moment,
            )
        )
        self._record(collection_id, (template_id,), ChangeKind.ADD)
        source = codec.encode_source(provenance.source)
        stored = Provenance(provenance.image_digest, source, provenance.detection, moment, provenance.quality)
        return EnrolledTemplate(template_id, identity_id, face.template, stored)

    def merge_identities(self, source_id: int, target_id: int) -> tuple[int, ...]:
        """Give all templates of one identity to another and delete the emptied one; return the moved template ids.

        Tags are united. The collection's revision rises by one for each template.

        Raises:
            UnknownIdentityError: One of them does not exist.
            EnrollmentError: They are one and the same, or of different collections.
        """
        source, source_home = self._existing(source_id)
        target, target_home = self._existing(target_id)
        if source_id == target_id:
            raise EnrollmentError(f"{source.label!r} cannot be merged with itself", label=source.label)
        if source_home != target_home:
            raise EnrollmentError(
                f"{source.label!r} is in collection {source.collection!r}, {target.label!r} in {target.collection!r}: "
                "only people of one collection can be merged",
                labels=(source.label, target.label),
            )
        moved = self._template_ids(source_id)
        self._session.run(update(FaceRow).where(FaceRow.identity_id == source_id).values(identity_id=target_id))
        self._session.run(update(FeedbackRow).where(FeedbackRow.identity_id == source_id).values(identity_id=target_id))
        self._update(target, tags=list(checked_tags((*source.tags, *target.tags))))
        self._session.run(delete(IdentityRow).where(IdentityRow.id == source_id))
        self._record(target_home, moved, ChangeKind.MOVE)
        return moved

    def move_template(self, template_id: int, identity_id: int) -> tuple[int, ...]:
        """Give the face of a template to another identity of its collection; return the moved template ids.

        A face belongs to one person, so its templates of other embedders move too. The identity left behind stays, even without
        templates. The collection's revision rises by one for each template; a face that is the identity's already changes nothing.

        Raises:
            UnknownIdentityError: There is no such template or identity.
            EnrollmentError: The identity is in another collection.
        """
        statement = select(TemplateRow.face_id, TemplateRow.collection_id, FaceRow.identity_id)
        row = self._session.first(statement.join(FaceRow, FaceRow.id == TemplateRow.face_id).where(TemplateRow.id == template_id))
        if row is None:
            raise UnknownIdentityError(f"there is no template {template_id}", template_id=template_id)
        target, target_home = self._existing(identity_id)
        if row.collection_id != target_home:
            raise EnrollmentError(
                f"template {template_id} is in another collection than {target.label!r} ({target.collection!r}): "
                "a face can only be moved within its collection",
                template_id=template_id,
                label=target.label,
            )
        if row.identity_id == identity_id:
            return ()
        of_face = select(TemplateRow.id).where(TemplateRow.face_id == row.face_id).order_by(TemplateRow.id)
        moved = tuple(int(one.id) for one in self._session.rows(of_face))
        self._session.run(update(FaceRow).where(FaceRow.id == row.face_id).values(identity_id=identity_id))
        self._record(target_home, moved, ChangeKind.MOVE)
        return moved

    def remove_identity(self, identity_id: int, *, erase: bool = False) -> tuple[int, ...]:
        """Delete an identity, its templates, faces and pictures; return the removed template ids.

        Images that no face refers to any more go too. The collection's revision rises by one for each template. With ``erase`` the
        history says ``ChangeKind.ERASE``, so that every process's index forgets the vectors for good.

        Raises:
            UnknownIdentityError: There is no such identity.
        """
        _, collection_id = self._existing(identity_id)
        removed = self._template_ids(identity_id)
        images = [row.image_id for row in self._session.rows(select(FaceRow.image_id).where(FaceRow.identity_id == identity_id))]
        self._session.run(delete(IdentityRow).where(IdentityRow.id == identity_id))
        self._drop_orphans(images)
        self._record(collection_id, removed, ChangeKind.ERASE if erase else ChangeKind.REMOVE)
        return removed

    def remove_template(self, template_id: int) -> None:
        """Delete one template; its face, picture and photograph too when no other template needs them.

        The identity stays, even without templates. The collection's revision rises by one.

        Raises:
            UnknownIdentityError: There is no such template.
        """
        statement = select(TemplateRow.face_id, TemplateRow.collection_id, FaceRow.image_id).join(
            FaceRow, FaceRow.id == TemplateRow.face_id
        )
        row = self._session.first(statement.where(TemplateRow.id == template_id))
        if row is None:
            raise UnknownIdentityError(f"there is no template {template_id}", template_id=template_id)
        self._session.run(delete(TemplateRow).where(TemplateRow.id == template_id))
        is_needed = exists().where(TemplateRow.face_id == FaceRow.id)
        self._session.run(delete(FaceRow).where(FaceRow.id == row.face_id, ~is_needed))
        self._drop_orphans([row.image_id])
        self._record(row.collection_id, (template_id,), ChangeKind.REMOVE)

    def prune_changes(self, collection: str, below: int) -> None:
        """Forget changes of revisions up to and including ``below``.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        self._session.run(delete(ChangeRow).where(ChangeRow.collection_id == owner.collection_id, ChangeRow.revision <= below))

    def _existing(self, identity_id: int) -> tuple[Identity, int]:
        row = self._identity_row(identity_id)
        if row is None:
            raise UnknownIdentityError(f"there is no identity with id {identity_id}", identity_id=identity_id)
        return row

    def _require_free(self, collection_id: int, label: str, collection: str) -> None:
        taken = select(IdentityRow.id).where(IdentityRow.collection_id == collection_id, IdentityRow.label == label)
        if self._session.first(taken) is not None:
            raise LabelTakenError(f"{label!r} exists already in collection {collection!r}", label=label, collection=collection)

    def _update(self, identity: Identity, **values: Any) -> Identity:
        self._session.run(update(IdentityRow).where(IdentityRow.id == identity.identity_id).values(**values))
        return self.identities_by_id((identity.identity_id,))[identity.identity_id]

    def _face_id(self, identity_id: int, collection_id: int, face: NewFace) -> int:
        """Return the row of a face, made where there is none equal in everything that still lacks this embedder's template."""
        detection = face.provenance.detection
        image_id = self._image_id(collection_id, face.provenance)
        values = {
            "box": codec.encode_box(detection.box),
            "landmarks": codec.encode_landmarks(detection.landmarks),
            "score": detection.score,
            "quality": codec.encode_quality(face.provenance.quality),
        }
        has_template = exists().where(TemplateRow.face_id == FaceRow.id, TemplateRow.embedder_id == face.template.embedder_id)
        candidates = self._session.rows(
            select(FaceRow.id, FaceRow.box, FaceRow.landmarks, FaceRow.score, FaceRow.quality)
            .where(FaceRow.image_id == image_id, FaceRow.identity_id == identity_id, ~has_template)
            .order_by(FaceRow.id)
        )
        picture = _picture_values(face.picture)
        for row in candidates:
            if all(getattr(row, name) == value for name, value in values.items()) and self._picture_values_of(row.id) == picture:
                return int(row.id)
        face_id = self._session.insert(insert(FaceRow).values(image_id=image_id, identity_id=identity_id, **values))
        if picture is not None:
            self._session.run(insert(PictureRow).values(face_id=face_id, **picture))
        return face_id

    def _image_id(self, collection_id: int, provenance: Provenance) -> int:
        key = {"collection_id": collection_id, "digest": provenance.image_digest, "source": codec.encode_source(provenance.source)}
        row = self._session.first(select(ImageRow.id).filter_by(**key).order_by(ImageRow.id))
        return self._session.insert(insert(ImageRow).values(**key)) if row is None else int(row.id)

    def _picture_values_of(self, face_id: int) -> dict[str, object] | None:
        columns = select(PictureRow.kind, PictureRow.data, PictureRow.box, PictureRow.landmarks)
        row = self._session.first(columns.where(PictureRow.face_id == face_id))
        return None if row is None else dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

    def _template_ids(self, identity_id: int) -> tuple[int, ...]:
        statement = (
            select(TemplateRow.id).join(FaceRow, FaceRow.id == TemplateRow.face_id).where(FaceRow.identity_id == identity_id)
        )
        return tuple(row.id for row in self._session.rows(statement.order_by(TemplateRow.id)))

    def _drop_orphans(self, image_ids: Iterable[int]) -> None:
        for chunk in chunks(image_ids):
            is_needed = exists().where(FaceRow.image_id == ImageRow.id)
            self._session.run(delete(ImageRow).where(ImageRow.id.in_(chunk), ~is_needed))

    def _record(self, collection_id: int, template_ids: Sequence[int], kind: ChangeKind) -> None:
        """Raise the revision by one a template and write each step to the history."""
        if not template_ids:
            return
        before = int(self._session.rows(select(CollectionRow.revision).where(CollectionRow.id == collection_id))[0].revision)
        after = before + len(template_ids)
        self._session.run(update(CollectionRow).where(CollectionRow.id == collection_id).values(revision=after))
        self._session.run(
            insert(ChangeRow),
            [
                {"collection_id": collection_id, "revision": revision, "template_id": template_id, "op": kind.value}
                for revision, template_id in enumerate(template_ids, start=before + 1)
            ],
        )


def _picture_values(picture: KeptPicture | None) -> dict[str, object] | None:
    if picture is None:
        return None
    if picture.kind is Keep.NONE:
        raise InputError("a kept picture is a crop or a photograph, not 'none'")
    return {
        "kind": picture.kind.value,
        "data": bytes(picture.data),
        "box": codec.encode_box(picture.box),
        "landmarks": codec.encode_landmarks(picture.landmarks),
    }
