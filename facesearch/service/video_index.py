"""Indexing a video: its faces followed, embedded, searched in the gallery, and kept with their times.

It answers no question about an indexed video: see ``video_search``.
"""

from __future__ import annotations

import math
import os
import re
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from facesearch.core.decision import Identification, OperatingPoint, OperatingPoints
from facesearch.core.errors import InputError, VideoIndexedError
from facesearch.core.identity import Keep, NewFace, Provenance, checked_label
from facesearch.core.protocols import IdentityStore, StoreReader, StoreWriter
from facesearch.core.quality import QualityGate
from facesearch.core.records import SavedPoint
from facesearch.core.video import (
    DEFAULT_SAMPLE_RATE,
    NewTrack,
    NewVideo,
    Video,
    VideoReader,
    VideoTrack,
    checked_sample_rate,
)
from facesearch.service.found_face import FaceRecord
from facesearch.service.gallery import collection_or_none
from facesearch.service.identify import Identify
from facesearch.service.pipeline import PictureMaker
from facesearch.service.tracking import APART_FMR, GAP_S, FaceTrack, Tracker, TrackingRules, same_people
from facesearch.service.video_frames import FaceFinder, PictureOf

DEFAULT_VIDEO_MIN_FACE_PX = 40
"""Smallest face looked for in a video: smaller ones are rarely good enough to name anybody, and cost four times the detector's work
at half the size."""

MIN_ENROLLED_FACES = 3
"""Frames in which an unknown face must have been seen to be enrolled: a glimpse, or a pattern taken for a face, is no person."""

UNKNOWN_FPIR = 1e-2
"""Rate at which an unknown track may wrongly join an unknown person of the same video; never looser than FMR ``APART_FMR``. Two
people under one label cannot be taken apart as easily as one person under two labels is merged."""

UNKNOWN_TAG = "unknown"
_UNKNOWN_LABEL = re.compile(r"unknown-([1-9]\d{0,17})")

VideoOpener = Callable[[str | os.PathLike[str]], AbstractContextManager[VideoReader]]
"""Opens a video file."""

VideoProgress = Callable[[float, float], None]
"""Told how many seconds of a video are done, and how many there are (0: not known)."""


@dataclass(frozen=True, slots=True)
class VideoOptions:
    """How a video is indexed.

    Attributes:
        sample_rate: Frames looked at a second of video.
        min_face_px: Smallest face looked for, side of its box.
        gap_s: Seconds for which a face may be missed and still go on as the same track.
        fpir: Share of tracks of people not enrolled that may be taken for somebody; None for the setting.
        fmr: Decide at a false match rate a comparison instead.
        saved: Decide at a point that somebody measured instead.
        enroll_unknown: Enroll the people whom the gallery does not know, as ``unknown-1``, ``unknown-2``, …
        quality_gate: How usable the best face of an unknown must be to be enrolled.
        keep: Which picture is kept beside an unknown's template.
        again: Index a video anew that is indexed already; what was kept of it is replaced.
    """

    sample_rate: float = DEFAULT_SAMPLE_RATE
    min_face_px: int = DEFAULT_VIDEO_MIN_FACE_PX
    gap_s: float = GAP_S
    fpir: float | None = None
    fmr: float | None = None
    saved: SavedPoint | None = None
    enroll_unknown: bool = False
    quality_gate: QualityGate = QualityGate.STANDARD
    keep: Keep = Keep.NONE
    again: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class IndexedVideo:
    """What indexing a video gave.

    Attributes:
        video: The video as stored.
        tracks: Its tracks by time, with who each was decided to be.
        operating_point: What that was decided at; None where no face was found.
        fpir: The rate asked for; None where an FMR was asked for or no face was found.
        n_templates: Templates searched.
        n_recognised: Tracks of people who were enrolled before; those enrolled as unknown by this run are not among them.
        enrolled: Labels made for unknown people, in the order of their appearance.
        n_not_enrolled: Unknown tracks too short or too poor to be enrolled; 0 where none was to be.
        n_unaligned: Faces in frames left out because their landmarks cannot be aligned.
        seconds: Time taken.
    """

    video: Video
    tracks: tuple[VideoTrack, ...]
    operating_point: OperatingPoint | None
    fpir: float | None
    n_templates: int
    n_recognised: int
    enrolled: tuple[str, ...]
    n_not_enrolled: int
    n_unaligned: int
    seconds: float

    @property
    def speed(self) -> float:
        """Seconds of video a second of work: 4 is four times as fast as it is played."""
        return self.video.about.reading.end_s / self.seconds if self.seconds > 0 else 0.0


