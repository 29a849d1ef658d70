"""The LFW protocols end to end, from the photographs through our own detector.

It fits and tunes nothing: figures are what the shipped settings give.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.core.arrays import Vectors
from facesearch.core.decision import OperatingPoints
from facesearch.core.errors import InputError
from facesearch.evaluation.lfw import LfwPair, read_pairs
from facesearch.evaluation.one_to_one import VerificationReport, verification_report
from facesearch.evaluation.trials import VerificationTrials
from facesearch.service.pipeline import FacePipeline

Progress = Callable[[int, int], None]
"""Called with the number of photographs done and the number of all."""


@dataclass(frozen=True, slots=True)
class AcquisitionFailure:
    """A photograph without a usable face.

    Attributes:
        path: Relative to the folder of images.
        code: The error's stable code, for example ``"no_face"``.
        message: A sentence for a person.
    """

    path: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class LfwEvaluation:
    """The outcome of the 1:1 protocol.

    Attributes:
        embedder_id: What was measured.
        report: Accuracy by folds and TAR at FMR, with counts.
        failures: Photographs without a usable face, by path.
        n_photographs: Photographs read.
        seconds: Time from the first photograph to the last template.
    """

    embedder_id: str
    report: VerificationReport
    failures: tuple[AcquisitionFailure, ...]
    n_photographs: int
    seconds: float

    @property
    def photographs_per_s(self) -> float:
        """Photographs decoded, detected and embedded a second."""
        return self.n_photographs / self.seconds if self.seconds > 0 else 0.0

    def as_dict(self) -> dict[str, object]:
        """Return everything as plain values; rates in [0, 1]."""
        return {
            "embedder_id": self.embedder_id,
            **self.report.as_dict(),
            "failures_to_acquire": [{"path": one.path, "code": one.code, "message": one.message} for one in self.failures],
            "n_photographs": self.n_photographs,
            "seconds": self.seconds,
            "photographs_per_s": self.photographs_per_s,
        }


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddedPhotographs:
    """Templates of many photographs.

    Attributes:
        vectors: One a photograph with a face, by path relative to the folder of images.
        failures: The others, by path.
        seconds: How long it took.
    """

    vectors: dict[Path, Vectors]
    failures: tuple[AcquisitionFailure, ...]
    seconds: float


class EvaluateLfw:
    """Runs the protocols.

    Args:
        pipeline: What is measured.
    """

    def __init__(self, pipeline: FacePipeline) -> None:
        self._pipeline = pipeline

    def embed(self, images: Path, paths: Iterable[Path], *, on_progress: Progress | None = None) -> EmbeddedPhotographs:
        """Embed photographs; the face is the one whose box centre is nearest the photograph's, without a fallback crop.

        Args:
            images: Folder the paths are relative to.
            paths: Photographs, repeats allowed.
            on_progress: Called after each photograph.

        Raises:
            InputError: A photograph does not exist: a protocol with holes measures nothing.
        """
        wanted = sorted(set(paths))
        missing = [path for path in wanted if not (images / path).is_file()]
        if missing:
            raise InputError(f"{len(missing)} of {len(wanted)} photographs are not in {images}, the first is {missing[0]}")
        vectors: dict[Path, Vectors] = {}
        failures = []
        began = time.perf_counter()
        for number, done in enumerate(self._pipeline.stream(((path, images / path) for path in wanted), "central"), start=1):
            if done.face is not None:
                vectors[done.key] = done.face.template.vector
            elif done.error is not None:
                failures.append(AcquisitionFailure(str(done.key), done.error.code, done.error.message))
            if on_progress is not None:
                on_progress(number, len(wanted))
        return EmbeddedPhotographs(vectors, tuple(failures), time.perf_counter() - began)

    def __call__(
        self, images: str | os.PathLike[str], pairs_file: str | os.PathLike[str], *, on_progress: Progress | None = None
    ) -> LfwEvaluation:
        """Run the 1:1 protocol of a list of pairs: ten folds for View 2, no folds for View 1.

        Args:
            images: Folder with ``<name>/<name>_0001.jpg``.
            pairs_file: ``pairs.txt`` or a View 1 list.
            on_progress: Called after each photograph.

        Raises:
            ProtocolFileError: The list is malformed.
            InputError: A photograph does not exist.
        """
        pairs = read_pairs(Path(pairs_file))
        embedded = self.embed(Path(images), (path for pair in pairs for path in pair.paths), on_progress=on_progress)
        trials = VerificationTrials(
            pair_scores(pairs, embedded.vectors),
            np.array([pair.is_mated for pair in pairs], dtype=np.bool_),
            np.array([pair.fold for pair in pairs], dtype=np.int64),
        )
        return LfwEvaluation(
            self._pipeline.embedder_id,
            verification_report(trials),
            embedded.failures,
            len(embedded.vectors) + len(embedded.failures),
            embedded.seconds,
        )


@dataclass(frozen=True, slots=True)
class StrangerCheck:
    """How often strangers came back as somebody.

    Attributes:
        fpir: The rate asked for.
        threshold: Cosine similarity it led to.
        n_enrolled: People in the gallery, one template each.
        n_strangers: Probes of people who are not.
        n_false: Strangers returned as somebody.
        n_mated: Probes of people who are enrolled.
        n_found: Of those, returned as the right person.
    """

    fpir: float
    threshold: float
    n_enrolled: int
    n_strangers: int
    n_false: int
    n_mated: int
    n_found: int


def stranger_check(
    gallery: Vectors, strangers: Vectors, mated: tuple[Vectors, Sequence[int]], points: OperatingPoints, *, fpir: float
) -> StrangerCheck:
    """Search strangers and enrolled people in a gallery and count what the shipped decision says.

    Args:
        gallery: float32 ``(G, D)``, one template a person.
        strangers: float32 ``(S, D)``, one photograph a person not enrolled.
        mated: float32 ``(M, D)`` further photographs of enrolled people, and the row of ``gallery`` each belongs to.
        points: The embedder's operating points.
        fpir: The rate asked for.
    """
    point = points.at_fpir(fpir, len(gallery))
    probes, rows = mated
    found = probes @ gallery.T
    right = (found.argmax(axis=1) == np.asarray(rows)) & (found.max(axis=1) >= point.threshold)
    return StrangerCheck(
        fpir=fpir,
        threshold=point.threshold,
        n_enrolled=len(gallery),
        n_strangers=len(strangers),
        n_false=int(((strangers @ gallery.T).max(axis=1) >= point.threshold).sum()),
        n_mated=len(probes),
        n_found=int(right.sum()),
    )


def pair_scores(pairs: Sequence[LfwPair], vectors: dict[Path, Vectors]) -> np.ndarray:
    """Return one score a pair, NaN where a photograph has no template."""
    scores = np.full(len(pairs), np.nan)
    for row, pair in enumerate(pairs):
        a, b = (vectors.get(path) for path in pair.paths)
        if a is not None and b is not None:
            scores[row] = float(np.clip(a @ b, -1.0, 1.0))
    return scores
