"""From a photograph to templates: decode, detect, align, embed.

One way, no state: it neither stores nor decides.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, Generic, TypeVar

from facesearch.core.errors import FaceSearchError, InputError, LowQualityFaceError
from facesearch.core.face import Alignment, Box, Detection, FaceCrop
from facesearch.core.identity import Keep, KeptPicture
from facesearch.core.image import Image
from facesearch.core.protocols import Aligner, Detector, Embedder
from facesearch.core.quality import Quality
from facesearch.core.template import Template
from facesearch.service.faces import FaceChoice, checked_face_choice, choose_face, require_faces
from facesearch.service.found_face import FaceRecord, ProbeFace
from facesearch.service.free_memory import without_frames
from facesearch.service.rounds import in_rounds

Key = TypeVar("Key")

STREAM_BATCH = 16
"""Photographs a round of ``stream``: enough to fill the networks' batches, few enough that a short list keeps every thread busy."""

STREAM_PX = 2**23
"""Pixels that a thread of a stream decodes before it looks for faces in them, one photograph at least: large photographs go through
alone, so that a folder of them takes no more memory than its largest one for each thread."""


class _NoWork:
    """The type of ``NO_WORK``."""


NO_WORK: Final = _NoWork()
"""Stands for a photograph of a stream that nothing is to be done with: it comes back at its place, without face and error."""

ImageSource = Any
"""Path, bytes, file object, PIL image, RGB array or ``Image``: whatever the decoder takes."""


QualityMeter = Callable[[FaceCrop, Alignment], Quality]
"""Says how usable an aligned face is."""


@dataclass(frozen=True, slots=True)
class Streamed(Generic[Key]):
    """What became of one photograph of a stream.

    Attributes:
        key: The caller's name for it.
        face: The chosen face, or None where there is an error.
        error: Why there is no face, or None.
        picture: What was kept of the photograph, where the caller asked for it.
    """

    key: Key
    face: FaceRecord | None
    error: FaceSearchError | None
    picture: KeptPicture | None = None


