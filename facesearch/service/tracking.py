"""Faces followed through the frames of a video, by the overlap of their boxes and the likeness of their templates.

It detects and embeds nothing, and decides nothing about who somebody is: a track says "the same person as in the frame before".
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import numpy as np

from facesearch.core.arrays import Vectors, normalised
from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import InputError
from facesearch.core.face import Detection, box_iou
from facesearch.core.fusion import MIN_WEIGHT, fused_vector, quality_weight
from facesearch.core.identity import KeptPicture
from facesearch.core.template import Template, require_same_embedder
from facesearch.core.video import Interval
from facesearch.service.found_face import FaceRecord

OVERLAP_IOU = 0.3
"""Overlap from which a box may be the next step of one seen before: a face that moved by half its width has 0.33."""

OVERLAP_FMR = 1e-2
"""FMR of the score that an overlapping face must reach. The place speaks for it already; the template is there for the cut to
another person in the same place, of whom one in a hundred passes."""

APART_FMR = 1e-4
"""FMR of the score that a face elsewhere in the picture must reach: the usual rate of 1:1 comparisons, since nothing else speaks
for it (fast movements, cuts to another angle)."""

GAP_S = 1.0
"""Seconds for which a face may be missed (turned away, hidden, blurred) and still go on as the same track."""

BEST_FACES = 8
"""Faces of a track whose templates are fused: neighbouring frames are so alike that more of them add next to nothing."""


@dataclass(frozen=True, slots=True)
class TrackingRules:
    """When a face goes on as the same track.

    Attributes:
        overlap_iou: Least overlap of a box with the track's last one, in (0, 1].
        overlap_score: Least score of a face that overlaps, in [-1, 1].
        apart_score: Least score of one that does not, at least ``overlap_score``.
        gap_s: Longest time between two faces of a track in seconds, above 0.
    """

    overlap_iou: float
    overlap_score: float
    apart_score: float
    gap_s: float

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not (0.0 < self.overlap_iou <= 1.0 and -1.0 <= self.overlap_score <= self.apart_score <= 1.0 and self.gap_s > 0.0):
            raise InputError(f"these are no rules to follow faces by: {self}")

    @classmethod
    def of(cls, points: OperatingPoints, *, gap_s: float = GAP_S) -> TrackingRules:
        """Return the rules for an embedder.

        Args:
            points: Its operating points, which the scores come from.
            gap_s: See ``TrackingRules.gap_s``.
        """
        return cls(OVERLAP_IOU, points.at_fmr(OVERLAP_FMR).threshold, points.at_fmr(APART_FMR).threshold, gap_s)


@dataclass(frozen=True, slots=True, eq=False)
class SeenFace:
    """A face in one frame.

    Attributes:
        record: The face, without the frame's pixels.
        picture: What is to be kept of it, or None.
    """

    record: FaceRecord
    picture: KeptPicture | None = None

    @property
    def detection(self) -> Detection:
        """The face, in pixels of the frame."""
        return self.record.detection

    @property
    def template(self) -> Template:
        """Its template."""
        return self.record.template

    @property
    def weight(self) -> float:
        """How much the face counts in its track, in [``MIN_WEIGHT``, 1]: its quality, or the detector's score times its size."""
        quality = self.record.quality
        return quality_weight(self.detection) if quality is None else max(MIN_WEIGHT, quality.score)


@dataclass(frozen=True, slots=True, eq=False)
class FaceTrack:
    """A face followed through a video.

    Attributes:
        interval: From the first to the last frame it was seen in.
        n_faces: Frames it was seen in.
        best_s: When its best face is shown.
        best: The face of the greatest weight, the first of several.
        template: The mean of its ``BEST_FACES`` best templates, weighted, of unit norm.
    """

    interval: Interval
    n_faces: int
    best_s: float
    best: SeenFace
    template: Template


@dataclass(eq=False)
class _Open:
    """A track that may go on: where the face was last, what it looks like, and its best faces so far."""

    start_s: float
    end_s: float
    last: SeenFace
    total: Vectors
    n_faces: int = 1
    best: list[tuple[float, float, int, SeenFace]] = field(default_factory=list)

    def closed(self) -> FaceTrack:
        ordered = sorted(self.best, key=lambda one: (-one[0], -one[1]))
        vectors = np.stack([one[3].template.vector for one in ordered])
        template = Template(fused_vector(vectors, [one[0] for one in ordered]), self.last.template.embedder_id)
        return FaceTrack(Interval(self.start_s, self.end_s), self.n_faces, -ordered[0][1], ordered[0][3], template)


