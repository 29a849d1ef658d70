"""Many photographs turned into templates for measuring: each gets a template or a counted failure, none is left out.

It neither compares nor stores: see ``evaluate_lfw``, ``evaluate_folder`` and ``evaluate_pairs``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors
from facesearch.core.errors import ImageDecodeError, ImageTooLargeError
from facesearch.core.face import Detection
from facesearch.core.paths import is_there
from facesearch.core.quality import Quality
from facesearch.service.faces import FaceChoice, checked_face_choice
from facesearch.service.pipeline import FacePipeline, Streamed
from facesearch.service.template_cache import CachedOutcome, FileStamp, TemplateCache, file_digest

VANISHED = "vanished"
"""Code of a photograph that was listed and is not there when it is read."""

Progress = Callable[[int, int], None]
"""Called with the number of photographs done and the number of all."""


@dataclass(frozen=True, slots=True)
class AcquisitionFailure:
    """A photograph without a usable face.

    Attributes:
        path: As it was listed.
        code: The error's stable code, for example ``"no_face"``, or ``"vanished"``.
        message: A sentence for a person.
    """

    path: str
    code: str
    message: str

    def as_dict(self) -> dict[str, str]:
        """Return the failure as plain values."""
        return {"path": self.path, "code": self.code, "message": self.message}


@dataclass(frozen=True, eq=False)
class EmbeddedPhotographs:
    """Templates of many photographs, in the order of their paths.

    Attributes:
        embedder_id: The embedder of every template.
        paths: All photographs, sorted, without repeats.
        vectors: float32 ``(N, D)``, unit rows of the photographs with a face, in the order of ``acquired``.
        acquired: int64 ``(N,)``, their places in ``paths``, rising.
        detections: The face of each row of ``vectors``.
        digests: SHA-256 (hex) of each of ``paths``; empty where the file could not be read.
        failures: The others, by path.
        seconds: How long it took, cached photographs included.
        n_cached: Photographs that were known before.
        qualities: How usable each face is, as ``detections``; empty where the pipeline measures no quality.
    """

    embedder_id: str
    paths: tuple[Path, ...]
    vectors: Vectors
    acquired: NDArray[np.int64]
    detections: tuple[Detection, ...]
    digests: tuple[str, ...]
    failures: tuple[AcquisitionFailure, ...]
    seconds: float
    n_cached: int
    qualities: tuple[Quality, ...] = ()

    def __len__(self) -> int:
        """Return the number of photographs, failures included."""
        return len(self.paths)

    @cached_property
    def rows(self) -> dict[Path, int]:
        """The row of ``vectors`` of each photograph with a face."""
        return {self.paths[place]: row for row, place in enumerate(self.acquired)}

    @cached_property
    def data_digest(self) -> str:
        """SHA-256 (hex) over the photographs' names and bytes: the same for the same photographs, whatever the settings."""
        sha = hashlib.sha256()
        for path, digest in zip(self.paths, self.digests, strict=True):
            sha.update(f"{path.as_posix()}\0{digest}\n".encode("utf-8", "surrogateescape"))
        return sha.hexdigest()

    def as_dict(self) -> dict[str, object]:
        """Return what was read, and how long it took, as plain values."""
        return {
            "embedder_id": self.embedder_id,
            "data_digest": self.data_digest,
            "n_photographs": len(self),
            "n_cached": self.n_cached,
            "failures_to_acquire": [one.as_dict() for one in self.failures],
            "seconds": self.seconds,
        }

    def acquired_paths(self) -> tuple[Path, ...]:
        """Return the photograph of each row of ``vectors``."""
        return tuple(self.paths[place] for place in self.acquired)