@dataclass(frozen=True, slots=True)
class StreamedFaces(Generic[Key]):
    """All faces of one photograph of a stream.

    Attributes:
        key: The caller's name for it.
        faces: By falling detection score; empty where there is an error.
        error: Why there is none, or None.
    """

    key: Key
    faces: tuple[FaceRecord, ...]
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
        return tuple(self._made(image, crop, template) for crop, template in zip(crops, templates, strict=True))

    def _made(self, image: Image, crop: FaceCrop, template: Template) -> ProbeFace:
        return ProbeFace(image, crop.detection, template, self._quality(crop))

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

    def face(self, source: ImageSource | ProbeFace, choice: FaceChoice = "only", *, roi: Box | None = None) -> ProbeFace:
        """Return the one face of a photograph that is meant; a face that was found already is only embedded again, if need be.

        Raises:
            NoFaceError: There is none.
            SeveralFacesError: There are several and ``choice`` is ``"only"``.
        """
        checked_face_choice(choice)
        if isinstance(source, ProbeFace):
            return self.own((source,))[0]
        image, detections = self.detect(source, roi=roi)
        chosen = choose_face(image, detections, choice, min_face_px=self._min_face_px)
        return self.embed(image, (chosen,))[0]

    def face_each(self, wanted: Sequence[tuple[ImageSource | ProbeFace, FaceChoice]]) -> tuple[ProbeFace, ...]:
        """Return the one face that is meant of each photograph, in order, as ``face`` would; the networks run once for all of them.

        Raises:
            NoFaceError: There is none in one of them.
            SeveralFacesError: There are several in one of them and its choice is ``"only"``.
        """
        choices = [checked_face_choice(choice) for _, choice in wanted]
        images = [None if isinstance(source, ProbeFace) else self._decode(source) for source, _ in wanted]
        found = iter(self._detector.detect_batch([image for image in images if image is not None]))
        crops: list[FaceCrop] = []
        for image, choice in zip(images, choices, strict=True):
            if image is not None:
                chosen = choose_face(image, next(found), choice, min_face_px=self._min_face_px)
                crops += self._align(image, (chosen,), self._embedder.alignment)
        made = zip(crops, self._embedder.embed(crops), strict=True)
        return tuple(
            self.own((source,))[0] if image is None else self._made(image, *next(made))
            for (source, _), image in zip(wanted, images, strict=True)
        )

    def own(self, faces: Sequence[ProbeFace]) -> tuple[ProbeFace, ...]:
        """Return faces with templates of this pipeline's embedder, in order; those of another are embedded again."""
        return tuple(
            one if one.template.embedder_id == self.embedder_id else self.embed(one.image, (one.detection,))[0] for one in faces
        )

    def faces(self, source: ImageSource, *, roi: Box | None = None) -> tuple[ProbeFace, ...]:
        """Return every face of a photograph by falling detection score, at least one.

        Raises:
            NoFaceError: There is none.
        """
        image, detections = self.detect(source, roi=roi)
        require_faces(image, detections, min_face_px=self._min_face_px)
        return self.embed(image, detections)

    def stream(
        self,
        sources: Iterable[tuple[Key, ImageSource]],
        choice: FaceChoice = "only",
        *,
        batch: int = STREAM_BATCH,
        n_workers: int | None = None,
        keep_picture: Callable[[ImageSource, Image, Detection], KeptPicture | None] | None = None,
    ) -> Generator[Streamed[Key], None, None]:
        """Yield what became of each photograph, in order, with bounded memory.

        Several threads each take a round of photographs through all stages, so that every processor is busy whatever the stages
        cost; see ``rounds.in_rounds``. Nothing yielded holds pixels. A photograph that cannot be used is an error in its place; any
        other error (a network's, for example) ends the stream.

        Args:
            sources: ``(key, source)`` pairs; read lazily, by the caller's thread. A source may be ``NO_WORK``.
            choice: Which face of each photograph.
            batch: Photographs a round.
            n_workers: Threads; None for one more than there are processors.
            keep_picture: Makes what is kept of a photograph while its pixels are there; called from the stream's threads.

        Raises:
            ModelError: A network failed.
        """
        checked_face_choice(choice)

        def select(image: Image, found: tuple[Detection, ...]) -> tuple[Detection, ...]:
            return (choose_face(image, found, choice, min_face_px=self._min_face_px),)

        with closing(self._streamed(sources, select, keep_picture, batch, n_workers)) as streamed:
            for one in streamed:
                yield Streamed(one.key, one.faces[0] if one.faces else None, one.error, one.picture)

    def stream_faces(
        self, sources: Iterable[tuple[Key, ImageSource]], *, batch: int = STREAM_BATCH, n_workers: int | None = None
    ) -> Generator[StreamedFaces[Key], None, None]:
        """Yield all faces of each photograph, as ``faces`` would return them, in order and with bounded memory; see ``stream``."""

        def select(image: Image, found: tuple[Detection, ...]) -> tuple[Detection, ...]:
            require_faces(image, found, min_face_px=self._min_face_px)
            return found

        with closing(self._streamed(sources, select, None, batch, n_workers)) as streamed:
            for one in streamed:
                yield StreamedFaces(one.key, one.faces, one.error)

    def _streamed(
        self,
        sources: Iterable[tuple[Key, ImageSource]],
        select: _Select,
        keep_picture: _KeepPicture | None,
        batch: int,
        n_workers: int | None,
    ) -> Generator[_InWork[Key], None, None]:
        def work(items: list[tuple[Key, ImageSource]], stop: threading.Event) -> Iterator[_InWork[Key]]:
            part: list[_InWork[Key]] = []
            n_px = 0
            for key, source in items:
                if stop.is_set():
                    return
                part.append(self._opened(key, source))
                n_px += part[-1].n_px
                if n_px >= STREAM_PX:
                    yield from self._finished(part, select, keep_picture)
                    part, n_px = [], 0
            yield from self._finished(part, select, keep_picture)

        return in_rounds(sources, work, size=batch, n_workers=n_workers, is_free=lambda item: item[1] is NO_WORK)

    def _opened(self, key: Key, source: ImageSource) -> _InWork[Key]:
        one = _InWork(key, source)
        if source is not NO_WORK:
            try:
                one.image = self._decode(source)
            except InputError as exc:
                one.error = without_frames(exc)
        return one

    def _finished(self, part: list[_InWork[Key]], select: _Select, keep_picture: _KeepPicture | None) -> Iterator[_InWork[Key]]:
        """Find, align and embed the faces of decoded photographs, in batches, and yield the photographs without their pixels."""
        opened = [(one, one.image) for one in part if one.image is not None]
        found = self._detector.detect_batch([image for _, image in opened])
        alignment = self._embedder.alignment
        crops: list[FaceCrop] = []
        for (one, image), detections in zip(opened, found, strict=True):
            try:
                own = self._align(image, select(image, detections), alignment)
                if keep_picture is not None:
                    one.picture = keep_picture(one.source, image, own[0].detection)
            except InputError as exc:
                one.error = without_frames(exc)
                continue
            one.n_crops = len(own)
            crops += own
        templates = iter(zip(crops, self._embedder.embed(crops), strict=True))
        for one, image in opened:
            origin = image.origin
            one.faces = tuple(
                FaceRecord(origin, crop.detection, template, self._quality(crop))
                for crop, template in islice(templates, one.n_crops)
            )
            one.image = one.source = None
        yield from part


_Select = Callable[[Image, tuple[Detection, ...]], tuple[Detection, ...]]
_KeepPicture = Callable[[ImageSource, Image, Detection], KeptPicture | None]


class _InWork(Generic[Key]):
    """A photograph on its way through a stream."""

    __slots__ = ("error", "faces", "image", "key", "n_crops", "picture", "source")

    def __init__(self, key: Key, source: ImageSource) -> None:
        self.key = key
        self.source = source
        self.image: Image | None = None
        self.n_crops = 0
        self.faces: tuple[FaceRecord, ...] = ()
        self.picture: KeptPicture | None = None
        self.error: FaceSearchError | None = None

    @property
    def n_px(self) -> int:
        """Pixels it holds."""
        return 0 if self.image is None else self.image.width * self.image.height


PictureMaker = Callable[[Keep, ImageSource, Image, Detection], KeptPicture | None]
"""Makes what is kept of a photograph beside a template; None for ``Keep.NONE``."""