class Tracker:
    """Follows faces from frame to frame. For one thread.

    In each frame, the strongest links are made first: of all pairs of a track and a face that the rules allow, the one of the
    highest ``score + overlap``, then the next among the tracks and faces left. The score is the higher one of the face against the
    track's last template and against the mean of all. A face without a link begins a track; two faces of one frame never share one.

    Args:
        rules: When a face goes on as the same track.
    """

    def __init__(self, rules: TrackingRules) -> None:
        self._rules = rules
        self._open: list[_Open] = []
        self._closed: list[FaceTrack] = []
        self._now_s = -1.0
        self._numbers = count()

    def step(self, time_s: float, faces: Sequence[SeenFace]) -> None:
        """Take the faces of the next frame.

        Args:
            time_s: When the frame is shown, at least 0 and later than the frame before.
            faces: All of one embedder; may be empty.

        Raises:
            InputError: The time does not rise.
            IncompatibleTemplatesError: The templates come from different embedders.
        """
        if not time_s > self._now_s:
            raise InputError(f"frames come by rising time, not {time_s} s after {self._now_s} s")
        self._now_s = time_s
        self._close(before_s=time_s - self._rules.gap_s)
        linked = self._links(faces)
        for place, face in enumerate(faces):
            track = linked.get(place)
            if track is None:
                track = _Open(time_s, time_s, face, face.template.vector.copy())
                self._open.append(track)
            else:
                track.end_s, track.last = time_s, face
                track.n_faces += 1
                track.total = track.total + face.template.vector
            self._keep(track, time_s, face)

    def finish(self) -> tuple[FaceTrack, ...]:
        """Return all tracks by the time they begin; the tracker begins anew."""
        self._close(before_s=float("inf"))
        done, self._closed, self._now_s = self._closed, [], -1.0
        return tuple(sorted(done, key=lambda track: (track.interval.start_s, track.best.detection.box)))

    def _close(self, *, before_s: float) -> None:
        self._closed += [track.closed() for track in self._open if track.end_s < before_s]
        self._open = [track for track in self._open if not track.end_s < before_s]

    def _links(self, faces: Sequence[SeenFace]) -> dict[int, _Open]:
        """Return the track that each face goes on, by the face's place; faces without one are left out."""
        pairs = sorted(self._pairs(faces))
        linked: dict[int, _Open] = {}
        taken: set[int] = set()
        for _, track, place in pairs:
            if track not in taken and place not in linked:
                taken.add(track)
                linked[place] = self._open[track]
        return linked

    def _pairs(self, faces: Sequence[SeenFace]) -> list[tuple[float, int, int]]:
        """Return the allowed links: strength (negative, so that the strongest sorts first), the track's place, the face's place."""
        if not self._open or not faces:
            return []
        for face in faces:
            require_same_embedder(self._open[0].last.template.embedder_id, face.template.embedder_id)
        seen = np.stack([face.template.vector for face in faces])
        means = normalised(np.stack([track.total if np.any(track.total) else track.last.template.vector for track in self._open]))
        lasts = np.stack([track.last.template.vector for track in self._open])
        scores = np.maximum(means @ seen.T, lasts @ seen.T)
        pairs = []
        for row, track in enumerate(self._open):
            for place, face in enumerate(faces):
                score, overlap = float(scores[row, place]), box_iou(track.last.detection.box, face.detection.box)
                needed = self._rules.overlap_score if overlap >= self._rules.overlap_iou else self._rules.apart_score
                if score >= needed:
                    pairs.append((-(score + overlap), row, place))
        return pairs

    def _keep(self, track: _Open, time_s: float, face: SeenFace) -> None:
        # Negative time: of equal weights the earlier one is the greater, and stays. The number keeps faces from being compared.
        entry = (face.weight, -time_s, next(self._numbers), face)
        if len(track.best) < BEST_FACES:
            heapq.heappush(track.best, entry)
        else:
            heapq.heappushpop(track.best, entry)


def same_people(templates: Sequence[Template], *, score: float) -> tuple[int, ...]:
    """Return a person's number for each template, from 0, by order of appearance.

    Each template joins the person before it whose mean of templates it is most like, where that reaches ``score``; else it is a new
    person. (Leader clustering: one pass, and what comes later changes nothing before it.)

    Args:
        templates: Of one embedder.
        score: Least score to a person's mean, in [-1, 1].

    Raises:
        IncompatibleTemplatesError: They come from different embedders.
    """
    totals: list[Vectors] = []
    numbers: list[int] = []
    for one in templates:
        require_same_embedder(templates[0].embedder_id, one.embedder_id)
        best, place = max(
            ((float(normalised(total) @ one.vector), -number) for number, total in enumerate(totals)), default=(-2.0, 0)
        )
        if best >= score:
            totals[-place] = totals[-place] + one.vector
            numbers.append(-place)
        else:
            totals.append(one.vector.copy())
            numbers.append(len(totals) - 1)
    return tuple(numbers)
