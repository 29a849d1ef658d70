"""Templates of a second embedder on enrolled faces, and which embedder a collection is searched with: what changes them.

It embeds nothing and decides nothing: see ``facesearch.service.migrate``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import delete, exists, insert, select

from facesearch.core.arrays import Vectors
from facesearch.core.embedder_use import EmbedderUse
from facesearch.core.identity import ChangeKind
from facesearch.store import codec
from facesearch.store.embedders import person_has
from facesearch.store.face_writer import FaceWriter
from facesearch.store.session import chunks
from facesearch.store.tables import EmbedderUseRow, FaceRow, IdentityRow, TemplateRow


class EmbeddersWriter(FaceWriter):
    """``facesearch.core.embedder_use.EmbeddersWriter`` on one open writing transaction."""

    def set_embedder_use(self, collection: str, use: EmbedderUse | None) -> None:
        """Note which embedders a collection's templates are of; None leaves it to the settings again.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        collection_id = self._id_of(collection)
        self._session.run(delete(EmbedderUseRow).where(EmbedderUseRow.collection_id == collection_id))
        if use is None:
            return
        other = (None, None) if use.other is None else (use.other.name, use.other.embedder_id)
        self._session.run(
            insert(EmbedderUseRow).values(
                collection_id=collection_id,
                current_name=use.current.name,
                current_id=use.current.embedder_id,
                other_name=other[0],
                other_id=other[1],
                is_copying=use.is_copying,
            )
        )

    def add_templates(
        self, collection: str, embedder_id: str, faces: Sequence[tuple[int, Vectors]], *, enrolled_at: datetime
    ) -> tuple[int, ...]:
        """Hang templates, ``(face_id, vector)`` each, on faces that are enrolled; return the new template ids.

        Faces that are gone, of another collection, or have a template of the embedder already are left out. The collection's
        revision rises by one for each template.

        Raises:
            UnknownCollectionError: There is no such collection.
            InputError: ``enrolled_at`` has no time zone.
        """
        collection_id = self._id_of(collection)
        moment = codec.encode_moment(enrolled_at)
        free = self._faces_without(collection_id, embedder_id, [face_id for face_id, _ in faces])
        rows = [
            {
                "collection_id": collection_id,
                "face_id": face_id,
                "embedder_id": embedder_id,
                "vector": codec.encode_vector(vector, self._session.template_format),
                "enrolled_at": moment,
            }
            for face_id, vector in dict(faces).items()
            if face_id in free
        ]
        made = self._session.insert_many(TemplateRow, rows)
        self._record(collection_id, made, ChangeKind.ADD)
        return tuple(made)

    def remove_templates_of(self, collection: str, embedder_id: str, *, of_people_with: str | None = None, limit: int) -> int:
        """Delete templates of an embedder, and faces without any other; return how many templates, at most ``limit``.

        The collection's revision rises by one for each template.

        Args:
            collection: Its name.
            embedder_id: The embedder.
            of_people_with: Only of people who have a template of this embedder too; None for everybody.
            limit: At most so many, the oldest first.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        collection_id = self._id_of(collection)
        statement = (
            select(TemplateRow.id, TemplateRow.face_id, FaceRow.image_id)
            .join(FaceRow, FaceRow.id == TemplateRow.face_id)
            .where(TemplateRow.collection_id == collection_id, TemplateRow.embedder_id == embedder_id)
        )
        if of_people_with is not None:
            statement = statement.where(person_has(of_people_with))
        rows = self._session.rows(statement.order_by(TemplateRow.id).limit(limit))
        for chunk in chunks(int(row.id) for row in rows):
            self._session.run(delete(TemplateRow).where(TemplateRow.id.in_(chunk)))
        is_needed = exists().where(TemplateRow.face_id == FaceRow.id)
        for chunk in chunks(int(row.face_id) for row in rows):
            self._session.run(delete(FaceRow).where(FaceRow.id.in_(chunk), ~is_needed))
        self._drop_orphans(row.image_id for row in rows)
        self._record(collection_id, [int(row.id) for row in rows], ChangeKind.REMOVE)
        return len(rows)

    def _faces_without(self, collection_id: int, embedder_id: str, face_ids: Sequence[int]) -> set[int]:
        """Return those of the faces that are in the collection and have no template of the embedder."""
        found: set[int] = set()
        has_one = exists().where(TemplateRow.face_id == FaceRow.id, TemplateRow.embedder_id == embedder_id)
        for chunk in chunks(face_ids):
            statement = (
                select(FaceRow.id)
                .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
                .where(IdentityRow.collection_id == collection_id, FaceRow.id.in_(chunk), ~has_one)
            )
            found.update(int(row.id) for row in self._session.rows(statement))
        return found
