"""When is this person seen? Search of indexed videos by an enrolled person, without decoding them again.

It indexes nothing: see ``video_index``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from facesearch.core.decision import OperatingPoint, stricter
from facesearch.core.errors import IncompatibleTemplatesError, InputError, UnknownVideoError, VideoDecodeError
from facesearch.core.fusion import Fusion, fused_score
from facesearch.core.identity import EnrolledTemplate, Identity, checked_label
from facesearch.core.protocols import IdentityStore, StoreReader
from facesearch.core.records import PointKind, SavedPoint
from facesearch.core.template import require_same_embedder
from facesearch.core.video import NewTrack, Video, VideoFindings, VideoTrack, frame_digest, sightings
from facesearch.service.feedback import Objections, objections
from facesearch.service.gallery import collection_or_none
from facesearch.service.identify import Identify
from facesearch.service.who import Who, person_of

SIGHTING_GAP_S = 2.0
"""Seconds between two stretches of a person that are still told as one: a turned head or somebody walking past, no other scene."""

VideoName = str | os.PathLike[str] | int
"""A video by its file or by its id."""


@dataclass(frozen=True, slots=True)
class VideoSearchOptions:
    """How videos are searched.

    Attributes:
        fpir: Share of searches, for people who are in none of the videos, that may find somebody; None for the setting.
        fmr: Decide at a false match rate a comparison instead.
        saved: Decide at a point that somebody measured instead.
        gap_s: Stretches with at most so many seconds between them are told as one, at least 0.
    """

    fpir: float | None = None
    fmr: float | None = None
    saved: SavedPoint | None = None
    gap_s: float = SIGHTING_GAP_S


@dataclass(frozen=True, slots=True)
class _Person:
    """Whom to look for: the templates of the embedder in use, and what feedback says."""

    identity: Identity
    templates: tuple[EnrolledTemplate, ...]
    said: Objections

    @property
    def floor(self) -> float | None:
        return self.said.floor(self.identity.identity_id)

    def is_rejected(self, video_digest: str, track: NewTrack) -> bool:
        """Whether somebody said of the track's face, in its best frame or one of that template, that it is not this person's."""
        digest = frame_digest(video_digest, track.best_s)
        return self.identity.identity_id in self.said.rejected_at(digest, track.detection.box, track.template)


class VideoSearch:
    """Searches, lists and removes indexed videos.

    A person's templates as enrolled now are compared with the template of every track. A person who is in none of ``n`` tracks is
    found wrongly when any of them reaches the threshold, so it is that of ``FPIR / n`` (union bound, as for a search in a gallery
    of ``n`` people), with every comparison counted as the fusion rule counts it.

    Args:
        store: Where videos and people are.
        identify: Knows the operating points.
        fusion: How several templates of a person become one score.
        digest_of: Returns the SHA-256 of a video file; raises ``VideoDecodeError`` where it cannot be read.
        embedder_id: The embedder in use.
        default_collection: May be missing: then nobody is enrolled yet.
    """

    def __init__(
        self,
        store: IdentityStore,
        identify: Identify,
        *,
        fusion: Fusion,
        digest_of: Callable[[str | os.PathLike[str]], str],
        embedder_id: str,
        default_collection: str,
    ) -> None:
        self._store = store
        self._identify = identify
        self._fusion = fusion
        self._digest_of = digest_of
        self._embedder_id = embedder_id
        self._default = default_collection

    def videos(self, collection: str) -> tuple[Video, ...]:
        """Return the indexed videos of a collection by id.

        Raises:
            UnknownCollectionError: There is no such collection.
        """
        with self._store.reading() as reader:
            collection_or_none(reader, collection, default=self._default)
            return reader.videos(collection)

    def tracks(self, video: VideoName, *, collection: str) -> tuple[Video, tuple[VideoTrack, ...]]:
        """Return a video with its tracks by time.

        Raises:
            UnknownVideoError: It is not indexed in this collection.
        """
        digest = self._digest(video)
        with self._store.reading() as reader:
            found = self._video(reader, video, digest, collection)
            return found, reader.video_tracks(found.video_id)

    def remove(self, video: VideoName, *, collection: str) -> Video:
        """Delete what is kept of a video, templates included; its file is not touched. People enrolled from it stay.

        Raises:
            UnknownVideoError: It is not indexed in this collection.
        """
        digest = self._digest(video)
        with self._store.writing() as writer:
            found = self._video(writer, video, digest, collection)
            writer.remove_video(found.video_id)
        self._store.scrub()
        return found

    def find(
        self,
        label: str,
        videos: Sequence[VideoName] = (),
        options: VideoSearchOptions = VideoSearchOptions(),
        *,
        collection: str,
    ) -> tuple[VideoFindings, ...]:
        """Return when a person is seen in each video, in the order asked for.

        Args:
            label: The person.
            videos: Which; none at all means every one of the collection that was indexed with the embedder in use.
            options: How it is decided and told.
            collection: The person's collection and the videos'.

        Raises:
            UnknownIdentityError: The label is not enrolled.
            UnknownVideoError: A video is not indexed in this collection.
            IncompatibleTemplatesError: The person, or a video that was named, is of another embedder.
        """
        self._require_one_rate(options)
        digests = [self._digest(one) for one in videos]
        with self._store.reading() as reader:
            person = self._person(reader, label, collection)
            chosen = [self._video(reader, one, digest, collection) for one, digest in zip(videos, digests, strict=True)]
            for one in chosen:
                self._require_own(one)
            if not videos:
                chosen = [one for one in reader.videos(collection) if one.about.embedder_id == self._embedder_id]
            found = [(one, reader.video_tracks(one.video_id)) for one in chosen]
        n_tracks = sum(len(tracks) for _, tracks in found)
        point, asked = self._point(options, n_tracks * self._fusion.n_comparisons([len(person.templates)]))
        return tuple(self._findings(person, video, tracks, (point, asked, options.gap_s)) for video, tracks in found)

    def n_tracks_of(self, label: Who, *, collection: str) -> int:
        """Return how many tracks were decided to be a person when their videos were indexed.

        Raises:
            UnknownIdentityError: The label is not enrolled.
        """
        with self._store.reading() as reader:
            return reader.n_tracks_of(person_of(reader, collection, label).identity_id)

    def forget(self, label: Who, *, collection: str) -> int:
        """Delete the tracks of a person from every video: those decided to be the person, and those found now. Return how many.

        Found is what a search of the track's video alone finds at the rate of the settings, whatever feedback says: too many rather
        than too few go. Tracks of other embedders are compared with nothing; of them only those decided to be the person go.

        Raises:
            UnknownIdentityError: The label is not enrolled.
        """
        with self._store.writing() as writer:
            identity = person_of(writer, collection, label)
            own = [one for one in writer.templates_of(identity.identity_id) if one.template.embedder_id == self._embedder_id]
            person = _Person(identity, tuple(own), Objections())
            gone: set[int] = set()
            for video in writer.videos(collection):
                tracks = writer.video_tracks(video.video_id)
                gone |= {one.track_id for one in tracks if one.track.identity_id == identity.identity_id}
                if own and tracks and video.about.embedder_id == self._embedder_id:
                    point, _ = self._point(VideoSearchOptions(), len(tracks) * self._fusion.n_comparisons([len(own)]))
                    gone |= {one.track_id for one in tracks if self._score(person, one) >= point.threshold}
            writer.remove_tracks(gone)
        return len(gone)

    def _findings(
        self, person: _Person, video: Video, tracks: Sequence[VideoTrack], decided: tuple[OperatingPoint, float | None, float]
    ) -> VideoFindings:
        point, asked, gap_s = decided
        threshold = stricter(point.threshold, person.floor)
        digest = video.about.info.digest
        scored = [(self._score(person, one), one) for one in tracks if not person.is_rejected(digest, one.track)]
        return VideoFindings(
            video=video,
            label=person.identity.label,
            sightings=sightings([pair for pair in scored if pair[0] >= threshold], gap_s=gap_s),
            operating_point=point,
            fpir=asked,
            threshold=threshold,
            n_tracks=len(tracks),
            best_score=max((score for score, _ in scored), default=None),
        )

    def _score(self, person: _Person, track: VideoTrack) -> float:
        return fused_score(track.track.template, person.templates, self._fusion)

    def _person(self, reader: StoreReader, label: str, collection: str) -> _Person:
        identity = reader.identity(collection, checked_label(label))
        enrolled = reader.templates_of(identity.identity_id)
        own = tuple(one for one in enrolled if one.template.embedder_id == self._embedder_id)
        if not own:
            others = ", ".join(sorted({one.template.embedder_id for one in enrolled})) or "no embedder at all"
            raise IncompatibleTemplatesError(
                f"{identity.label!r} was enrolled with {others}, videos are searched with {self._embedder_id}: "
                "enroll a photograph of the person again (facesearch enroll)",
                embedder_id=self._embedder_id,
            )
        return _Person(identity, own, objections(reader, collection, self._embedder_id))

    def _require_own(self, video: Video) -> None:
        try:
            require_same_embedder(self._embedder_id, video.about.embedder_id, what=f"video {video.video_id}")
        except IncompatibleTemplatesError as exc:
            raise IncompatibleTemplatesError(
                f"{video.about.info.source} was indexed with {video.about.embedder_id}, in use is {self._embedder_id}: "
                "index it with this embedder too (facesearch index-video)",
                **exc.context,
            ) from exc

    def _digest(self, video: VideoName) -> str | None:
        """Return the digest of a video's file; None for an id, and for a file that is gone or no video any more."""
        if isinstance(video, int):
            return None
        try:
            return self._digest_of(video)
        except VideoDecodeError:
            return None

    def _video(self, reader: StoreReader, video: VideoName, digest: str | None, collection: str) -> Video:
        """Return a video by id, by what its file holds, or by the name that its file had when it is gone."""
        there = collection_or_none(reader, collection, default=self._default)
        known = reader.videos(collection) if there is not None else ()
        if isinstance(video, int):
            found = [one for one in known if one.video_id == video]
        elif digest is not None:
            found = [one for one in known if one.about.info.digest == digest]
        else:
            found = [one for one in known if one.about.info.source == os.path.abspath(video)]  # noqa: PTH100 - no links followed
        own = [one for one in found if one.about.embedder_id == self._embedder_id] or found
        if own:
            return own[-1]
        name = f"video {video}" if isinstance(video, int) else os.fspath(video)
        advice = "facesearch videos list shows what there is" if isinstance(video, int) else f"facesearch index-video {name}"
        raise UnknownVideoError(f"{name} is not indexed in collection {collection!r}: {advice}", video=name)

    def _require_one_rate(self, options: VideoSearchOptions) -> None:
        if options.saved is not None and (options.fpir is not None or options.fmr is not None):
            raise InputError(f"give the operating point {options.saved.name!r} or a rate, not both")
        self._identify.rate(options.fpir, options.fmr)

    def _point(self, options: VideoSearchOptions, n_comparisons: int) -> tuple[OperatingPoint, float | None]:
        """Return what is decided at, and the FPIR asked for."""
        saved = options.saved
        if saved is not None:
            point = saved.decision_point(n_comparisons, fusion=self._fusion)
            return point, saved.rate if saved.kind is PointKind.FPIR else None
        asked, _ = self._identify.rate(options.fpir, options.fmr)
        return self._identify.operating_point(options.fpir, options.fmr, n_comparisons), asked
