"""What can be asked about the embedders of a collection inside one transaction.

It changes nothing: see ``embedder_writer``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from sqlalchemy import Row, Select, exists, func, select
from sqlalchemy.orm import aliased

from facesearch.core.embedder_use import EmbedderUse, LackingFace, NamedEmbedder
from facesearch.core.errors import UnknownCollectionError
from facesearch.core.face import Detection
from facesearch.core.identity import checked_label
from facesearch.store import codec
from facesearch.store.session import Session
from facesearch.store.tables import CollectionRow, EmbedderUseRow, FaceRow, IdentityRow, ImageRow, TemplateRow

_USES = select(
    *(CollectionRow.name, EmbedderUseRow.current_name, EmbedderUseRow.current_id),
    *(EmbedderUseRow.other_name, EmbedderUseRow.other_id, EmbedderUseRow.is_copying),
).join(CollectionRow, CollectionRow.id == EmbedderUseRow.collection_id)


class EmbeddersReader:
    """``facesearch.core.embedder_use.EmbeddersReader`` on one open transaction."""

    _session: Session

    def embedder_use(self, collection: str) -> EmbedderUse | None:
        """Return the embedders of a collection; None where the settings decide, and where there is no such collection."""
        row = self._session.first(_USES.where(CollectionRow.name == checked_label(collection, what="collection name")))
        return None if row is None else _use(row)

    def embedder_uses(self) -> dict[str, EmbedderUse]:
        """Return the embedders of every collection that says any, by its name."""
        return {row.name: _use(row) for row in self._session.rows(_USES)}

    def faces_lacking(
        self, collection: str, embedder_id: str, *, having: str, after: int = 0, limit: int = 1000
    ) -> tuple[LackingFace, ...]:
        """Return faces without a template of an embedder, by the id of their template of ``having``, those above ``after``.

        Raises:
            UnknownCollectionError: There is no such collection.
            TemplateFormatError: A stored box or point is damaged.
        """
        statement = (
            select(
                *(TemplateRow.id, TemplateRow.face_id, FaceRow.identity_id, IdentityRow.label),
                *(ImageRow.digest, ImageRow.source, FaceRow.box, FaceRow.landmarks, FaceRow.score),
            )
            .join(FaceRow, FaceRow.id == TemplateRow.face_id)
            .join(ImageRow, ImageRow.id == FaceRow.image_id)
            .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
        )
        lacking = _lacking(statement, self._id_of(collection), embedder_id, having)
        rows = self._session.rows(lacking.where(TemplateRow.id > after).order_by(TemplateRow.id).limit(limit))
        return tuple(_lacking_face(row) for row in rows)

    def count_lacking(self, collection: str, embedder_id: str, *, having: str) -> int:
        """Return how many faces ``faces_lacking`` would name in all; raises as it does."""
        statement = select(func.count()).select_from(TemplateRow)
        return int(self._session.rows(_lacking(statement, self._id_of(collection), embedder_id, having))[0][0])

    def people_without(self, collection: str, embedder_id: str, *, having: str) -> frozenset[int]:
        """Return the ids of people with a template of ``having`` and none of an embedder.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        statement = (
            select(FaceRow.identity_id)
            .distinct()
            .join(TemplateRow, TemplateRow.face_id == FaceRow.id)
            .where(TemplateRow.collection_id == self._id_of(collection), TemplateRow.embedder_id == having)
            .where(~person_has(embedder_id))
        )
        return frozenset(int(row[0]) for row in self._session.rows(statement))

    def templates_of_face(self, template_id: int) -> tuple[int, ...]:
        """Return the ids of all templates of the face that a template is of, itself among them; nothing for an unknown one."""
        face = select(TemplateRow.face_id).where(TemplateRow.id == template_id).scalar_subquery()
        rows = self._session.rows(select(TemplateRow.id).where(TemplateRow.face_id == face).order_by(TemplateRow.id))
        return tuple(int(row.id) for row in rows)

    def _id_of(self, collection: str) -> int:
        name = checked_label(collection, what="collection name")
        row = self._session.first(select(CollectionRow.id).where(CollectionRow.name == name))
        if row is None:
            raise UnknownCollectionError(f"there is no collection {name!r}", collection=name)
        return int(row.id)


def _use(row: Row[*tuple[Any, ...]]) -> EmbedderUse:
    other = None if row.other_id is None else NamedEmbedder(row.other_name, row.other_id)
    return EmbedderUse(NamedEmbedder(row.current_name, row.current_id), other, row.is_copying)


def _lacking(statement: Select[*tuple[Any, ...]], collection_id: int, embedder_id: str, having: str) -> Select[*tuple[Any, ...]]:
    """Narrow a statement about templates down to those of ``having`` whose face has none of the embedder."""
    wanted = aliased(TemplateRow)
    has_one = exists().where(wanted.face_id == TemplateRow.face_id, wanted.embedder_id == embedder_id)
    return statement.where(TemplateRow.collection_id == collection_id, TemplateRow.embedder_id == having, ~has_one)


def person_has(embedder_id: str) -> Any:
    """Return the condition that the person of a face has a template of an embedder, on whichever face."""
    face, template = aliased(FaceRow), aliased(TemplateRow)
    inner = select(template.id).join(face, face.id == template.face_id)
    return inner.where(face.identity_id == FaceRow.identity_id, template.embedder_id == embedder_id).correlate(FaceRow).exists()


def _lacking_face(row: Row[*tuple[Any, ...]]) -> LackingFace:
    landmarks = np.array(codec.decode_landmarks(row.landmarks), dtype=np.float32)
    detection = Detection(codec.decode_box(row.box), landmarks, row.score)
    return LackingFace(row.id, row.face_id, row.identity_id, row.label, row.digest, row.source, detection)
