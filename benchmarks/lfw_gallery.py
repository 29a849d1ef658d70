"""Templates of all photographs of LFW for the other benchmarks: read from a file, or embedded once and written there.

It reports nothing.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from facesearch.evaluation.lfw import read_people

HALVES = ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9))
"""Folds 1-5 and 6-10 of ``people.txt``, counted from 0: what is chosen on one half is reported on the other, both ways round."""


@dataclass(frozen=True, eq=False)
class LfwTemplates:
    """Every photograph of LFW in which a face was found.

    Attributes:
        vectors: float32 ``(N, D)`` of unit norm.
        people: int64 ``(N,)``, the person's row in ``people.txt``.
        half: int64 ``(N,)``, 0 for folds 1-5 and 1 for folds 6-10.
        scores: float64 ``(N,)``, the detector's.
        sides: float64 ``(N,)``, shorter side of the face's box in pixels.
        paths: N paths relative to the folder of images.
    """

    vectors: np.ndarray
    people: np.ndarray
    half: np.ndarray
    scores: np.ndarray
    sides: np.ndarray
    paths: np.ndarray


def lfw_templates(lfw: Path, cache: Path | None) -> LfwTemplates:
    """Return the templates of the shipped embedder through the shipped detector.

    Args:
        lfw: Folder with ``images/`` and ``people.txt``.
        cache: NumPy archive with ``vectors``, ``paths``, ``scores`` and ``boxes``; written where there is none. None embeds.
    """
    if cache is None or not cache.is_file():
        columns = _embedded(lfw / "images")
        if cache is not None:
            np.savez(cache, **columns)
    else:
        with np.load(cache) as archive:
            columns = {name: archive[name] for name in ("vectors", "paths", "scores", "boxes")}
    rows = {person.name: number for number, person in enumerate(read_people(lfw / "people.txt"))}
    folds = {person.name: person.fold for person in read_people(lfw / "people.txt")}
    names = [str(path).split("/")[0] for path in columns["paths"]]
    boxes = columns["boxes"]
    return LfwTemplates(
        vectors=columns["vectors"],
        people=np.array([rows[name] for name in names]),
        half=np.array([int(folds[name] in HALVES[1]) for name in names]),
        scores=np.asarray(columns["scores"], dtype=np.float64),
        sides=np.minimum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]).astype(np.float64),
        paths=columns["paths"],
    )


def _embedded(images: Path) -> dict[str, np.ndarray]:
    from facesearch.bootstrap import Parts
    from facesearch.settings import Settings

    paths = sorted(path.relative_to(images) for path in images.glob("*/*.jpg"))
    found = []
    for number, done in enumerate(Parts(Settings()).pipeline.stream(((path, images / path) for path in paths), "central"), start=1):
        if done.face is not None:
            found.append((done.key, done.face))
        if number % 1000 == 0:
            print(f"{number} of {len(paths)} photographs", file=sys.stderr)
    return {
        "vectors": np.stack([face.template.vector for _, face in found]),
        "paths": np.array([path.as_posix() for path, _ in found]),
        "scores": np.array([face.detection.score for _, face in found]),
        "boxes": np.array([face.detection.box for _, face in found]),
    }
