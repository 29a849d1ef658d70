"""Videos and their tracks come back from each database as they went in, and stay when a person goes."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from alembic import command
from sqlalchemy import create_engine, text

from facesearch.core.errors import InputError, StoreError, TemplateFormatError, UnknownCollectionError, UnknownVideoError
from facesearch.core.template import Template
from facesearch.core.video import Interval, NewTrack, NewVideo, VideoInfo, VideoReading
from facesearch.store import schema
from facesearch.store.engine import parsed_url
from facesearch.store.sql import SqlStore
from tests.store_builders import EMBEDDER, OTHER_EMBEDDER, detection, new_face, vector

WHEN = datetime(2026, 3, 4, 5, 6, 7, 89, tzinfo=UTC)
INFO = VideoInfo("/films/Größe – 1.mp4", "ab" * 32, 1280, 720, 29.97002997, 5_000_000_000)
VIDEO = NewVideo(INFO, VideoReading(4_999_999_999, 321, 1234.567, True), 5.0, 40, EMBEDDER, WHEN)


def track(seed: int, start_s: float, identity_id: int | None = None, **changes) -> NewTrack:
    made = NewTrack(
        Interval(start_s, start_s + 1.25),
        7,
        start_s + 1 / 3,
        detection(seed),
        Template(vector(seed), EMBEDDER),
        {"face_px": 61.5, "score": 1 / 3},
        identity_id,
        0.61 if identity_id else None,
    )
    return replace(made, **changes)


def same(stored: NewTrack, made: NewTrack) -> bool:
    plain = ("interval", "n_faces", "best_s", "quality", "identity_id", "score")
    return (
        all(getattr(stored, name) == getattr(made, name) for name in plain)
        and np.array_equal(stored.template.vector, made.template.vector)
        and stored.template.embedder_id == made.template.embedder_id
        and stored.detection.box == made.detection.box
        and np.array_equal(stored.detection.landmarks, made.detection.landmarks)
        and stored.detection.score == made.detection.score
    )


def test_a_video_comes_back_as_it_went_in_and_goes(store):
    with store.writing() as writer:
        ada = writer.add_identity("default", "Ada").identity_id
        made = [track(1, 9.0, ada), track(2, 0.5)]
        video = writer.add_video("default", VIDEO, made)
        writer.add_video("default", replace(VIDEO, embedder_id=OTHER_EMBEDDER), [])
    with store.reading() as reader:
        assert reader.video(video.video_id) == video
        assert (video.about, video.collection, video.n_tracks) == (VIDEO, "default", 2)
        assert [one.n_tracks for one in reader.videos("default")] == [2, 0]
        assert reader.videos("elsewhere") == ()
        late, early = reader.video_tracks(video.video_id)[::-1]
        assert (late.label, early.label, late.video_id) == ("Ada", None, video.video_id)
        assert same(late.track, made[0])
        assert same(early.track, made[1])
    with store.writing() as writer:
        writer.remove_tracks([early.track_id, 10**9])
        assert [one.track_id for one in writer.video_tracks(video.video_id)] == [late.track_id]
        assert writer.remove_video(video.video_id).video_id == video.video_id
        assert writer.video_tracks(video.video_id) == ()
        with pytest.raises(UnknownVideoError, match="videos list"):
            writer.remove_video(video.video_id)
        assert writer.add_video("default", VIDEO, []).video_id > video.video_id + 1  # ids are never used again


def test_a_removed_person_is_forgotten_by_tracks_and_a_merged_one_renamed(store):
    with store.writing() as writer:
        ada, bob, eve = (writer.add_identity("default", name).identity_id for name in ("Ada", "Bob", "Eve"))
        writer.add_face(bob, new_face(1))
        video = writer.add_video("default", VIDEO, [track(1, 0.0, ada), track(2, 1.0, bob), track(3, 2.0, eve)])
        writer.remove_identity(ada)
        writer.merge_identities(bob, eve)
        found = writer.video_tracks(video.video_id)
        assert [(one.label, one.track.identity_id) for one in found] == [(None, None), ("Eve", eve), ("Eve", eve)]


def test_a_removed_collection_takes_its_videos_along(store):
    with store.writing() as writer:
        writer.add_collection("films")
        video = writer.add_video("films", VIDEO, [track(1, 0.0)])
        writer.remove_collection("films")
        assert writer.video_tracks(video.video_id) == ()
        with pytest.raises(UnknownVideoError):
            writer.video(video.video_id)


def test_a_video_needs_a_collection_and_tracks_of_its_embedder(store):
    with store.writing() as writer, pytest.raises(UnknownCollectionError):
        writer.add_video("nowhere", VIDEO, [])
    other = Template(vector(1), OTHER_EMBEDDER)
    with store.writing() as writer, pytest.raises(InputError, match=OTHER_EMBEDDER):
        writer.add_video("default", VIDEO, [track(1, 0.0, template=other)])


@pytest.mark.parametrize(
    ("damage", "error"),
    [("start_s = 99999", StoreError), ("detection_score = 2", StoreError), ("box = '[3, 2, 1]'", TemplateFormatError)],
)
def test_a_damaged_track_is_an_error(store, store_url, damage, error):
    with store.writing() as writer:
        video = writer.add_video("default", VIDEO, [track(1, 0.0)])
    engine = create_engine(parsed_url(store_url))
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE video_tracks SET {damage}"))
    engine.dispose()
    with store.reading() as reader, pytest.raises(error, match="damaged"):
        reader.video_tracks(video.video_id)


def test_tracks_of_a_person_are_counted_without_reading_them(store, store_url):
    with store.writing() as writer:
        ada, bob = (writer.add_identity("default", label).identity_id for label in ("Ada", "Bob"))
        writer.add_video("default", VIDEO, [track(1, 0.0, ada), track(2, 1.0, ada), track(3, 2.0)])
    engine = create_engine(parsed_url(store_url))
    with engine.begin() as connection:
        connection.execute(text("UPDATE video_tracks SET box = '[3, 2, 1]'"))
    engine.dispose()
    with store.reading() as reader:
        assert [reader.n_tracks_of(one) for one in (ada, bob)] == [2, 0]


def test_a_database_of_the_second_schema_is_raised_with_everybody_in_it(empty_url):
    schema.upgrade(empty_url)
    before = SqlStore(empty_url)
    with before.writing() as writer:
        writer.add_collection("default")
        writer.add_face(writer.add_identity("default", "Ada").identity_id, new_face(1))
    before.close()
    engine = create_engine(parsed_url(empty_url))
    with engine.begin() as connection:
        command.downgrade(schema.migration_config(connection), "0002")
    engine.dispose()
    schema.upgrade(empty_url)
    schema.check(empty_url)
    store = SqlStore(empty_url)
    with store.reading() as reader:
        assert reader.counts("default") == (1, 1)
        assert reader.videos("default") == ()
    store.close()
