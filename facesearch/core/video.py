"""Videos: frames with the time they are shown at, faces followed through them, and when a person is seen.

It reads no file and follows no face: see ``facesearch.imaging.video`` and ``facesearch.service.tracking``.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Protocol

from facesearch.core.decision import OperatingPoint
from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.image import Image
from facesearch.core.template import Template

DEFAULT_SAMPLE_RATE = 5.0
"""Frames looked at a second of video: a face that crosses the picture in a second is seen five times, its boxes overlapping."""

MAX_SAMPLE_RATE = 1000.0


def checked_sample_rate(rate: float) -> float:
    """Return a number of frames a second of video.

    Raises:
        InputError: Not in (0, ``MAX_SAMPLE_RATE``].
    """
    value = float(rate)
    if not 0.0 < value <= MAX_SAMPLE_RATE:  # NaN too
        raise InputError(f"the frames looked at a second lie above 0 and at most at {MAX_SAMPLE_RATE:g}, not at {rate}")
    return value


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of a video, both ends included.

    Attributes:
        start_s: Seconds from the video's beginning, at least 0.
        end_s: Likewise, not before ``start_s``.
    """

    start_s: float
    end_s: float

    def __post_init__(self) -> None:
        """Check the order."""
        if not (math.isfinite(self.end_s) and 0.0 <= self.start_s <= self.end_s):
            raise InputError(f"an interval lies between 0 ≤ start ≤ end, not {self.start_s} and {self.end_s}")

    @property
    def duration_s(self) -> float:
        """Seconds from start to end; 0 for a face seen in one sampled frame."""
        return self.end_s - self.start_s


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """What a video's container says of it.

    Attributes:
        source: The file, as an absolute path.
        digest: SHA-256 of the file.
        width: Of the upright frames, in pixels.
        height: Likewise.
        fps: Frames a second on average; 0 where the container does not say.
        n_frames: Frames promised; 0 where it does not say.
    """

    source: str
    digest: str
    width: int
    height: int
    fps: float
    n_frames: int

    @property
    def duration_s(self) -> float:
        """Seconds promised; 0 where the container does not say."""
        return self.n_frames / self.fps if self.fps > 0 else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class VideoFrame:
    """One frame of a video.

    Attributes:
        time_s: When it is shown, in seconds from the first frame.
        image: Upright, RGB. Its digest is that of the file's digest and the frame's time: the same for the same frame.
    """

    time_s: float
    image: Image


