"""Comparable vectors of faces.

Comparing gives a score; deciding what it means is ``facesearch.core.decision``'s work.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors, checked_vector, freeze
from facesearch.core.errors import IncompatibleTemplatesError, TemplateFormatError


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The vector of one face and the embedder it came from.

    Attributes:
        vector: float32 ``(D,)`` of unit L2 norm, read-only.
        embedder_id: ``<name>@<12 hex digits of the weights' SHA-256>``, with ``+flip`` for flip-averaged vectors.
    """

    vector: Vectors
    embedder_id: str

    def __post_init__(self) -> None:
        """Check and freeze the vector."""
        object.__setattr__(self, "vector", checked_vector(self.vector))

    @property
    def dim(self) -> int:
        """Length of the vector."""
        return int(self.vector.shape[0])


@dataclass(frozen=True, slots=True, eq=False)
class TemplateBatch:
    """Enrolled templates of one embedder in columns, as the store hands them to an index.

    Attributes:
        template_ids: int64 ``(N,)``, unique, never reused.
        identity_ids: int64 ``(N,)``, the identity each template belongs to.
        vectors: float32 ``(N, D)``, unit norm rows.
        embedder_id: The embedder of every row.
    """

    template_ids: NDArray[np.int64]
    identity_ids: NDArray[np.int64]
    vectors: Vectors
    embedder_id: str

    def __post_init__(self) -> None:
        """Check that the columns agree and freeze them."""
        ids = np.asarray(self.template_ids, dtype=np.int64)
        owners = np.asarray(self.identity_ids, dtype=np.int64)
        vectors = np.ascontiguousarray(self.vectors, dtype=np.float32)
        if vectors.ndim != 2 or ids.shape != (len(vectors),) or owners.shape != ids.shape:
            raise TemplateFormatError(f"columns disagree: {ids.shape} ids, {owners.shape} owners, {vectors.shape} vectors")
        for name, column in (("template_ids", ids), ("identity_ids", owners), ("vectors", vectors)):
            object.__setattr__(self, name, freeze(column))

    def __len__(self) -> int:
        """Return the number of templates."""
        return len(self.template_ids)


def require_same_embedder(embedder_id: str, other_id: str, *, what: str = "template") -> None:
    """Raise unless both ids name the same embedder.

    Raises:
        IncompatibleTemplatesError: They differ; names both.
    """
    if embedder_id != other_id:
        raise IncompatibleTemplatesError(
            f"{what} is of embedder {other_id}, the other side of {embedder_id}: vectors of different embedders cannot be "
            "compared; re-enroll the photographs with one embedder (facesearch enroll) or choose the one the gallery was made with",
            embedder_id=embedder_id,
            other_id=other_id,
        )


def compare(a: Template, b: Template) -> float:
    """Return the score of two templates: their cosine similarity in [-1, 1], higher is more alike.

    Raises:
        IncompatibleTemplatesError: The templates come from different embedders or differ in length.
    """
    require_same_embedder(a.embedder_id, b.embedder_id)
    if a.dim != b.dim:
        raise IncompatibleTemplatesError(f"one template is {a.dim}-d, the other {b.dim}-d", dims=(a.dim, b.dim))
    return float(np.clip(np.dot(a.vector.astype(np.float64), b.vector.astype(np.float64)), -1.0, 1.0))


def squared_distance(score: float) -> float:
    """Return the squared Euclidean distance of two unit vectors from their cosine similarity: ``2 − 2·score``, in [0, 4]."""
    return 2.0 - 2.0 * score
