"""The embedder that a collection is searched with, where it was moved from one to another.

Which templates answer must change for every process at the same moment and be taken back as easily, so it is a row beside the
collection and not a setting of each process. Templates of both embedders hang on the same faces, as they always could; nothing of
what is stored changes. A collection without a row is searched with the embedder of the settings, as before. A row goes with its
collection.

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "embedder_uses",
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("current_name", sa.Text, nullable=False),
        sa.Column("current_id", sa.Text, nullable=False),
        sa.Column("other_name", sa.Text, nullable=True),
        sa.Column("other_id", sa.Text, nullable=True),
        sa.Column("is_copying", sa.Boolean, nullable=False),
        sa.PrimaryKeyConstraint("collection_id", name="pk_embedder_uses"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name="fk_embedder_uses_collection_id_collections", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("embedder_uses")
