"""Videos and their tracks inside one transaction.

It reads no video and decides nothing; who is enrolled is ``reader``'s and ``writer``'s work.
"""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

import numpy as np
from sqlalchemy import Row, Select, delete, func, insert, select

from facesearch.core.errors import InputError, StoreError, UnknownCollectionError, UnknownVideoError
from facesearch.core.face import Detection
from facesearch.core.identity import checked_label
from facesearch.core.template import Template
from facesearch.core.video import Interval, NewTrack, NewVideo, Video, VideoInfo, VideoReading, VideoTrack
from facesearch.store import codec
from facesearch.store.session import Session, chunks
from facesearch.store.tables import CollectionRow, IdentityRow, VideoRow, VideoTrackRow


class VideosReader:
    """``facesearch.core.video.VideosReader`` on one open transaction."""

    _session: Session

    def videos(self, collection: str) -> tuple[Video, ...]:
        """Return the videos of a collection by id; none where there is no such collection.

        Raises:
            StoreError: A stored row is damaged.
        """
        statement = _videos().where(CollectionRow.name == checked_label(collection, what="collection name"))
        return tuple(_video(row) for row in self._session.rows(statement.order_by(VideoRow.id)))

    def video(self, video_id: int) -> Video:
        """Return a video.

        Raises:
            UnknownVideoError: There is no such video.
            StoreError: The stored row is damaged.
        """
        row = self._session.first(_videos().where(VideoRow.id == video_id))
        if row is None:
            raise UnknownVideoError(
                f"there is no video {video_id}: `facesearch videos list` shows what there is", video_id=video_id
            )
        return _video(row)

    def video_tracks(self, video_id: int) -> tuple[VideoTrack, ...]:
        """Return a video's tracks by time; none for an unknown video.

        Raises:
            TemplateFormatError: A stored vector, box or point is damaged.
            StoreError: Another stored value is.
        """
        statement = _tracks().where(VideoTrackRow.video_id == video_id).order_by(VideoTrackRow.start_s, VideoTrackRow.id)
        return tuple(_track(row) for row in self._session.rows(statement))

    def n_tracks_of(self, identity_id: int) -> int:
        """Return how many tracks were decided to be a person; damaged ones count."""
        row = self._session.first(select(func.count()).where(VideoTrackRow.identity_id == identity_id))
        return int(row[0]) if row is not None else 0


class VideosWriter(VideosReader):
    """``facesearch.core.video.VideosWriter`` on one open writing transaction."""

    def add_video(self, collection: str, video: NewVideo, tracks: Iterable[NewTrack]) -> Video:
        """Store a video with its tracks.

        Raises:
            UnknownCollectionError: There is no such collection.
            InputError: A value that cannot be stored (a time without a zone, a quality figure that is NaN).
        """
        name = checked_label(collection, what="collection name")
        owner = self._session.first(select(CollectionRow.id).where(CollectionRow.name == name))
        if owner is None:
            raise UnknownCollectionError(f"there is no collection {name!r}", collection=name)
        info, reading = video.info, video.reading
        video_id = self._session.insert(
            insert(VideoRow).values(
                collection_id=owner.id,
                digest=info.digest,
                source=codec.encode_source(info.source),
                width=info.width,
                height=info.height,
                fps=info.fps,
                n_frames_promised=info.n_frames,
                n_frames=reading.n_frames,
                n_sampled=reading.n_sampled,
                end_s=reading.end_s,
                is_cut=reading.is_cut,
                sample_rate=video.sample_rate,
                min_face_px=video.min_face_px,
                embedder_id=video.embedder_id,
                indexed_at=codec.encode_moment(video.indexed_at),
            )
        )
        rows = [_track_values(one, video_id, video.embedder_id) for one in tracks]
        if rows:
            self._session.run(insert(VideoTrackRow), rows)
        return self.video(video_id)

    def remove_video(self, video_id: int) -> Video:
        """Delete a video with its tracks and return it.

        Raises:
            UnknownVideoError: There is no such video.
        """
        found = self.video(video_id)
        self._session.run(delete(VideoRow).where(VideoRow.id == video_id))
        return found

    def remove_tracks(self, track_ids: Iterable[int]) -> None:
        """Delete tracks; those that do not exist are passed over."""
        for chunk in chunks(track_ids):
            self._session.run(delete(VideoTrackRow).where(VideoTrackRow.id.in_(chunk)))


