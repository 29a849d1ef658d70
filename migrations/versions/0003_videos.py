"""Videos and the faces followed through them.

Whoever asks "when is this person seen" asks again, of other people and after more people were enrolled; the video is not decoded
again for that. So each face followed through a video is kept with its template, its time and its best place, whoever it was taken
for. A track hangs on its video, not on a person: it is evidence of the video, and a person enrolled tomorrow must still be found in
it. Who it was decided to be is only noted (``identity_id``), and forgotten with the person.

Revision 0003, after 0002.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "videos",
        sa.Column("id", ID, nullable=False),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("width", sa.BigInteger, nullable=False),
        sa.Column("height", sa.BigInteger, nullable=False),
        sa.Column("fps", sa.Double, nullable=False),
        sa.Column("n_frames_promised", sa.BigInteger, nullable=False),
        sa.Column("n_frames", sa.BigInteger, nullable=False),
        sa.Column("n_sampled", sa.BigInteger, nullable=False),
        sa.Column("end_s", sa.Double, nullable=False),
        sa.Column("is_cut", sa.Boolean, nullable=False),
        sa.Column("sample_rate", sa.Double, nullable=False),
        sa.Column("min_face_px", sa.BigInteger, nullable=False),
        sa.Column("embedder_id", sa.Text, nullable=False),
        sa.Column("indexed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_videos"),
        sa.ForeignKeyConstraint(
            ["collection_id"], ["collections.id"], name="fk_videos_collection_id_collections", ondelete="CASCADE"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_videos_collection_id_digest", "videos", ["collection_id", "digest"])
    op.create_table(
        "video_tracks",
        sa.Column("id", ID, nullable=False),
        sa.Column("video_id", ID, nullable=False),
        sa.Column("identity_id", ID, nullable=True),
        sa.Column("start_s", sa.Double, nullable=False),
        sa.Column("end_s", sa.Double, nullable=False),
        sa.Column("n_faces", sa.BigInteger, nullable=False),
        sa.Column("best_s", sa.Double, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.Column("box", sa.JSON, nullable=False),
        sa.Column("landmarks", sa.JSON, nullable=False),
        sa.Column("detection_score", sa.Double, nullable=False),
        sa.Column("quality", sa.JSON, nullable=False),
        sa.Column("score", sa.Double, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_video_tracks"),
        sa.ForeignKeyConstraint(["video_id"], ["videos.id"], name="fk_video_tracks_video_id_videos", ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["identity_id"], ["identities.id"], name="fk_video_tracks_identity_id_identities", ondelete="SET NULL"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_video_tracks_video_id", "video_tracks", ["video_id"])
    op.create_index("ix_video_tracks_identity_id", "video_tracks", ["identity_id"])


def downgrade() -> None:
    for table in ("video_tracks", "videos"):
        op.drop_table(table)
