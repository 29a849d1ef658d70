"""What can be asked of the database inside one transaction.

It changes nothing: see ``writer``.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Iterable, Iterator
from itertools import islice
from types import MappingProxyType
from typing import Any

import numpy as np
from sqlalchemy import Row, Select, Text, case, cast, func, select

from facesearch.core.errors import UnknownCollectionError, UnknownIdentityError
from facesearch.core.face import Box, Detection
from facesearch.core.identity import (
    ChangeKind,
    Collection,
    EnrolledTemplate,
    FaceSummary,
    GalleryChange,
    Identity,
    Keep,
    KeptPicture,
    Provenance,
    checked_label,
    checked_tags,
)
from facesearch.core.template import Template, TemplateBatch
from facesearch.store.access import AccessReader
from facesearch.store.codec import decode_box, decode_landmarks, decode_vector, decode_vectors
from facesearch.store.embedders import EmbeddersReader
from facesearch.store.jobs import JobsReader
from facesearch.store.records import RecordsReader
from facesearch.store.session import chunks
from facesearch.store.tables import ChangeRow, CollectionRow, FaceRow, IdentityRow, ImageRow, PictureRow, TemplateRow
from facesearch.store.videos import VideosReader

_IDENTITY_PAGE = 2_000

_COLLECTION_COLUMNS = (CollectionRow.id, CollectionRow.name, CollectionRow.revision, CollectionRow.uid)
_IDENTITY_COLUMNS = (
    *(IdentityRow.id, IdentityRow.collection_id, IdentityRow.label, IdentityRow.tags, IdentityRow.enrolled_at),
    CollectionRow.name,
)


class SqlReader(RecordsReader, VideosReader, AccessReader, JobsReader, EmbeddersReader):
    """A consistent picture of the database: ``facesearch.core.protocols.StoreReader`` on one open transaction.

    Not safe to use from several threads at once; open one transaction a thread.

    Args:
        session: The open transaction.
    """

    def collections(self) -> tuple[Collection, ...]:
        """Return all collections by name, in code point order."""
        return tuple(_collection(row) for row in self._session.rows(select(*_COLLECTION_COLUMNS).order_by(CollectionRow.name)))

    def collection(self, name: str) -> Collection:
        """Return a collection.

        Raises:
            UnknownCollectionError: There is none of this name.
        """
        found = self._find_collection(checked_label(name, what="collection name"))
        if found is None:
            raise UnknownCollectionError(f"there is no collection {name!r}", collection=name)
        return found

    def identity(self, collection: str, label: str) -> Identity:
        """Return an identity by label.

        Raises:
            UnknownCollectionError: There is no such collection.
            UnknownIdentityError: The label is not in the collection.
        """
        owner = self.collection(collection)
        clean = checked_label(label)
        row = self._session.first(_identities().where(IdentityRow.collection_id == owner.collection_id, IdentityRow.label == clean))
        if row is None:
            raise UnknownIdentityError(
                f"nobody is enrolled as {clean!r} in collection {owner.name!r}", label=clean, collection=owner.name
            )
        return _identity(row)

    def identities(
        self, collection: str, *, tags: Iterable[str] = (), contains: str = "", after: str = "", limit: int | None = None
    ) -> tuple[Identity, ...]:
        """Return identities by label in code point order.

        Args:
            collection: Its name.
            tags: Only identities that carry every one of these.
            contains: Only labels that contain this text, whatever the case (Unicode case folding).
            after: Only labels after this one (paging).
            limit: At most so many; None for all.

        Raises:
            UnknownCollectionError: There is no such collection.
            ValueError: ``limit`` is negative.
        """
        if limit is not None and limit < 0:
            raise ValueError(f"limit must be at least 0, not {limit}")
        owner = self.collection(collection)
        wanted, text = set(checked_tags(tags)), _folded(contains)
        statement = _identities().where(IdentityRow.collection_id == owner.collection_id).order_by(IdentityRow.label)
        for tag in sorted(wanted):
            # Narrows down only (LIKE ignores the case of ASCII on SQLite); which tags are carried is decided below.
            statement = statement.where(cast(IdentityRow.tags, Text).contains(json.dumps(tag), autoescape=True))
        # Databases fold the case of ASCII only, or by their locale, so labels are compared here.
        found = (
            row
            for row in self._identity_rows(statement, checked_label(after) if after else "", limit)
            if wanted.issubset(row.tags) and (not text or text in _folded(row.label))
        )
        return tuple(_identity(row) for row in islice(found, limit))

    def identities_by_id(self, identity_ids: Iterable[int]) -> dict[int, Identity]:
        """Return the identities that exist among these ids."""
        statements = (_identities().where(IdentityRow.id.in_(chunk)) for chunk in chunks(identity_ids))
        return {row.id: _identity(row) for statement in statements for row in self._session.rows(statement)}

    def identities_by_label(self, collection: str, labels: Iterable[str]) -> dict[str, Identity]:
        """Return the identities that exist among these labels, by label.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        found: dict[str, Identity] = {}
        for chunk in chunks(checked_label(label) for label in labels):
            statement = _identities().where(IdentityRow.collection_id == owner.collection_id, IdentityRow.label.in_(chunk))
            found.update((row.label, _identity(row)) for row in self._session.rows(statement))
        return found

    def counts(self, collection: str, embedder_id: str | None = None) -> tuple[int, int]:
        """Return the numbers of identities and of templates, the latter of one embedder where it is named.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        people = select(func.count()).select_from(IdentityRow).where(IdentityRow.collection_id == owner.collection_id)
        templates = select(func.count()).select_from(TemplateRow).where(TemplateRow.collection_id == owner.collection_id)
        if embedder_id is not None:
            templates = templates.where(TemplateRow.embedder_id == embedder_id)
        row = self._session.rows(select(people.scalar_subquery(), templates.scalar_subquery()))[0]
        return int(row[0]), int(row[1])

    def embedder_counts(self, collection: str) -> dict[str, int]:
        """Return the number of templates an embedder id.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        statement = (
            select(TemplateRow.embedder_id, func.count())
            .where(TemplateRow.collection_id == owner.collection_id)
            .group_by(TemplateRow.embedder_id)
            .order_by(TemplateRow.embedder_id)
        )
        return {row[0]: int(row[1]) for row in self._session.rows(statement)}

    def templates_of(self, identity_id: int) -> tuple[EnrolledTemplate, ...]:
        """Return an identity's templates by id; empty for an unknown one.

        Raises:
            TemplateFormatError: A stored row is damaged.
        """
        statement = (
            select(
                *(TemplateRow.id, TemplateRow.embedder_id, TemplateRow.vector, TemplateRow.enrolled_at),
                *(FaceRow.identity_id, FaceRow.box, FaceRow.landmarks, FaceRow.score, FaceRow.quality),
                *(ImageRow.digest, ImageRow.source),
            )
            .join(FaceRow, FaceRow.id == TemplateRow.face_id)
            .join(ImageRow, ImageRow.id == FaceRow.image_id)
            .where(FaceRow.identity_id == identity_id)
            .order_by(TemplateRow.id)
        )
        return tuple(_enrolled(row) for row in self._session.rows(statement))

    def face_summaries(self, identity_ids: Iterable[int]) -> dict[int, FaceSummary]:
        """Return how many faces people have, and the oldest template with a kept picture; only people who have any face."""
        found: dict[int, FaceSummary] = {}
        for chunk in chunks(identity_ids):
            pictured = func.min(case((PictureRow.face_id.is_not(None), TemplateRow.id)))
            statement = (
                select(FaceRow.identity_id, func.count(FaceRow.id.distinct()), pictured)
                .join(TemplateRow, TemplateRow.face_id == FaceRow.id)
                .outerjoin(PictureRow, PictureRow.face_id == FaceRow.id)
                .where(FaceRow.identity_id.in_(chunk))
                .group_by(FaceRow.identity_id)
            )
            found.update((row[0], FaceSummary(int(row[1]), row[2])) for row in self._session.rows(statement))
        return found

    def faces_of_image(self, collection: str, image_digest: str, embedder_id: str) -> tuple[tuple[int, str, Box], ...]:
        """Return ``(template_id, label, box)`` of every template of a photograph in a collection, by template id.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        return self.faces_of_images(collection, (image_digest,), embedder_id).get(image_digest, ())

    def faces_of_images(
        self, collection: str, image_digests: Iterable[str], embedder_id: str
    ) -> dict[str, tuple[tuple[int, str, Box], ...]]:
        """Return what ``faces_of_image`` would, of those photographs that have any.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        found: dict[str, tuple[tuple[int, str, Box], ...]] = {}
        for chunk in chunks(image_digests):
            statement = (
                select(ImageRow.digest, TemplateRow.id, IdentityRow.label, FaceRow.box)
                .join(FaceRow, FaceRow.id == TemplateRow.face_id)
                .join(ImageRow, ImageRow.id == FaceRow.image_id)
                .join(IdentityRow, IdentityRow.id == FaceRow.identity_id)
                .where(ImageRow.collection_id == owner.collection_id, ImageRow.digest.in_(chunk))
                .where(TemplateRow.embedder_id == embedder_id)
                .order_by(TemplateRow.id)
            )
            for row in self._session.rows(statement):
                found[row.digest] = (*found.get(row.digest, ()), (row.id, row.label, decode_box(row.box)))
        return found

    def picture_of(self, template_id: int) -> KeptPicture | None:
        """Return the picture kept beside a template, or None.

        Raises:
            TemplateFormatError: Its stored box or landmarks are damaged.
        """
        statement = (
            select(PictureRow.kind, PictureRow.data, PictureRow.box, PictureRow.landmarks)
            .join(TemplateRow, TemplateRow.face_id == PictureRow.face_id)
            .where(TemplateRow.id == template_id)
        )
        row = self._session.first(statement)
        return None if row is None else _picture(row)

    def template_batches(self, collection: str, embedder_id: str, *, size: int = 10_000) -> Iterator[TemplateBatch]:
        """Return all templates of an embedder in batches, by id; read as the batches are taken, inside this transaction.

        Args:
            collection: Its name.
            embedder_id: The embedder wanted.
            size: Templates in a batch, at least 1; only the last one is smaller.

        Raises:
            UnknownCollectionError: There is no such collection.
            TemplateFormatError: A stored vector is damaged or differs in length from the others; raised while iterating.
            ValueError: ``size`` is less than 1.
        """
        if size < 1:
            raise ValueError(f"size must be at least 1, not {size}")
        return self._batches(self.collection(collection).collection_id, embedder_id, size)

    def template_batch(self, template_ids: Iterable[int], embedder_id: str) -> TemplateBatch:
        """Return those of the named templates that exist and are of this embedder, by id.

        With none of them the batch has shape ``(0, 0)``: the length of the embedder's vectors is not known then.

        Raises:
            TemplateFormatError: A stored vector is damaged or differs in length from the others.
        """
        rows: list[Row[*tuple[Any, ...]]] = []
        for chunk in chunks(template_ids):
            rows += self._session.rows(_vectors(embedder_id).where(TemplateRow.id.in_(chunk)).order_by(TemplateRow.id))
        return _batch(rows, embedder_id, None)

    def template_batch_of(self, identity_ids: Iterable[int], embedder_id: str) -> TemplateBatch:
        """Return the templates of an embedder of some identities, by identity and id; shape ``(0, 0)`` with none of them.

        Raises:
            TemplateFormatError: A stored vector is damaged or differs in length from the others.
        """
        rows: list[Row[*tuple[Any, ...]]] = []
        for chunk in chunks(identity_ids):
            wanted = _vectors(embedder_id).where(FaceRow.identity_id.in_(chunk))
            rows += self._session.rows(wanted.order_by(FaceRow.identity_id, TemplateRow.id))
        return _batch(rows, embedder_id, None)

    def changes_since(self, collection: str, revision: int) -> tuple[GalleryChange, ...] | None:
        """Return the changes after a revision, oldest first.

        Returns:
            None where the history no longer reaches back so far, and where the revision lies ahead of the collection's (the
            database was restored from an older copy): the index must be rebuilt.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        owner = self.collection(collection)
        if revision > owner.revision:
            return None
        statement = (
            select(ChangeRow.revision, ChangeRow.template_id, ChangeRow.op)
            .where(ChangeRow.collection_id == owner.collection_id, ChangeRow.revision > revision)
            .order_by(ChangeRow.revision)
        )
        changes = tuple(GalleryChange(row.revision, row.template_id, ChangeKind(row.op)) for row in self._session.rows(statement))
        # Revisions rise by one a change, so a missing one shows in the number of rows.
        return changes if len(changes) == owner.revision - revision else None

    def _find_collection(self, name: str) -> Collection | None:
        row = self._session.first(select(*_COLLECTION_COLUMNS).where(CollectionRow.name == name))
        return None if row is None else _collection(row)

    def _identity_row(self, identity_id: int) -> tuple[Identity, int] | None:
        row = self._session.first(_identities().where(IdentityRow.id == identity_id))
        return None if row is None else (_identity(row), row.collection_id)

    def _identity_rows(self, statement: Select[*tuple[Any, ...]], after: str, limit: int | None) -> Iterator[Row[*tuple[Any, ...]]]:
        size = _IDENTITY_PAGE if limit is None else max(1, min(limit, _IDENTITY_PAGE))
        while rows := self._session.rows(statement.where(IdentityRow.label > after).limit(size)):
            yield from rows
            if len(rows) < size:
                return
            # A page that did not fill the answer was mostly filtered out: the next ones need not be small.
            after, size = rows[-1].label, _IDENTITY_PAGE

    def _batches(self, collection_id: int, embedder_id: str, size: int) -> Iterator[TemplateBatch]:
        statement = _vectors(embedder_id).where(TemplateRow.collection_id == collection_id).order_by(TemplateRow.id).limit(size)
        last_id, dim = 0, None
        while rows := self._session.rows(statement.where(TemplateRow.id > last_id)):
            batch = _batch(rows, embedder_id, dim)
            yield batch
            if len(rows) < size:
                return
            last_id, dim = int(batch.template_ids[-1]), int(batch.vectors.shape[1])


def _identities() -> Select[*tuple[Any, ...]]:
    return select(*_IDENTITY_COLUMNS).join(CollectionRow, CollectionRow.id == IdentityRow.collection_id)


def _vectors(embedder_id: str) -> Select[*tuple[Any, ...]]:
    columns = select(TemplateRow.id, FaceRow.identity_id, TemplateRow.vector)
    return columns.join(FaceRow, FaceRow.id == TemplateRow.face_id).where(TemplateRow.embedder_id == embedder_id)


def _batch(rows: Iterable[Row[*tuple[Any, ...]]], embedder_id: str, dim: int | None) -> TemplateBatch:
    columns = tuple(zip(*rows, strict=True)) or ((), (), ())
    vectors = decode_vectors(columns[2], columns[0], dim=dim)
    return TemplateBatch(np.array(columns[0], dtype=np.int64), np.array(columns[1], dtype=np.int64), vectors, embedder_id)


def _collection(row: Row[*tuple[Any, ...]]) -> Collection:
    return Collection(row.id, row.name, row.revision, row.uid)


def _identity(row: Row[*tuple[Any, ...]]) -> Identity:
    return Identity(row.id, row.label, row.name, tuple(row.tags), row.enrolled_at)


def _enrolled(row: Row[*tuple[Any, ...]]) -> EnrolledTemplate:
    landmarks = np.array(decode_landmarks(row.landmarks), dtype=np.float32)
    detection = Detection(decode_box(row.box), landmarks, row.score)
    quality = MappingProxyType(dict(row.quality))
    provenance = Provenance(row.digest, row.source, detection, row.enrolled_at, quality)
    template = Template(decode_vector(row.vector, what=f"stored template {row.id}"), row.embedder_id)
    return EnrolledTemplate(row.id, row.identity_id, template, provenance)


def _picture(row: Row[*tuple[Any, ...]]) -> KeptPicture:
    return KeptPicture(Keep(row.kind), row.data, decode_landmarks(row.landmarks), decode_box(row.box))


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
