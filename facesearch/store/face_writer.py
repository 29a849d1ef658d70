"""Storing faces: one, or many at once with as few statements as one takes.

It looks after no people: see ``writer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import delete, exists, insert, select, update

from facesearch.core.compact import TemplateFormat
from facesearch.core.errors import InputError, UnknownIdentityError
from facesearch.core.identity import ChangeKind, EnrolledTemplate, Identity, Keep, KeptPicture, NewFace, Provenance
from facesearch.store import codec
from facesearch.store.reader import SqlReader
from facesearch.store.session import chunks
from facesearch.store.tables import ChangeRow, CollectionRow, FaceRow, IdentityRow, ImageRow, PictureRow, TemplateRow


class FaceWriter(SqlReader):
    """The part of ``StoreWriter`` that stores faces and writes the history of templates."""

    def add_face(self, identity_id: int, face: NewFace) -> EnrolledTemplate:
        """Store a face of an identity; the collection's revision rises by one.

        The photograph and the face are stored once however many templates come from them.

        Raises:
            UnknownIdentityError: There is no such identity.
            InputError: A value that cannot be stored (a time without a zone, a quality figure that is NaN).
        """
        return self.add_faces(((identity_id, face),))[0]

    def add_faces(self, faces: Sequence[tuple[int, NewFace]]) -> tuple[EnrolledTemplate, ...]:
        """Store faces as ``add_face`` would one after the other, with a few statements for all of them.

        Args:
            faces: ``(identity_id, face)`` of one collection and one embedder.

        Raises:
            UnknownIdentityError: There is no such identity.
            InputError: A value that cannot be stored, or faces of several collections or embedders. Nothing was stored yet.
        """
        if not faces:
            return ()
        collection_id = self._shared_home(faces)
        held = self._session.template_format
        rows = [_FaceRows(identity_id, face, held) for identity_id, face in faces]
        face_ids = self._face_ids(collection_id, rows)
        template_ids = self._session.insert_many(
            TemplateRow,
            [{"collection_id": collection_id, "face_id": key, **row.template} for key, row in zip(face_ids, rows, strict=True)],
        )
        self._record(collection_id, template_ids, ChangeKind.ADD)
        return tuple(row.enrolled(template_id) for template_id, row in zip(template_ids, rows, strict=True))

    def _shared_home(self, faces: Sequence[tuple[int, NewFace]]) -> int:
        """Return the one collection of the faces' people."""
        wanted = {identity_id for identity_id, _ in faces}
        homes: dict[int, int] = {}
        for chunk in chunks(wanted):
            statement = select(IdentityRow.id, IdentityRow.collection_id).where(IdentityRow.id.in_(chunk))
            homes.update((row.id, row.collection_id) for row in self._session.rows(statement))
        for identity_id in sorted(wanted.difference(homes)):
            raise UnknownIdentityError(f"there is no identity with id {identity_id}", identity_id=identity_id)
        embedders = sorted({face.template.embedder_id for _, face in faces})
        if len(embedders) > 1 or len(set(homes.values())) > 1:
            raise InputError(
                f"faces stored together are of one collection and one embedder, not of {len(set(homes.values()))} collections "
                f"and {', '.join(embedders)}"
            )
        return homes[faces[0][0]]

    def _face_ids(self, collection_id: int, rows: Sequence[_FaceRows]) -> list[int]:
        """Return the row of each face; those of photographs that are new here are made all at once."""
        known = self._image_ids(collection_id, {row.image_key[0] for row in rows})
        fresh = list(dict.fromkeys(row.image_key for row in rows if row.image_key not in known))
        new_ids = self._session.insert_many(
            ImageRow, [{"collection_id": collection_id, "digest": digest, "source": source} for digest, source in fresh]
        )
        image_ids = dict(zip(fresh, new_ids, strict=True))
        # A face is looked for only where its photograph was there before: a photograph made just now has none but the ones of this
        # call, and each of those is about to get its template, so that no other may share it.
        made = [row for row in rows if row.image_key in image_ids]
        face_ids = self._session.insert_many(
            FaceRow, [{"image_id": image_ids[row.image_key], "identity_id": row.identity_id, **row.face} for row in made]
        )
        pictures = [
            {"face_id": face_id, **row.picture} for face_id, row in zip(face_ids, made, strict=True) if row.picture is not None
        ]
        if pictures:
            self._session.run(insert(PictureRow), pictures)
        of_made = {id(row): face_id for row, face_id in zip(made, face_ids, strict=True)}
        taken: set[int] = set()
        return [of_made[id(row)] if id(row) in of_made else self._face_of(known[row.image_key], row, taken) for row in rows]

    def _image_ids(self, collection_id: int, digests: Iterable[str]) -> dict[tuple[str, str], int]:
        """Return the rows of photographs with these digests, by digest and source."""
        found: dict[tuple[str, str], int] = {}
        for chunk in chunks(digests):
            columns = select(ImageRow.id, ImageRow.digest, ImageRow.source)
            statement = columns.where(ImageRow.collection_id == collection_id, ImageRow.digest.in_(chunk)).order_by(ImageRow.id)
            for row in self._session.rows(statement):
                found.setdefault((row.digest, row.source), row.id)
        return found

    def _existing(self, identity_id: int) -> tuple[Identity, int]:
        row = self._identity_row(identity_id)
        if row is None:
            raise UnknownIdentityError(f"there is no identity with id {identity_id}", identity_id=identity_id)
        return row

    def _face_of(self, image_id: int, row: _FaceRows, taken: set[int]) -> int:
        """Return the row of a face, made where there is none equal in everything that still lacks this embedder's template."""
        has_template = exists().where(TemplateRow.face_id == FaceRow.id, TemplateRow.embedder_id == row.template["embedder_id"])
        candidates = self._session.rows(
            select(FaceRow.id, FaceRow.box, FaceRow.landmarks, FaceRow.score, FaceRow.quality)
            .where(FaceRow.image_id == image_id, FaceRow.identity_id == row.identity_id, ~has_template)
            .order_by(FaceRow.id)
        )
        for found in candidates:
            if found.id in taken:
                continue
            is_equal = all(getattr(found, name) == value for name, value in row.face.items())
            if is_equal and self._picture_values_of(found.id) == row.picture:
                taken.add(found.id)
                return int(found.id)
        face_id = self._session.insert(insert(FaceRow).values(image_id=image_id, identity_id=row.identity_id, **row.face))
        if row.picture is not None:
            self._session.run(insert(PictureRow).values(face_id=face_id, **row.picture))
        taken.add(face_id)
        return face_id

    def _picture_values_of(self, face_id: int) -> dict[str, object] | None:
        columns = select(PictureRow.kind, PictureRow.data, PictureRow.box, PictureRow.landmarks)
        row = self._session.first(columns.where(PictureRow.face_id == face_id))
        return None if row is None else dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping

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


class _FaceRows:
    """What the tables hold of one face, checked before anything of it is written."""

    def __init__(self, identity_id: int, face: NewFace, template_format: TemplateFormat) -> None:
        provenance = face.provenance
        detection = provenance.detection
        self.identity_id = identity_id
        self.image_key = (provenance.image_digest, codec.encode_source(provenance.source))
        self.face: dict[str, object] = {
            "box": codec.encode_box(detection.box),
            "landmarks": codec.encode_landmarks(detection.landmarks.tolist()),
            "score": detection.score,
            "quality": codec.encode_quality(provenance.quality),
        }
        self.picture = _picture_values(face.picture)
        self._moment = codec.encode_moment(provenance.enrolled_at)
        self.template: dict[str, object] = {
            "embedder_id": face.template.embedder_id,
            "vector": codec.encode_vector(face.template.vector, template_format),
            "enrolled_at": self._moment,
        }
        self._stored = face

    def enrolled(self, template_id: int) -> EnrolledTemplate:
        """Return the face as it was stored."""
        origin = self._stored.provenance
        stored = Provenance(origin.image_digest, self.image_key[1], origin.detection, self._moment, origin.quality)
        return EnrolledTemplate(template_id, self.identity_id, self._stored.template, stored)


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