def _videos() -> Select[*tuple[Any, ...]]:
    n_tracks = select(func.count()).select_from(VideoTrackRow).where(VideoTrackRow.video_id == VideoRow.id)
    columns = (
        *(VideoRow.id, VideoRow.digest, VideoRow.source, VideoRow.width, VideoRow.height, VideoRow.fps),
        *(VideoRow.n_frames_promised, VideoRow.n_frames, VideoRow.n_sampled, VideoRow.end_s, VideoRow.is_cut),
        *(VideoRow.sample_rate, VideoRow.min_face_px, VideoRow.embedder_id, VideoRow.indexed_at),
        *(CollectionRow.name, n_tracks.scalar_subquery().label("n_tracks")),
    )
    return select(*columns).join(CollectionRow, CollectionRow.id == VideoRow.collection_id)


def _video(row: Row[*tuple[Any, ...]]) -> Video:
    info = VideoInfo(row.source, row.digest, row.width, row.height, row.fps, row.n_frames_promised)
    reading = VideoReading(row.n_frames, row.n_sampled, row.end_s, row.is_cut)
    about = NewVideo(info, reading, row.sample_rate, row.min_face_px, row.embedder_id, row.indexed_at)
    return Video(row.id, row.name, about, row.n_tracks)


def _tracks() -> Select[*tuple[Any, ...]]:
    columns = (
        *(VideoTrackRow.id, VideoTrackRow.video_id, VideoTrackRow.identity_id, VideoTrackRow.start_s, VideoTrackRow.end_s),
        *(VideoTrackRow.n_faces, VideoTrackRow.best_s, VideoTrackRow.vector, VideoTrackRow.box, VideoTrackRow.landmarks),
        *(VideoTrackRow.detection_score, VideoTrackRow.quality, VideoTrackRow.score, VideoRow.embedder_id, IdentityRow.label),
    )
    joined = select(*columns).join(VideoRow, VideoRow.id == VideoTrackRow.video_id)
    return joined.outerjoin(IdentityRow, IdentityRow.id == VideoTrackRow.identity_id)


def _track(row: Row[*tuple[Any, ...]]) -> VideoTrack:
    landmarks = np.array(codec.decode_landmarks(row.landmarks), dtype=np.float32)
    try:
        detection = Detection(codec.decode_box(row.box), landmarks, row.detection_score)
        interval = Interval(row.start_s, row.end_s)
    except InputError as exc:
        raise StoreError(f"the stored track {row.id} of video {row.video_id} is damaged: {exc}", track_id=row.id) from exc
    track = NewTrack(
        interval=interval,
        n_faces=row.n_faces,
        best_s=row.best_s,
        detection=detection,
        template=Template(codec.decode_vector(row.vector, what=f"vector of track {row.id}"), row.embedder_id),
        quality=MappingProxyType(dict(row.quality)),
        identity_id=row.identity_id,
        score=row.score,
    )
    return VideoTrack(row.id, row.video_id, row.label, track)


def _track_values(track: NewTrack, video_id: int, embedder_id: str) -> dict[str, object]:
    if track.template.embedder_id != embedder_id:
        raise InputError(f"a track of {track.template.embedder_id} does not belong to a video indexed with {embedder_id}")
    return {
        "video_id": video_id,
        "identity_id": track.identity_id,
        "start_s": track.interval.start_s,
        "end_s": track.interval.end_s,
        "n_faces": track.n_faces,
        "best_s": track.best_s,
        "vector": codec.encode_vector(track.template.vector),
        "box": codec.encode_box(track.detection.box),
        "landmarks": codec.encode_landmarks(track.detection.landmarks),
        "detection_score": track.detection.score,
        "quality": codec.encode_quality(track.quality),
        "score": track.score,
    }