class EmbedPhotographs:
    """Embeds photographs, each at most once a cache.

    Args:
        pipeline: Decodes, detects, aligns, embeds.
        recipe: What a template depends on besides photograph and choice of face, as plain JSON values.
        cache_dir: Folder of the cache where none is named; None for no cache.
    """

    def __init__(self, pipeline: FacePipeline, recipe: Mapping[str, object], *, cache_dir: Path | None = None) -> None:
        self._pipeline = pipeline
        self._recipe = recipe
        self._cache_dir = cache_dir

    @property
    def embedder_id(self) -> str:
        """The embedder of every template."""
        return self._pipeline.embedder_id

    def __call__(
        self,
        root: Path,
        paths: Iterable[Path],
        *,
        face: FaceChoice = "central",
        cache: Path | None = None,
        on_progress: Progress | None = None,
    ) -> EmbeddedPhotographs:
        """Return the template, or the failure, of every photograph.

        Args:
            root: Folder that relative paths start at.
            paths: Photographs; repeats count once.
            face: Which face of each photograph is meant.
            cache: Folder of the cache instead of the default one.
            on_progress: Called after each photograph.
        """
        checked_face_choice(face)
        wanted = tuple(sorted(set(paths)))
        folder = cache if cache is not None else self._cache_dir
        outcomes: list[CachedOutcome | None] = [None] * len(wanted)
        began = time.perf_counter()
        n_done = n_cached = 0

        def done(place: int, outcome: CachedOutcome) -> None:
            nonlocal n_done
            outcomes[place] = outcome
            n_done += 1
            if on_progress is not None:
                on_progress(n_done, len(wanted))

        if folder is None:
            with closing(self._embedded(root, wanted, range(len(wanted)), face)) as embedded:
                for place, _, outcome in embedded:
                    done(place, outcome)
        else:
            with TemplateCache(folder, {**self._recipe, "face": face}) as kept:
                unknown = []
                for place, path in enumerate(wanted):
                    stamp = FileStamp.of(root / path)
                    known = kept.find(stamp) if stamp is not None else None
                    if known is None:
                        unknown.append(place)
                    else:
                        n_cached += 1
                        done(place, known)
                with closing(self._embedded(root, wanted, unknown, face)) as embedded:
                    for place, stamp, outcome in embedded:
                        # A file that cannot be read today (permission, no space) may be readable tomorrow, and fails fast again.
                        if stamp is not None and outcome.code not in _NOT_KEPT:
                            kept.add(stamp, outcome)
                        done(place, outcome)
        return self._collected(wanted, [one for one in outcomes if one is not None], time.perf_counter() - began, n_cached)

    def _embedded(
        self, root: Path, wanted: tuple[Path, ...], places: Iterable[int], face: FaceChoice
    ) -> Generator[tuple[int, FileStamp | None, CachedOutcome], None, None]:
        """Yield place, stamp before reading and outcome of each photograph."""
        sources = (((place, FileStamp.of(root / wanted[place])), root / wanted[place]) for place in places)
        with closing(self._pipeline.stream(sources, face)) as done:
            for streamed in done:
                place, stamp = streamed.key
                yield place, stamp, _outcome(streamed, root / wanted[place])

    def _collected(
        self, wanted: tuple[Path, ...], outcomes: list[CachedOutcome], seconds: float, n_cached: int
    ) -> EmbeddedPhotographs:
        acquired = [place for place, one in enumerate(outcomes) if one.vector is not None]
        vectors = [one.vector for one in outcomes if one.vector is not None]
        qualities = tuple(one.quality for one in outcomes if one.quality is not None)
        matrix: Vectors = np.stack(vectors) if vectors else np.zeros((0, 1), dtype=np.float32)
        matrix.setflags(write=False)
        return EmbeddedPhotographs(
            embedder_id=self.embedder_id,
            paths=wanted,
            vectors=matrix,
            acquired=np.array(acquired, dtype=np.int64),
            detections=tuple(one.detection for one in outcomes if one.detection is not None),
            digests=tuple(one.digest for one in outcomes),
            failures=tuple(
                AcquisitionFailure(path.as_posix(), one.code, one.message)
                for path, one in zip(wanted, outcomes, strict=True)
                if one.vector is None
            ),
            seconds=seconds,
            n_cached=n_cached,
            qualities=qualities if len(qualities) == len(vectors) else (),
        )


_NOT_KEPT = frozenset({VANISHED, ImageDecodeError.code, ImageTooLargeError.code})


def _outcome(streamed: Streamed[tuple[int, FileStamp | None]], file: Path) -> CachedOutcome:
    if streamed.face is not None:
        face = streamed.face
        return CachedOutcome(face.image.digest, face.detection, face.template.vector, quality=face.quality)
    if streamed.error is None:
        raise ValueError("a streamed photograph has a face or an error")
    if streamed.error.code == ImageDecodeError.code and not is_there(file):
        return CachedOutcome("", code=VANISHED, message=f"{file} was listed and is not there any more")
    return CachedOutcome(file_digest(file), code=streamed.error.code, message=streamed.error.message)
