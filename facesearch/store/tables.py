"""The tables of the database as typed models.

It opens no connection and creates no table: ``migrations/`` alone makes and changes the schema, and a test holds the two equal.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    DateTime,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from facesearch.core.identity import MAX_LABEL_CHARS

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of constraints, the same on every database: SQLite's batch migrations can only drop what has a name."""

ID = BigInteger().with_variant(Integer, "sqlite")
"""64-bit key; SQLite's AUTOINCREMENT exists for ``INTEGER`` only, which is 64 bits wide there."""

NAME = String(MAX_LABEL_CHARS).with_variant(String(MAX_LABEL_CHARS, collation="C"), "postgresql")
"""A label, compared and sorted by code point: SQLite's own rule, the collation ``C`` of PostgreSQL."""


class UtcDateTime(TypeDecorator[datetime]):
    """A moment with its time zone, also on SQLite, which has none: stored and returned as UTC."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn a moment into UTC; the codec has refused those without a zone."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return a moment in UTC, whatever zone the connection is set to."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Base of the models."""

    metadata = MetaData(naming_convention=NAMING)


class CollectionRow(Base):
    """A named gallery and the number of changes made to its templates.

    ``uid`` is random: an index snapshot filed under it cannot be taken for that of another database's first collection.
    """

    __tablename__ = "collections"
    __table_args__ = (UniqueConstraint("name"), UniqueConstraint("uid"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    revision: Mapped[int] = mapped_column(BigInteger)
    uid: Mapped[str] = mapped_column(String(32))


class IdentityRow(Base):
    """One person of a collection. ``tags`` is a sorted JSON list of texts."""

    __tablename__ = "identities"
    __table_args__ = (UniqueConstraint("collection_id", "label"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    label: Mapped[str] = mapped_column(NAME)
    tags: Mapped[list[str]] = mapped_column(JSON)
    enrolled_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EmbedderUseRow(Base):
    """Which embedder a collection is searched with, where it was moved to one; see ``facesearch.core.embedder_use.EmbedderUse``."""

    __tablename__ = "embedder_uses"

    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    current_name: Mapped[str] = mapped_column(Text)
    current_id: Mapped[str] = mapped_column(Text)
    other_name: Mapped[str | None] = mapped_column(Text)
    other_id: Mapped[str | None] = mapped_column(Text)
    is_copying: Mapped[bool] = mapped_column(Boolean)


class ImageRow(Base):
    """A photograph that faces of a collection came from, without its pixels.

    One row a digest and source: the same file under two names stays two, so that each template reads back as it was enrolled.
    Not unique in the schema, because a path may be longer than an index entry of PostgreSQL; writers take turns anyway.
    """

    __tablename__ = "images"
    __table_args__ = (Index(None, "collection_id", "digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)


class FaceRow(Base):
    """A face of a photograph and the person it belongs to; templates of several embedders may hang on it.

    ``box`` is ``[x1, y1, x2, y2]`` and ``landmarks`` five ``[x, y]``, in pixels of the photograph; JSON keeps floats exactly.
    """

    __tablename__ = "faces"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    image_id: Mapped[int] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"), index=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id", ondelete="CASCADE"), index=True)
    box: Mapped[list[float]] = mapped_column(JSON)
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)
    score: Mapped[float] = mapped_column(Double)
    quality: Mapped[dict[str, float]] = mapped_column(JSON)


class TemplateRow(Base):
    """The vector of a face: float32, little-endian.

    ``collection_id`` repeats what follows from the face, so that a gallery is read in one walk along an index.
    """

    __tablename__ = "templates"
    __table_args__ = (
        UniqueConstraint("face_id", "embedder_id"),
        Index(None, "collection_id", "embedder_id", "id"),
        {"sqlite_autoincrement": True},
    )

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    face_id: Mapped[int] = mapped_column(ForeignKey("faces.id", ondelete="CASCADE"))
    embedder_id: Mapped[str] = mapped_column(Text)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    enrolled_at: Mapped[datetime] = mapped_column(UtcDateTime)


class PictureRow(Base):
    """What was kept of a face's photograph; ``box`` and ``landmarks`` are in the stored picture's pixels."""

    __tablename__ = "pictures"

    face_id: Mapped[int] = mapped_column(ForeignKey("faces.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    data: Mapped[bytes] = mapped_column(LargeBinary)
    box: Mapped[list[float]] = mapped_column(JSON)
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)


class ChangeRow(Base):
    """One step of a collection's history; ``template_id`` outlives its template, hence no foreign key."""

    __tablename__ = "gallery_changes"

    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), primary_key=True)
    revision: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    template_id: Mapped[int] = mapped_column(BigInteger)
    op: Mapped[str] = mapped_column(String(16))


class PointRow(Base):
    """A threshold that somebody measured, with its evidence; see ``facesearch.core.records.SavedPoint``."""

    __tablename__ = "operating_points"
    __table_args__ = (UniqueConstraint("name", "embedder_id"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    name: Mapped[str] = mapped_column(NAME)
    embedder_id: Mapped[str] = mapped_column(Text)
    kind: Mapped[str] = mapped_column(String(16))
    rate: Mapped[float] = mapped_column(Double)
    threshold: Mapped[float] = mapped_column(Double)
    n_non_mated: Mapped[int] = mapped_column(BigInteger)
    n_person_pairs: Mapped[int] = mapped_column(BigInteger)
    n_templates: Mapped[int | None] = mapped_column(BigInteger)
    fusion: Mapped[str] = mapped_column(String(32))
    data_digest: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    is_in_sample: Mapped[bool] = mapped_column(Boolean)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class CalibrationRow(Base):
    """An embedder's calibration; ``parameters`` holds ``knots``, ``llrs`` and ``clamp``. One an embedder."""

    __tablename__ = "calibrations"

    embedder_id: Mapped[str] = mapped_column(Text, primary_key=True)
    method: Mapped[str] = mapped_column(String(16))
    parameters: Mapped[dict[str, Any]] = mapped_column(JSON)
    prior: Mapped[float] = mapped_column(Double)
    n_mated: Mapped[int] = mapped_column(BigInteger)
    n_non_mated: Mapped[int] = mapped_column(BigInteger)
    n_people: Mapped[int] = mapped_column(BigInteger)
    data_digest: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class FeedbackRow(Base):
    """What somebody said of a face and an enrolled person; gone with the person."""

    __tablename__ = "feedback"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    identity_id: Mapped[int] = mapped_column(ForeignKey("identities.id", ondelete="CASCADE"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    embedder_id: Mapped[str] = mapped_column(Text)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    image_digest: Mapped[str] = mapped_column(Text)
    box: Mapped[list[float]] = mapped_column(JSON)
    score: Mapped[float] = mapped_column(Double)
    floor: Mapped[float | None] = mapped_column(Double)
    said_by: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VideoRow(Base):
    """A video whose faces were followed; see ``facesearch.core.video.NewVideo``. Its pictures and its path's file are elsewhere."""

    __tablename__ = "videos"
    __table_args__ = (Index(None, "collection_id", "digest"), {"sqlite_autoincrement": True})

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    collection_id: Mapped[int] = mapped_column(ForeignKey("collections.id", ondelete="CASCADE"))
    digest: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(Text)
    width: Mapped[int] = mapped_column(BigInteger)
    height: Mapped[int] = mapped_column(BigInteger)
    fps: Mapped[float] = mapped_column(Double)
    n_frames_promised: Mapped[int] = mapped_column(BigInteger)
    n_frames: Mapped[int] = mapped_column(BigInteger)
    n_sampled: Mapped[int] = mapped_column(BigInteger)
    end_s: Mapped[float] = mapped_column(Double)
    is_cut: Mapped[bool] = mapped_column(Boolean)
    sample_rate: Mapped[float] = mapped_column(Double)
    min_face_px: Mapped[int] = mapped_column(BigInteger)
    embedder_id: Mapped[str] = mapped_column(Text)
    indexed_at: Mapped[datetime] = mapped_column(UtcDateTime)


class VideoTrackRow(Base):
    """A face followed through a video; see ``facesearch.core.video.NewTrack``.

    ``identity_id`` is who it was decided to be: noted only, so it goes with the person and the track stays.
    """

    __tablename__ = "video_tracks"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(ID, primary_key=True)
    video_id: Mapped[int] = mapped_column(ForeignKey("videos.id", ondelete="CASCADE"), index=True)
    identity_id: Mapped[int | None] = mapped_column(ForeignKey("identities.id", ondelete="SET NULL"), index=True)
    start_s: Mapped[float] = mapped_column(Double)
    end_s: Mapped[float] = mapped_column(Double)
    n_faces: Mapped[int] = mapped_column(BigInteger)
    best_s: Mapped[float] = mapped_column(Double)
    vector: Mapped[bytes] = mapped_column(LargeBinary)
    box: Mapped[list[float]] = mapped_column(JSON)
    landmarks: Mapped[list[list[float]]] = mapped_column(JSON)
    detection_score: Mapped[float] = mapped_column(Double)
    quality: Mapped[dict[str, float]] = mapped_column(JSON)
    score: Mapped[float | None] = mapped_column(Double)


def table_names() -> tuple[str, ...]:
    """Return the names of all tables, parents before children."""
    tables: list[Any] = Base.metadata.sorted_tables
    return tuple(table.name for table in tables)
