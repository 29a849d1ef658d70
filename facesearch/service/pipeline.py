"""From a photograph to templates: decode, detect, align, embed.

One way, no state: it neither stores nor decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from facesearch.core.errors import FaceSearchError, LowQualityFaceError
from facesearch.core.face import Alignment, Box, Detection, FaceCrop
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.core.protocols import Aligner, Detector, Embedder
from facesearch.core.quality import Quality
from facesearch.core.template import Template
from facesearch.service.faces import FaceChoice, checked_face_choice, choose_face, require_faces

Key = TypeVar("Key")

STREAM_BATCH = 32
"""Photographs a round of ``stream``: enough to fill the networks' batches, few enough to bound memory."""

ImageSource = Any
"""Path, bytes, file object, PIL image, RGB array or ``Image``: whatever the decoder takes."""


QualityMeter = Callable[[FaceCrop, Alignment], Quality]
"""Says how usable an aligned face is."""


@dataclass(frozen=True, slots=True, eq=False)
class ProbeFace:
    """One face of a photograph with its template.

    Attributes:
        image: The photograph.
        detection: The face.
        template: Its template.
        quality: How usable the face is; None where the pipeline has no meter.
    """

    image: Image
    detection: Detection
    template: Template
    quality: Quality | None = None


@dataclass(frozen=True, slots=True)
class Streamed(Generic[Key]):
    """What became of one photograph of a stream.

    Attributes:
        key: The caller's name for it.
        face: The chosen face, or None where there is an error.
        error: Why there is no face, or None.
    """

    key: Key
    face: ProbeFace | None
    error: FaceSearchError | None


class FacePipeline:
    """Decode, detect, align and embed. Thread-safe as far as its parts are.

    Args:
        decode: Any source → ``Image``.
        detector: Finds faces.
        align: Cuts them out.
        embedder: Turns crops into templates.
        min_face_px: The detector's smallest face, for messages.
        meter: Measures the quality of every face; None measures none.
    """

    def __init__(
        self,
        decode: Callable[[ImageSource], Image],
        detector: Detector,
        align: Aligner,
        embedder: Embedder,
        *,
        min_face_px: int,
        meter: QualityMeter | None = None,
    ) -> None:
        self._decode = decode
        self._detector = detector
        self._align = align
        self._embedder = embedder
        self._min_face_px = min_face_px
        self._meter = meter

    @property
    def embedder_id(self) -> str:
        """The embedder of every template it makes."""
        return self._embedder.embedder_id

    def decode(self, source: ImageSource) -> Image:
        """Return the decoded photograph.

        Raises:
            ImageDecodeError: It cannot be decoded.
            ImageTooLargeError: It exceeds a limit.
        """
        return self._decode(source)

    def detect(self, source: ImageSource, *, roi: Box | None = None) -> tuple[Image, tuple[Detection, ...]]:
        """Return the photograph and its faces by falling score; no face is no error here."""
        image = self._decode(source)
        return image, self._detector.detect(image, roi=roi)

    def embed(self, image: Image, detections: Sequence[Detection]) -> tuple[ProbeFace, ...]:
        """Return one template a detection, in order.

        Raises:
            LowQualityFaceError: A face cannot be aligned.
        """
        crops = self._align(image, detections, self._embedder.alignment)
        templates = self._embedder.embed(crops)
        return tuple(
            ProbeFace(image, crop.detection, template, self._quality(crop)) for crop, template in zip(crops, templates, strict=True)
        )

    def qualities(self, image: Image, detections: Sequence[Detection]) -> tuple[Quality | None, ...]:
        """Return how usable each face is, in order, without embedding it; None where it cannot be aligned."""
        measured: list[Quality | None] = []
        for detection in detections:
            try:
                measured.append(self._quality(self._align(image, (detection,), self._embedder.alignment)[0]))
            except LowQualityFaceError:
                measured.append(None)
        return tuple(measured)

    def _quality(self, crop: FaceCrop) -> Quality | None:
        return self._meter(crop, self._embedder.alignment) if self._meter is not None else None

    def face(self, source: ImageSource, choice: FaceChoice = "only", *, roi: Box | None = None) -> ProbeFace:
        """Return the one face of a photograph that is meant.

        Raises:
            NoFaceError: There is none.
            SeveralFacesError: There are several and ``choice`` is ``"only"``.
        """
        checked_face_choice(choice)
        image, detections = self.detect(source, roi=roi)
        chosen = choose_face(image, detections, choice, min_face_px=self._min_face_px)
        return self.embed(image, (chosen,))[0]

    def faces(self, source: ImageSource, *, roi: Box | None = None) -> tuple[ProbeFace, ...]:
        """Return every face of a photograph by falling detection score, at least one.

        Raises:
            NoFaceError: There is none.
        """
        image, detections = self.detect(source, roi=roi)
        require_faces(image, detections, min_face_px=self._min_face_px)
        return self.embed(image, detections)

    def stream(
        self, sources: Iterable[tuple[Key, ImageSource]], choice: FaceChoice = "only", *, batch: int = STREAM_BATCH
    ) -> Iterator[Streamed[Key]]:
        """Yield what became of each photograph, in order, with bounded memory.

        Decoding of the next round overlaps the networks' work on this one; detection and embedding run in batches.

        Args:
            sources: ``(key, source)`` pairs; read lazily.
            choice: Which face of each photograph.
            batch: Photographs a round.
        """
        checked_face_choice(choice)
        with ThreadPoolExecutor(max_workers=2, thread_name_prefix="facesearch-decode") as pool:
            remaining = iter(sources)
            ahead = self._start_round(pool, remaining, batch)
            while ahead:
                current, ahead = ahead, self._start_round(pool, remaining, batch)
                yield from self._finish_round(current, choice)

    def _start_round(
        self, pool: ThreadPoolExecutor, remaining: Iterator[tuple[Key, ImageSource]], batch: int
    ) -> list[tuple[Key, Future[Image]]]:
        return [(key, pool.submit(self._decode, source)) for key, source in islice(remaining, batch)]

    def _finish_round(self, current: list[tuple[Key, Future[Image]]], choice: FaceChoice) -> Iterator[Streamed[Key]]:
        errors: dict[int, FaceSearchError] = {}
        images: dict[int, Image] = {}
        for place, (_, decoded) in enumerate(current):
            try:
                images[place] = decoded.result()
            except FaceSearchError as exc:
                errors[place] = exc
        found = dict(zip(images, self._detector.detect_batch(tuple(images.values())), strict=True))
        chosen: dict[int, Detection] = {}
        for place, detections in found.items():
            try:
                chosen[place] = choose_face(images[place], detections, choice, min_face_px=self._min_face_px)
            except FaceSearchError as exc:
                errors[place] = exc
        crops = {}
        for place, detection in chosen.items():
            try:
                crops[place] = self._align(images[place], (detection,), self._embedder.alignment)[0]
            except FaceSearchError as exc:
                errors[place] = exc
        templates = dict(zip(crops, self._embedder.embed(tuple(crops.values())), strict=True))
        for place, (key, _) in enumerate(current):
            if place in templates:
                quality = self._quality(crops[place])
                yield Streamed(key, ProbeFace(images[place], chosen[place], templates[place], quality), None)
            else:
                yield Streamed(key, None, errors[place])


PictureMaker = Callable[[Keep, ImageSource, Image, Detection], KeptPicture | None]
"""Makes what is kept of a photograph beside a template; None for ``Keep.NONE``."""
