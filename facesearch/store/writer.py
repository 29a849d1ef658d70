"""What can be changed inside one writing transaction.

It neither decides whether a face may be enrolled (``facesearch.service``) nor touches an index.
"""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import delete, exists, insert, select, update

from facesearch.core.errors import EnrollmentError, LabelTakenError, UnknownIdentityError
from facesearch.core.identity import (
    ChangeKind,
    Collection,
    Identity,
    checked_label,
    checked_tags,
)
from facesearch.store import codec
from facesearch.store.access import AccessWriter
from facesearch.store.embedder_writer import EmbeddersWriter
from facesearch.store.jobs import JobsWriter
from facesearch.store.records import RecordsWriter
from facesearch.store.tables import (
    ChangeRow,
    CollectionRow,
    FaceRow,
    FeedbackRow,
    IdentityRow,
    TemplateRow,
    VideoTrackRow,
)
from facesearch.store.videos import VideosWriter


class SqlWriter(EmbeddersWriter, RecordsWriter, VideosWriter, AccessWriter, JobsWriter):
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
        """Delete a collection and everything in it, and the kept answers that name it.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        gone = self.collection(name)
        self.forget_answers([f'"collection":{json.dumps(gone.name, ensure_ascii=False)}'.encode()])
        self._session.run(delete(CollectionRow).where(CollectionRow.id == gone.collection_id))

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

    def add_identities(self, collection: str, people: Sequence[tuple[str, Iterable[str]]]) -> tuple[Identity, ...]:
        """Make identities, ``(label, tags)`` each, with one statement; the collection must exist.

        Raises:
            LabelTakenError: A label exists in the collection, or is given twice. Nobody was added.
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        clean = [(checked_label(label), checked_tags(tags)) for label, tags in people]
        labels = [label for label, _ in clean]
        for label in (*self.identities_by_label(collection, labels), *(one for one, n in Counter(labels).items() if n > 1)):
            raise LabelTakenError(f"{label!r} exists already in collection {owner.name!r}", label=label, collection=owner.name)
        moment = codec.encode_moment(datetime.now(UTC))
        rows = [
            {"collection_id": owner.collection_id, "label": label, "tags": list(tags), "enrolled_at": moment}
            for label, tags in clean
        ]
        ids = self._session.insert_many(IdentityRow, rows)
        return tuple(Identity(key, label, owner.name, tags, moment) for key, (label, tags) in zip(ids, clean, strict=True))

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
        self._session.run(update(VideoTrackRow).where(VideoTrackRow.identity_id == source_id).values(identity_id=target_id))
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

        Images that no face refers to any more go too, and so does what kept answers and jobs say of the person. The collection's
        revision rises by one for each template. With ``erase`` the history says ``ChangeKind.ERASE``, so that every process's index
        forgets the vectors for good.

        Raises:
            UnknownIdentityError: There is no such identity.
        """
        person, collection_id = self._existing(identity_id)
        removed = self._template_ids(identity_id)
        images = [row.image_id for row in self._session.rows(select(FaceRow.image_id).where(FaceRow.identity_id == identity_id))]
        ids = (f'"identity_id":{identity_id}{end}'.encode() for end in ",}")
        self.forget_answers((*ids, json.dumps(person.label, ensure_ascii=False).encode()))
        self.forget_job_items(person.collection, person.label, identity_id)
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

    def _require_free(self, collection_id: int, label: str, collection: str) -> None:
        taken = select(IdentityRow.id).where(IdentityRow.collection_id == collection_id, IdentityRow.label == label)
        if self._session.first(taken) is not None:
            raise LabelTakenError(f"{label!r} exists already in collection {collection!r}", label=label, collection=collection)

    def _update(self, identity: Identity, **values: Any) -> Identity:
        self._session.run(update(IdentityRow).where(IdentityRow.id == identity.identity_id).values(**values))
        return self.identities_by_id((identity.identity_id,))[identity.identity_id]

    def _template_ids(self, identity_id: int) -> tuple[int, ...]:
        statement = (
            select(TemplateRow.id).join(FaceRow, FaceRow.id == TemplateRow.face_id).where(FaceRow.identity_id == identity_id)
        )
        return tuple(row.id for row in self._session.rows(statement.order_by(TemplateRow.id)))