class IndexVideo:
    """Indexes videos.

    Everything is kept in one transaction at the end: an interrupted run leaves nothing behind.

    Args:
        store: Where tracks, and unknown people, go.
        identify: Says who somebody is.
        points: The embedder's operating points.
        finder_of: Returns what finds faces of at least so many pixels.
        open_video: Opens the file.
        make_picture: Makes what is kept of an unknown's face.
        embedder_id: The embedder in use.
        default_collection: May be missing: then nobody is enrolled yet.
    """

    def __init__(
        self,
        store: IdentityStore,
        identify: Identify,
        points: OperatingPoints,
        *,
        finder_of: Callable[[int], FaceFinder],
        open_video: VideoOpener,
        make_picture: PictureMaker,
        embedder_id: str,
        default_collection: str,
    ) -> None:
        self._store = store
        self._identify = identify
        self._points = points
        self._finder_of = finder_of
        self._open = open_video
        self._make_picture = make_picture
        self._embedder_id = embedder_id
        self._default = default_collection

    def __call__(
        self,
        path: str | os.PathLike[str],
        options: VideoOptions = VideoOptions(),
        *,
        collection: str,
        on_progress: VideoProgress | None = None,
    ) -> IndexedVideo:
        """Index a video.

        Args:
            path: The file.
            options: How.
            collection: Whom to search.
            on_progress: Told how far the work is after every frame.

        Raises:
            VideoDecodeError: It is no video, or has no frame that can be read.
            VideoIndexedError: The video is indexed already, and ``options.again`` is not set.
            UnknownCollectionError: There is no such collection.
        """
        started = time.perf_counter()
        name = checked_label(collection, what="collection name")
        checked_sample_rate(options.sample_rate)
        rules = TrackingRules.of(self._points, gap_s=checked_gap(options.gap_s))
        self._identify.rate(options.fpir, options.fmr)
        with self._open(path) as video:
            with self._store.reading() as reader:
                collection_or_none(reader, name, default=self._default)
                self._require_new(reader, name, video.info.digest, again=options.again)
            tracks, n_unaligned = self._follow(video, options, rules, on_progress)
            about = NewVideo(
                video.info, video.reading, options.sample_rate, options.min_face_px, self._embedder_id, datetime.now(UTC)
            )
        decided = self._decide(tracks, name, options)
        with self._store.writing() as writer:
            writer.ensure_collection(name)
            for one in self._require_new(writer, name, about.info.digest, again=options.again):
                writer.remove_video(one.video_id)
            known = _known(writer, decided)
            result = _Enrolled(known)
            if options.enroll_unknown:
                result = self._enroll_unknown(writer, name, tracks, known, options.quality_gate)
            kept = [_new_track(*one) for one in zip(tracks, decided, result.owners, strict=True)]
            stored = writer.add_video(name, about, kept)
            found = writer.video_tracks(stored.video_id)
        return IndexedVideo(
            video=stored,
            tracks=found,
            operating_point=decided[0].operating_point if decided else None,
            fpir=decided[0].fpir if decided else None,
            n_templates=decided[0].n_templates if decided else 0,
            n_recognised=sum(person is not None for person in known),
            enrolled=result.labels,
            n_not_enrolled=result.n_left,
            n_unaligned=n_unaligned,
            seconds=time.perf_counter() - started,
        )

    def _require_new(self, reader: StoreReader, collection: str, digest: str, *, again: bool) -> tuple[Video, ...]:
        """Return what is indexed of a video already.

        Raises:
            VideoIndexedError: Something is, and ``again`` is not set.
        """
        found = tuple(
            one
            for one in reader.videos(collection)
            if one.about.info.digest == digest and one.about.embedder_id == self._embedder_id
        )
        if found and not again:
            raise VideoIndexedError(
                f"{found[0].about.info.source} is indexed already, as video {found[0].video_id} of collection {collection!r}: "
                "search it (facesearch find-in-video), or index it again (--again)",
                video_id=found[0].video_id,
            )
        return found

    def _follow(
        self, video: VideoReader, options: VideoOptions, rules: TrackingRules, on_progress: VideoProgress | None
    ) -> tuple[tuple[FaceTrack, ...], int]:
        tracker = Tracker(rules)
        n_unaligned = 0
        total_s = video.info.duration_s
        frames = video.frames(options.sample_rate)
        stream = self._finder_of(options.min_face_px).stream(frames, picture_of=self._picture_of(options))
        with closing(stream) as found:  # Ctrl-C and errors leave no thread behind
            for one in found:
                tracker.step(one.time_s, one.faces)
                n_unaligned += one.n_unaligned
                if on_progress is not None:
                    on_progress(one.time_s, total_s)
        return tracker.finish(), n_unaligned

    def _picture_of(self, options: VideoOptions) -> PictureOf | None:
        if not options.enroll_unknown or options.keep is Keep.NONE:
            return None
        # A frame is no file of its own: "photo" keeps its pixels.
        return lambda image, detection: self._make_picture(options.keep, image, image, detection)

    def _decide(self, tracks: Sequence[FaceTrack], collection: str, options: VideoOptions) -> tuple[Identification, ...]:
        if not tracks:
            return ()
        faces = [_probe(track) for track in tracks]
        return self._identify(faces, 1, collection=collection, fpir=options.fpir, fmr=options.fmr, saved=options.saved)

    def _enroll_unknown(
        self, writer: StoreWriter, collection: str, tracks: Sequence[FaceTrack], known: Sequence[int | None], gate: QualityGate
    ) -> _Enrolled:
        """Enroll the people nobody knows, one person for tracks that are alike; the tracks' people with them."""
        unknown = [place for place, person in enumerate(known) if person is None]
        usable = [place for place in unknown if _is_usable(tracks[place], gate)]
        point = self._points.at_fmr(min(APART_FMR, UNKNOWN_FPIR / max(1, len(usable))))
        numbers = same_people([tracks[place].template for place in usable], score=point.threshold)
        first = 1 + _last_unknown(writer, collection)
        people = [
            writer.add_identity(collection, f"{UNKNOWN_TAG}-{first + number}", (UNKNOWN_TAG,))
            for number in range(len(set(numbers)))
        ]
        owners = list(known)
        for place, number in zip(usable, numbers, strict=True):
            owners[place] = people[number].identity_id
            writer.add_face(people[number].identity_id, _new_face(tracks[place]))
        return _Enrolled(tuple(owners), tuple(person.label for person in people), len(unknown) - len(usable))


