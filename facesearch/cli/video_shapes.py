"""The shapes of JSON answers about videos, as ``shapes`` has those of everything else.

Times are seconds from the video's first frame; names once given stay, and no vector is ever among them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from facesearch.service.shapes import Shape, detection_shape, operating_point_shape

if TYPE_CHECKING:
    from facesearch.core.video import Sighting, Video, VideoFindings, VideoTrack
    from facesearch.service.video_index import IndexedVideo

_SECOND_DIGITS = 3


def seconds(value: float) -> float:
    """Return a time in seconds, to the millisecond."""
    return round(value, _SECOND_DIGITS)


def video_shape(video: Video) -> Shape:
    """Return an indexed video."""
    about = video.about
    return {
        "video_id": video.video_id,
        "collection": video.collection,
        "source": about.info.source,
        "digest": about.info.digest,
        "width": about.info.width,
        "height": about.info.height,
        "fps": about.info.fps,
        "duration_s": seconds(about.info.duration_s),
        "end_s": seconds(about.reading.end_s),
        "n_frames": about.reading.n_frames,
        "n_frames_promised": about.info.n_frames,
        "n_sampled": about.reading.n_sampled,
        "is_cut": about.reading.is_cut,
        "sample_rate": about.sample_rate,
        "min_face_px": about.min_face_px,
        "embedder_id": about.embedder_id,
        "indexed_at": about.indexed_at.isoformat(),
        "n_tracks": video.n_tracks,
    }


def track_shape(track: VideoTrack) -> Shape:
    """Return a track; ``label`` and ``identity_id`` are null for unknown, ``score`` where nobody was enrolled."""
    one = track.track
    return {
        "track_id": track.track_id,
        "start_s": seconds(one.interval.start_s),
        "end_s": seconds(one.interval.end_s),
        "n_faces": one.n_faces,
        "best_s": seconds(one.best_s),
        "label": track.label,
        "identity_id": one.identity_id,
        "score": one.score,
        **detection_shape(one.detection),
        "quality": dict(one.quality),
    }


def indexed_shape(indexed: IndexedVideo) -> Shape:
    """Return what indexing a video gave; the operating point is null where no face was found."""
    point = indexed.operating_point
    return {
        **video_shape(indexed.video),
        "decided_at": None if point is None else {**operating_point_shape(point), "is_supported": point.is_supported},
        "fpir": indexed.fpir,
        "n_templates": indexed.n_templates,
        "n_recognised": indexed.n_recognised,
        "enrolled": list(indexed.enrolled),
        "n_not_enrolled": indexed.n_not_enrolled,
        "n_unaligned": indexed.n_unaligned,
        "seconds": round(indexed.seconds, 3),
        "speed": round(indexed.speed, 2),
        "tracks": [track_shape(one) for one in indexed.tracks],
    }


def sighting_shape(sighting: Sighting) -> Shape:
    """Return a stretch in which a person is seen."""
    return {
        "start_s": seconds(sighting.interval.start_s),
        "end_s": seconds(sighting.interval.end_s),
        "best_s": seconds(sighting.best_s),
        "score": sighting.score,
        "n_faces": sighting.n_faces,
        "tracks": list(sighting.tracks),
        **detection_shape(sighting.detection),
    }


def findings_shape(findings: VideoFindings) -> Shape:
    """Return when a person is seen in a video; ``best_score`` is null for a video without faces."""
    return {
        "video_id": findings.video.video_id,
        "source": findings.video.about.info.source,
        "label": findings.label,
        "is_cut": findings.video.about.reading.is_cut,
        "n_tracks": findings.n_tracks,
        "best_score": findings.best_score,
        **operating_point_shape(findings.operating_point),
        "threshold": findings.threshold,
        "fpir": findings.fpir,
        "is_supported": findings.operating_point.is_supported,
        "seen_s": seconds(findings.seen_s),
        "sightings": [sighting_shape(one) for one in findings.sightings],
    }
