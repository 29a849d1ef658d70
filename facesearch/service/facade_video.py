"""The part of the library's face about videos.

It only passes on, like ``facade``.
"""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass

from facesearch.core.errors import InputError
from facesearch.core.identity import Keep
from facesearch.core.quality import QualityGate, checked_gate
from facesearch.core.records import SavedPoint
from facesearch.core.video import DEFAULT_SAMPLE_RATE, Video, VideoFindings, VideoTrack
from facesearch.service.facade_enroll import Enrolment
from facesearch.service.pipeline import FacePipeline
from facesearch.service.tracking import GAP_S
from facesearch.service.video_index import IndexedVideo, IndexVideo, VideoOptions, VideoProgress
from facesearch.service.video_search import SIGHTING_GAP_S, VideoName, VideoSearch, VideoSearchOptions


@dataclass(frozen=True, slots=True)
class Videos:
    """The use cases about videos, and what the settings say of them."""

    index: IndexVideo
    search: VideoSearch
    min_face_px: int
    quality_gate: QualityGate


class VideoFacade:
    """Videos of a ``FaceSearch``."""

    @abstractmethod
    def _videos(self, collection: str) -> Videos:
        """Return the use cases of a collection's embedder."""

    @abstractmethod
    def _enrolment(self, collection: str | None) -> tuple[Enrolment, FacePipeline]:
        """Return the use cases of enrolment, and what finds faces."""

    @abstractmethod
    def _collection(self, name: str | None) -> str:
        """Return the name of a collection, that of the settings for None."""

    @abstractmethod
    def _saved(self, name: str | None, collection: str | None = None) -> SavedPoint | None:
        """Return a saved operating point of a collection's embedder, None for None."""

    def index_video(
        self,
        path: str | os.PathLike[str],
        *,
        collection: str | None = None,
        sample_rate: float = DEFAULT_SAMPLE_RATE,
        min_face_px: int | None = None,
        gap_s: float = GAP_S,
        fpir: float | None = None,
        fmr: float | None = None,
        operating_point: str | None = None,
        enroll_unknown: bool = False,
        quality_gate: QualityGate | str | None = None,
        keep: Keep | str | None = None,
        again: bool = False,
        on_progress: VideoProgress | None = None,
    ) -> IndexedVideo:
        """Follow the faces of a video, say who they are, and keep them for ``find_in_video``.

        Args:
            path: The file.
            collection: Whom to search.
            sample_rate: Frames looked at a second of video.
            min_face_px: Smallest face looked for, side of its box; None for the setting ``video_min_face_px``.
            gap_s: Seconds for which a face may be missed and still go on as the same track.
            fpir: Share of tracks of people not enrolled that may be taken for somebody; None for the setting.
            fmr: Decide at a false match rate a comparison instead.
            operating_point: Name of a saved operating point to decide at instead.
            enroll_unknown: Enroll the people whom the gallery does not know as ``unknown-1``, ``unknown-2``, …
            quality_gate: How usable the best face of an unknown must be; None for the setting.
            keep: Which picture is kept beside an unknown's template; None for the setting.
            again: Index a video anew that is indexed already.
            on_progress: Told the seconds done and the seconds there are (0: not known) after every frame.

        Raises:
            VideoDecodeError: It is no video, or has no frame that can be read.
            VideoIndexedError: The video is indexed already.
        """
        where = self._collection(collection)
        videos = self._videos(where)
        enrolment, _ = self._enrolment(where)
        gate = checked_gate(quality_gate)
        options = VideoOptions(
            sample_rate=sample_rate,
            min_face_px=videos.min_face_px if min_face_px is None else min_face_px,
            gap_s=gap_s,
            fpir=fpir,
            fmr=fmr,
            saved=self._saved(operating_point, where),
            enroll_unknown=enroll_unknown,
            quality_gate=videos.quality_gate if gate is None else gate,
            keep=enrolment.checked_keep(keep),
            again=again,
        )
        return videos.index(path, options, collection=where, on_progress=on_progress)

    def find_in_video(
        self,
        label: str,
        *videos: VideoName,
        collection: str | None = None,
        fpir: float | None = None,
        fmr: float | None = None,
        operating_point: str | None = None,
        gap_s: float = SIGHTING_GAP_S,
    ) -> tuple[VideoFindings, ...]:
        """Say when an enrolled person is seen in indexed videos, one answer a video.

        Args:
            label: The person.
            videos: Files or ids; none at all means every indexed one of the collection.
            collection: The person's and the videos'.
            fpir: Share of searches, for people who are in none of these videos, that may find somebody; None for the setting.
            fmr: Decide at a false match rate a comparison instead.
            operating_point: Name of a saved operating point to decide at instead.
            gap_s: Stretches with at most so many seconds between them are told as one.

        Raises:
            UnknownIdentityError: The label is not enrolled.
            UnknownVideoError: A video is not indexed.
        """
        where = self._collection(collection)
        options = VideoSearchOptions(fpir, fmr, self._saved(operating_point, where), gap_s)
        return self._videos(where).search.find(label, videos, options, collection=where)

    def videos(self, *, collection: str | None = None) -> tuple[Video, ...]:
        """Return the indexed videos of a collection by id."""
        where = self._collection(collection)
        return self._videos(where).search.videos(where)

    def video_tracks(self, video: VideoName, *, collection: str | None = None) -> tuple[Video, tuple[VideoTrack, ...]]:
        """Return an indexed video, by file or id, with its tracks by time.

        Raises:
            UnknownVideoError: It is not indexed.
        """
        where = self._collection(collection)
        return self._videos(where).search.tracks(video, collection=where)

    def remove_video(self, video: VideoName, *, collection: str | None = None) -> Video:
        """Delete what is kept of a video; its file, and people enrolled from it, stay.

        Raises:
            UnknownVideoError: It is not indexed.
        """
        where = self._collection(collection)
        return self._videos(where).search.remove(video, collection=where)


def checked_video_name(text: str, *, is_there: bool) -> VideoName:
    """Return a video as somebody typed it: a number that names no file is an id.

    Raises:
        InputError: An empty name.
    """
    if not text:
        raise InputError("a video is named by its file or by its id, not by an empty text")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 and not is_there else text
