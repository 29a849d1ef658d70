"""Operating points, calibrations, and what people said of answers.

A threshold that somebody measured on their own photographs belongs beside the gallery it decides for, with the evidence it rests
on: a number in a settings file loses its embedder, its counts and its date. A calibration is kept once an embedder, because two
would give the same score two probabilities. Feedback keeps the face's vector, since the same photograph saved again has another
digest and must still be recognised as the one that was rejected; it hangs on the identity, so that erasing a person erases what
was said of them.

A person's stricter threshold is no column of ``identities``: it is the highest ``floor`` of the feedback on that person, so
removing the feedback takes it back, and nothing can be stricter without a reason on record.

Revision 0002, after 0001.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")
NAME = sa.String(200).with_variant(sa.String(200, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "operating_points",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("embedder_id", sa.Text, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("rate", sa.Double, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("n_non_mated", sa.BigInteger, nullable=False),
        sa.Column("n_person_pairs", sa.BigInteger, nullable=False),
        sa.Column("n_templates", sa.BigInteger, nullable=True),
        sa.Column("fusion", sa.String(32), nullable=False),
        sa.Column("data_digest", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("is_in_sample", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_operating_points"),
        sa.UniqueConstraint("name", "embedder_id", name="uq_operating_points_name_embedder_id"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "calibrations",
        sa.Column("embedder_id", sa.Text, nullable=False),
        sa.Column("method", sa.String(16), nullable=False),
        sa.Column("parameters", sa.JSON, nullable=False),
        sa.Column("prior", sa.Double, nullable=False),
        sa.Column("n_mated", sa.BigInteger, nullable=False),
        sa.Column("n_non_mated", sa.BigInteger, nullable=False),
        sa.Column("n_people", sa.BigInteger, nullable=False),
        sa.Column("data_digest", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("embedder_id", name="pk_calibrations"),
    )
    op.create_table(
        "feedback",
        sa.Column("id", ID, nullable=False),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("embedder_id", sa.Text, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("image_digest", sa.Text, nullable=False),
        sa.Column("box", sa.JSON, nullable=False),
        sa.Column("score", sa.Double, nullable=False),
        sa.Column("floor", sa.Double, nullable=True),
        sa.Column("said_by", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_feedback"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name="fk_feedback_collection_id_collections", ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["identity_id"], ["identities.id"], name="fk_feedback_identity_id_identities", ondelete="CASCADE"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_feedback_collection_id", "feedback", ["collection_id"])
    op.create_index("ix_feedback_identity_id", "feedback", ["identity_id"])


def downgrade() -> None:
    for table in ("feedback", "calibrations", "operating_points"):
        op.drop_table(table)
