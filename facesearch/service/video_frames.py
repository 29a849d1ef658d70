"""Faces of a video's frames: detection and embedding of rounds of frames, while the next ones are decoded.

It follows nobody: see ``tracking``.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass

from facesearch.core.errors import LowQualityFaceError
from facesearch.core.face import Detection, FaceCrop
from facesearch.core.identity import KeptPicture
from facesearch.core.image import Image
from facesearch.core.protocols import Aligner, Detector, Embedder
from facesearch.core.quality import Quality
from facesearch.core.video import VideoFrame
from facesearch.service.found_face import FaceRecord
from facesearch.service.pipeline import QualityMeter
from facesearch.service.rounds import in_rounds
from facesearch.service.tracking import SeenFace

ROUND_FRAMES = 4
"""Frames that are detected and embedded together: with two faces each, half a batch of the embedder; 11 MB of 720p."""

PictureOf = Callable[[Image, Detection], KeptPicture | None]
"""Makes what is kept of a face in a frame."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameFaces:
    """The faces of one frame, after its pixels are gone.

    Attributes:
        time_s: When it is shown.
        faces: By falling detection score.
        n_unaligned: Faces left out because their landmarks cannot be aligned.
    """

    time_s: float
    faces: tuple[SeenFace, ...]
    n_unaligned: int


class FaceFinder:
    """Finds and embeds the faces of frames. Thread-safe as far as its parts are.

    Args:
        detector: Finds faces.
        align: Cuts them out.
        embedder: Turns crops into templates.
        meter: Measures the quality of every face; None measures none.
    """

    def __init__(self, detector: Detector, align: Aligner, embedder: Embedder, *, meter: QualityMeter | None = None) -> None:
        self._detector = detector
        self._align = align
        self._embedder = embedder
        self._meter = meter

    def stream(self, frames: Iterable[VideoFrame], *, picture_of: PictureOf | None = None) -> Generator[FrameFaces, None, None]:
        """Yield the faces of each frame, in order, with bounded memory.

        The caller's thread decodes the next frames while others detect and embed. Closing the iterator leaves no thread behind.

        Args:
            frames: By rising time; read lazily.
            picture_of: Makes what is kept of each face; None keeps nothing.
        """

        def work(batch: list[VideoFrame], stopped: threading.Event) -> Iterator[FrameFaces]:
            if not stopped.is_set():
                yield from self._faces(batch, picture_of)

        yield from in_rounds(frames, work, size=ROUND_FRAMES)

    def _faces(self, frames: Sequence[VideoFrame], picture_of: PictureOf | None) -> Iterator[FrameFaces]:
        found = self._detector.detect_batch([frame.image for frame in frames])
        crops: list[list[FaceCrop]] = []
        for frame, detections in zip(frames, found, strict=True):
            crops.append([crop for one in detections for crop in self._crop(frame.image, one)])
        templates = iter(self._embedder.embed([crop for row in crops for crop in row]) if any(crops) else ())
        for frame, detections, row in zip(frames, found, crops, strict=True):
            faces = tuple(
                SeenFace(
                    FaceRecord(frame.image.origin, crop.detection, next(templates), self._quality(crop)),
                    picture_of(frame.image, crop.detection) if picture_of is not None else None,
                )
                for crop in row
            )
            yield FrameFaces(frame.time_s, faces, len(detections) - len(row))

    def _crop(self, image: Image, detection: Detection) -> tuple[FaceCrop, ...]:
        """Return the aligned face, or nothing where it cannot be aligned: one bad face is no reason to stop a video."""
        try:
            return self._align(image, (detection,), self._embedder.alignment)
        except LowQualityFaceError:
            return ()

    def _quality(self, crop: FaceCrop) -> Quality | None:
        return self._meter(crop, self._embedder.alignment) if self._meter is not None else None