def frame_digest(video_digest: str, time_s: float) -> str:
    """Return the digest of a video's frame, made of the file's and the time: hashing its pixels would take as long as decoding."""
    return hashlib.sha256(f"{video_digest}@{round(time_s * 1e6)}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class VideoReading:
    """What could be read of a video.

    Attributes:
        n_frames: Frames read.
        n_sampled: Frames looked at.
        end_s: When the last frame read is shown, in seconds from the first.
        is_cut: Whether the file ends, or stops being readable, before what its container promises.
    """

    n_frames: int
    n_sampled: int
    end_s: float
    is_cut: bool


class VideoReader(Protocol):
    """An open video. Used by one thread at a time."""

    @property
    def info(self) -> VideoInfo:
        """What its container says of it."""
        ...

    def frames(self, sample_rate: float) -> Iterator[VideoFrame]:
        """Yield the frames to look at, by rising time; can be asked for once.

        Raises:
            VideoDecodeError: Not one frame can be read.
        """
        ...

    @property
    def reading(self) -> VideoReading:
        """What was read so far."""
        ...

    def close(self) -> None:
        """Release the file. Idempotent."""
        ...


@dataclass(frozen=True, slots=True)
class NewVideo:
    """A video about to be stored.

    Attributes:
        info: What its container says.
        reading: What was read of it.
        sample_rate: Frames looked at a second.
        min_face_px: Smallest face looked for.
        embedder_id: Of every template of its tracks.
        indexed_at: UTC.
    """

    info: VideoInfo
    reading: VideoReading
    sample_rate: float
    min_face_px: int
    embedder_id: str
    indexed_at: datetime


@dataclass(frozen=True, slots=True)
class Video:
    """An indexed video.

    Attributes:
        video_id: Never reused.
        collection: Name of the collection it was searched in.
        about: Everything else.
        n_tracks: Faces followed through it.
    """

    video_id: int
    collection: str
    about: NewVideo
    n_tracks: int


@dataclass(frozen=True, slots=True, eq=False)
class NewTrack:
    """A face followed through a video, about to be stored.

    Attributes:
        interval: From the first to the last frame it was seen in.
        n_faces: Frames looked at that it was seen in.
        best_s: When its best face is shown.
        detection: That face, in pixels of the upright frame.
        quality: That face's figures by name.
        template: Fused from its best faces.
        identity_id: Who it was decided to be, or None for unknown.
        score: Of the most similar person, in [-1, 1]; None where nobody was enrolled.
    """

    interval: Interval
    n_faces: int
    best_s: float
    detection: Detection
    template: Template
    quality: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    identity_id: int | None = None
    score: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class VideoTrack:
    """A face followed through an indexed video.

    Attributes:
        track_id: Never reused.
        video_id: The video.
        label: Who it was decided to be when the video was indexed, by the person's label now; None for unknown.
        track: Everything else.
    """

    track_id: int
    video_id: int
    label: str | None
    track: NewTrack


@dataclass(frozen=True, slots=True, eq=False)
class Sighting:
    """A stretch of a video in which a person is seen.

    Attributes:
        interval: From the first to the last frame.
        best_s: When the face of the highest score is shown best.
        detection: That face.
        score: Its track's score against the person, the highest of the stretch.
        tracks: Ids of the tracks it is made of, by time.
        n_faces: Frames looked at that the person was seen in, in all tracks.
    """

    interval: Interval
    best_s: float
    detection: Detection
    score: float
    tracks: tuple[int, ...]
    n_faces: int


@dataclass(frozen=True, slots=True, eq=False)
class VideoFindings:
    """When a person is seen in a video.

    Attributes:
        video: The video.
        label: The person.
        sightings: By time; empty where the person was not found.
        operating_point: What it was decided at.
        fpir: Share of such searches, for people who are not in the video, that may find somebody; None where an FMR was asked for.
        threshold: Score that a track had to reach: the operating point's, or a stricter one where feedback asks for it.
        n_tracks: Tracks compared.
        best_score: The highest score of a track that feedback does not rule out; None where there is none.
    """

    video: Video
    label: str
    sightings: tuple[Sighting, ...]
    operating_point: OperatingPoint
    fpir: float | None
    threshold: float
    n_tracks: int
    best_score: float | None

    @property
    def seen_s(self) -> float:
        """Seconds of all sightings together."""
        return sum(one.interval.duration_s for one in self.sightings)


def sightings(found: Iterable[tuple[float, VideoTrack]], *, gap_s: float) -> tuple[Sighting, ...]:
    """Return the stretches that tracks of one person make up, by time.

    Args:
        found: Each track with its score.
        gap_s: Stretches with at most so many seconds between them become one, at least 0.

    Raises:
        InputError: ``gap_s`` is negative or no number.
    """
    if not gap_s >= 0.0:  # NaN too
        raise InputError(f"the gap between two stretches is at least 0 seconds, not {gap_s}")
    groups: list[list[tuple[float, VideoTrack]]] = []
    reach = -math.inf
    for score, one in sorted(found, key=lambda pair: (pair[1].track.interval.start_s, pair[1].track_id)):
        if one.track.interval.start_s - reach > gap_s:
            groups.append([])
        groups[-1].append((score, one))
        reach = max(reach, one.track.interval.end_s)
    return tuple(_sighting(group) for group in groups)


def _sighting(group: Sequence[tuple[float, VideoTrack]]) -> Sighting:
    score, best = max(group, key=lambda pair: pair[0])
    return Sighting(
        interval=Interval(min(one.track.interval.start_s for _, one in group), max(one.track.interval.end_s for _, one in group)),
        best_s=best.track.best_s,
        detection=best.track.detection,
        score=score,
        tracks=tuple(one.track_id for _, one in group),
        n_faces=sum(one.track.n_faces for _, one in group),
    )


class VideosReader(Protocol):
    """What can be asked of the store about videos."""

    def videos(self, collection: str) -> tuple[Video, ...]:
        """Return the videos of a collection by id; none where there is no such collection."""
        ...

    def video(self, video_id: int) -> Video:
        """Return a video.

        Raises:
            UnknownVideoError: There is no such video.
        """
        ...

    def video_tracks(self, video_id: int) -> tuple[VideoTrack, ...]:
        """Return a video's tracks by time.

        Raises:
            TemplateFormatError: A stored vector is damaged.
        """
        ...

    def n_tracks_of(self, identity_id: int) -> int:
        """Return how many tracks were decided to be a person."""
        ...


class VideosWriter(Protocol):
    """What can be changed about videos."""

    def add_video(self, collection: str, video: NewVideo, tracks: Iterable[NewTrack]) -> Video:
        """Store a video with its tracks; the collection must exist."""
        ...

    def remove_video(self, video_id: int) -> Video:
        """Delete a video with its tracks and return it.

        Raises:
            UnknownVideoError: There is no such video.
        """
        ...

    def remove_tracks(self, track_ids: Iterable[int]) -> None:
        """Delete tracks; those that do not exist are passed over."""
        ...
