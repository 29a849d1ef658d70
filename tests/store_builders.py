"""Faces for the store's tests: seeded vectors with made-up provenance."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from facesearch.core.arrays import normalised
from facesearch.core.face import Detection
from facesearch.core.identity import Keep, KeptPicture, NewFace, Provenance
from facesearch.core.template import Template

EMBEDDER = "toy@0123456789ab"
OTHER_EMBEDDER = "toy@ba9876543210"
DIM = 16
ENROLLED_AT = datetime(2024, 2, 29, 23, 59, 58, 123456, tzinfo=UTC)


def vector(seed: int, dim: int = DIM) -> np.ndarray:
    return normalised(np.random.default_rng(seed).normal(size=dim))


def detection(seed: int) -> Detection:
    rng = np.random.default_rng(seed)
    x, y = rng.uniform(-5, 100, size=2)
    box = (float(x), float(y), float(x) + 40.1, float(y) + 50.3)
    return Detection(box, rng.uniform(0, 150, size=(5, 2)).astype(np.float32), float(rng.uniform(0.5, 1)))


def picture(seed: int, n_bytes: int = 3_000, kind: Keep = Keep.CROP) -> KeptPicture:
    points = tuple((float(x), float(y)) for x, y in np.random.default_rng(seed).uniform(0, 99, size=(5, 2)))
    return KeptPicture(kind, np.random.default_rng(seed).bytes(n_bytes), points, (1.5, 2.5, 30.25, 40.125))


def new_face(
    seed: int,
    *,
    embedder_id: str = EMBEDDER,
    dim: int = DIM,
    digest: str | None = None,
    source: str = "holiday/ångström.jpg",
    kept: KeptPicture | None = None,
) -> NewFace:
    provenance = Provenance(digest or f"{seed:064x}", source, detection(seed), ENROLLED_AT, {"face_px": 40.1, "blur": 1 / 3})
    return NewFace(Template(vector(seed, dim), embedder_id), provenance, kept)
