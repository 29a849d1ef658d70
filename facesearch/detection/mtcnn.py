"""The detector: settings, regions of interest and ``Detection`` values around the MTCNN cascade.

It judges no quality and drops no face by size: settings decide what is looked for, callers decide what they use.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.errors import InputError, SettingsError
from facesearch.core.face import Box, Detection, checked_box
from facesearch.core.image import Image
from facesearch.detection.cascade import Cascade, Faces, Thresholds
from facesearch.detection.engine_stages import EngineStages
from facesearch.detection.native_library import load_library
from facesearch.detection.native_stages import NativeStages
from facesearch.detection.networks import network_specs
from facesearch.detection.stages import Stages
from facesearch.inference import Engine

SMALLEST_FACE_PX = 6
"""The least ``min_face_px``: the first network sees 12 pixels, and a face of fewer than half as many shows no features."""

_RUN_PHOTOS = 32
_RUN_PX = 2**24
"""Photographs and pixels that go through the cascade together: bounds the memory of a long list (a pixel takes 16 bytes in an
engine's cascade)."""


@dataclass(frozen=True, slots=True)
class DetectorSettings:
    """What the detector looks for.

    Attributes:
        min_face_px: Side of the smallest face searched for, in pixels of the photograph, at least 6. The time taken falls with its
            square. The networks correct sizes, so a face found may be somewhat smaller.
        scale_factor: Ratio of each scale searched to the one before, from 0.1 to 0.99; nearer 1 is slower and finds slightly more.
        thresholds: Scores in [0, 1] that a face must reach in the three stages: fewer false faces, and fewer faces, the higher.
        max_faces: Return at most so many faces, those of highest score; None returns all.
    """

    min_face_px: int = 20
    scale_factor: float = 0.709
    thresholds: tuple[float, float, float] = (0.6, 0.7, 0.7)
    max_faces: int | None = None

    def __post_init__(self) -> None:
        """Check the ranges.

        Raises:
            SettingsError: A value is out of range.
        """
        if isinstance(self.min_face_px, bool) or not isinstance(self.min_face_px, int) or self.min_face_px < SMALLEST_FACE_PX:
            raise SettingsError(
                f"the smallest face is a whole number of at least {SMALLEST_FACE_PX} pixels, not {self.min_face_px!r}"
            )
        if not 0.1 <= self.scale_factor <= 0.99:
            raise SettingsError(f"the scale factor lies between 0.1 and 0.99, not {self.scale_factor!r}")
        if len(self.thresholds) != 3 or not all(0.0 <= threshold <= 1.0 for threshold in self.thresholds):
            raise SettingsError(f"the detector has three thresholds in [0, 1], not {self.thresholds!r}")
        if self.max_faces is not None and self.max_faces < 1:
            raise SettingsError(f"the number of faces wanted is at least 1, not {self.max_faces!r}")


class MtcnnDetector:
    """Finds faces with the MTCNN cascade (Zhang et al. 2016); implements ``core.protocols.Detector``.

    The networks are loaded by the first photograph: the compiled ones where the installation has them (``native_library``), else
    the engine's. Safe to use from several threads.

    Args:
        engine: What runs the networks where nothing was compiled, or the engine is not ``openvino``.
        settings: What to look for.
        weights_folder: Where pnet.pt, rnet.pt and onet.pt are; None finds those of the installed facenet-pytorch.
        threads: Threads of the compiled cascade, at least 1; None is one a core. An engine has its own setting.
        native: Let the compiled cascade take the place of the engine ``openvino`` where the installation has one. It is float32
            whatever the engine's precision. Any other engine runs the networks itself.
    """

    def __init__(
        self,
        engine: Engine,
        settings: DetectorSettings | None = None,
        weights_folder: Path | None = None,
        *,
        threads: int | None = None,
        native: bool = True,
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingsError(f"threads must be at least 1, not {threads}")
        self.settings = settings if settings is not None else DetectorSettings()
        self._threads = threads
        self._native = native
        self._engine = engine
        self._weights_folder = weights_folder
        self._loaded: Cascade | None = None
        self._lock = threading.Lock()

    def detect(self, image: Image, *, roi: Box | None = None) -> tuple[Detection, ...]:
        """Return the faces of a photograph by falling score.

        Args:
            image: The photograph. One smaller than the smallest face holds none.
            roi: Search only inside this box, in pixels of the photograph; what lies outside of it is not looked at. It is widened
                to whole pixels and cut to the photograph. Results stay in the photograph's pixels.

        Returns:
            Detections by falling score, at most ``settings.max_faces``; empty when there is none. Boxes of faces cut by the border
            may reach past it.

        Raises:
            InputError: ``roi`` is no box, or lies wholly outside the photograph.
            ModelError: The networks cannot be loaded or run.
        """
        pixels, offset = (image.pixels, (0, 0)) if roi is None else _region(image, roi)
        return self._detections(self._cascade().run([pixels])[0], offset)

    def detect_batch(self, images: Sequence[Image]) -> tuple[tuple[Detection, ...], ...]:
        """Return the faces of each photograph, as ``detect`` would to within the rounding of float32.

        Photographs of any sizes share the runs of the networks; those of one size share most.

        Raises:
            ModelError: The networks cannot be loaded or run.
        """
        found: list[tuple[Detection, ...]] = []
        for run in _runs(images):
            found += [self._detections(faces, (0, 0)) for faces in self._cascade().run([image.pixels for image in run])]
        return tuple(found)

    def _cascade(self) -> Cascade:
        with self._lock:
            if self._loaded is None:
                settings = self.settings
                self._loaded = Cascade(
                    self._stages(), settings.min_face_px, settings.scale_factor, Thresholds(*settings.thresholds)
                )
            return self._loaded

    def _stages(self) -> Stages:
        library = load_library() if self._native and self._engine.name == "openvino" else None
        if library is not None:
            return NativeStages(library, self._weights_folder, threads=self._threads)
        p, r, o = (self._engine.load(spec) for spec in network_specs(self._weights_folder))
        return EngineStages((p, r, o))

    def _detections(self, faces: Faces, offset: tuple[int, int]) -> tuple[Detection, ...]:
        """Return one photograph's faces as values, moved by ``offset`` (x, y)."""
        shift = np.array(offset, dtype=np.float32)
        boxes = faces.boxes + np.concatenate([shift, shift])
        landmarks = faces.landmarks + shift
        return tuple(
            Detection((box[0], box[1], box[2], box[3]), points, min(max(score, 0.0), 1.0))
            for box, points, score in zip(boxes[: self.settings.max_faces].tolist(), landmarks, faces.scores.tolist(), strict=False)
        )


def _runs(images: Sequence[Image]) -> Iterator[list[Image]]:
    """Yield photographs that go through the cascade together, in order."""
    run: list[Image] = []
    n_px = 0
    for image in images:
        size = image.height * image.width
        if run and (len(run) == _RUN_PHOTOS or n_px + size > _RUN_PX):
            yield run
            run, n_px = [], 0
        run.append(image)
        n_px += size
    if run:
        yield run


def _region(image: Image, roi: Box) -> tuple[Pixels, tuple[int, int]]:
    """Return the pixels inside a box and where they start (x, y).

    Raises:
        InputError: ``roi`` is no box, or lies wholly outside the photograph.
    """
    x1, y1, x2, y2 = checked_box(roi)
    left, top = max(0, math.floor(x1)), max(0, math.floor(y1))
    right, bottom = min(image.width, math.ceil(x2)), min(image.height, math.ceil(y2))
    if right <= left or bottom <= top:
        raise InputError(
            f"the region ({x1:g}, {y1:g}, {x2:g}, {y2:g}) lies outside the photograph of {image.width}×{image.height} pixels",
            roi=(x1, y1, x2, y2),
            size=(image.width, image.height),
        )
    return image.pixels[top:bottom, left:right], (left, top)
