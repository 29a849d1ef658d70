"""Collections, identities, images, faces, templates, kept pictures and the history of each gallery.

The first schema, so every table at once. Why these and not one table of vectors: a photograph is known by its digest (the same face
is not enrolled twice), a face keeps its box and landmarks (templates of a newer embedder can hang on it), and ``gallery_changes``
lets an index catch up, removals included, without reading every vector again. Keys of SQLite are AUTOINCREMENT: the id of a removed
template is the label of its vector in index snapshots and must never come back as somebody else's.

Written out rather than made from the models, which go on changing after this revision is history.

Revision 0001, the first.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NAME = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")


def _key(table: str) -> tuple[sa.Column, sa.PrimaryKeyConstraint]:
    return sa.Column("id", ID, nullable=False), sa.PrimaryKeyConstraint("id", name=f"pk_{table}")


def _reference(table: str, column: str, parent: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{parent}.id"], name=f"fk_{table}_{column}_{parent}", ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "collections",
        *_key("collections"),
        sa.Column("name", NAME, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
        sa.Column("uid", sa.String(32), nullable=False),
        sa.UniqueConstraint("name", name="uq_collections_name"),
        sa.UniqueConstraint("uid", name="uq_collections_uid"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "identities",
        *_key("identities"),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("label", NAME, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        _reference("identities", "collection_id", "collections"),
        sa.UniqueConstraint("collection_id", "label", name="uq_identities_collection_id_label"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "images",
        *_key("images"),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        _reference("images", "collection_id", "collections"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_images_collection_id_digest", "images", ["collection_id", "digest"])
    _create_faces_and_templates()
    op.create_table(
        "gallery_changes",
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("template_id", sa.BigInteger, nullable=False),
        sa.Column("op", sa.String(16), nullable=False),
        _reference("gallery_changes", "collection_id", "collections"),
        sa.PrimaryKeyConstraint("collection_id", "revision", name="pk_gallery_changes"),
    )


def _create_faces_and_templates() -> None:
    op.create_table(
        "faces",
        *_key("faces"),
        sa.Column("image_id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("box", sa.JSON, nullable=False),
        sa.Column("landmarks", sa.JSON, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("quality", sa.JSON, nullable=False),
        _reference("faces", "image_id", "images"),
        _reference("faces", "identity_id", "identities"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_faces_image_id", "faces", ["image_id"])
    op.create_index("ix_faces_identity_id", "faces", ["identity_id"])
    op.create_table(
        "templates",
        *_key("templates"),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("face_id", ID, nullable=False),
        sa.Column("embedder_id", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("enrolled_at", sa.DateTime(timezone=True), nullable=False),
        _reference("templates", "collection_id", "collections"),
        _reference("templates", "face_id", "faces"),
        sa.UniqueConstraint("face_id", "embedder_id", name="uq_templates_face_id_embedder_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_templates_collection_id_embedder_id_id", "templates", ["collection_id", "embedder_id", "id"])
    op.create_table(
        "pictures",
        sa.Column("face_id", ID, nullable=False, autoincrement=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.Column("box", sa.JSON, nullable=False),
        sa.Column("landmarks", sa.JSON, nullable=False),
        _reference("pictures", "face_id", "faces"),
        sa.PrimaryKeyConstraint("face_id", name="pk_pictures"),
    )


def downgrade() -> None:
    for table in ("gallery_changes", "pictures", "templates", "faces", "images", "identities", "collections"):
        op.drop_table(table)