@dataclass(frozen=True, slots=True)
class _Enrolled:
    """Whose each track is (None: unknown), the labels made, and how many unknown tracks were not enrolled."""

    owners: tuple[int | None, ...]
    labels: tuple[str, ...] = ()
    n_left: int = 0


def checked_gap(gap_s: float) -> float:
    """Return a gap in seconds.

    Raises:
        InputError: Not above 0, or no finite number.
    """
    value = float(gap_s)
    if not (math.isfinite(value) and value > 0.0):
        raise InputError(f"a gap is a number of seconds above 0, not {gap_s}")
    return value


def _probe(track: FaceTrack) -> FaceRecord:
    return replace(track.best.record, template=track.template)


def _known(reader: StoreReader, decided: Sequence[Identification]) -> tuple[int | None, ...]:
    """Return who was recognised in each track; a person removed since is nobody."""
    matches = [one.match.identity_id if one.match is not None else None for one in decided]
    there = reader.identities_by_id({person for person in matches if person is not None})
    return tuple(person if person in there else None for person in matches)


def _is_usable(track: FaceTrack, gate: QualityGate) -> bool:
    quality = track.best.record.quality
    return track.n_faces >= MIN_ENROLLED_FACES and (quality is None or not quality.shortfalls(gate))


def _last_unknown(reader: StoreReader, collection: str) -> int:
    """Return the highest number among labels ``unknown-<number>``, 0 where there is none."""
    labels = [one.label for one in reader.identities(collection, contains=f"{UNKNOWN_TAG}-")]
    return max((int(found[1]) for found in map(_UNKNOWN_LABEL.fullmatch, labels) if found is not None), default=0)


def _quality_figures(track: FaceTrack) -> dict[str, float]:
    best = track.best.record
    figures = best.quality.figures() if best.quality is not None else {}
    return {**figures, "face_px": round(min(best.detection.width, best.detection.height), 1)}


def _new_face(track: FaceTrack) -> NewFace:
    """Return what is enrolled of an unknown person: the track's template, with its best face as where it comes from."""
    best = track.best.record
    provenance = Provenance(best.image.digest, best.image.source, best.detection, datetime.now(UTC), _quality_figures(track))
    return NewFace(track.template, provenance, track.best.picture)


def _new_track(track: FaceTrack, decided: Identification, identity_id: int | None) -> NewTrack:
    return NewTrack(
        interval=track.interval,
        n_faces=track.n_faces,
        best_s=track.best_s,
        detection=track.best.detection,
        template=track.template,
        quality=_quality_figures(track),
        identity_id=identity_id,
        score=decided.candidates[0].score if decided.candidates else None,
    )
