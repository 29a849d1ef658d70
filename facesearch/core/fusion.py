"""Several photographs of one person against one probe: best-of, mean, and quality-weighted mean.

It compares and decides nothing by itself: which comparisons count for a threshold is said by ``n_comparisons``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import StrEnum
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Vectors, normalised
from facesearch.core.errors import InputError
from facesearch.core.face import Detection
from facesearch.core.identity import EnrolledTemplate
from facesearch.core.template import Template, compare, require_same_embedder

FULL_FACE_PX = 112
"""Shorter side of a face's box, in pixels, from which size no longer adds to a template's weight: the side of usual crops."""

MIN_WEIGHT = 0.05
"""Smallest weight of a template: a person whose photographs are all poor still has a fused template."""

FUSED_CHANCES = 3
"""Single comparisons that one with a fused template counts for, at most.

A mean of several photographs has lost part of their noise, so that strangers score higher against it than against any one of them.
On either half of LFW the shipped points, taken at one chance a person, let through 1.4 to 2.4 times the strangers asked for
(docs/fusion.md); rounded up, because the rate is a promise.
"""

MIN_NORM = 1e-3
"""Length of a weighted sum of unit vectors (weights adding up to 1) below which it has no direction worth the name."""


class Fusion(StrEnum):
    """How several templates of a person become one score against a probe.

    ``BEST``: the highest of the scores. ``MEAN``: the score of the normalised mean of the templates. ``QUALITY``: likewise, each
    template weighted by ``quality_weight``.
    """

    BEST = "best"
    MEAN = "mean"
    QUALITY = "quality"

    @property
    def most_chances(self) -> int | None:
        """How many of a person's templates count as chances of a stranger at most; None for ``BEST``: all do."""
        return None if self is Fusion.BEST else FUSED_CHANCES

    def n_comparisons(self, template_counts: Iterable[int]) -> int:
        """Return how many chances a stranger has against people with so many templates each.

        It is the number that the union bound of ``OperatingPoints.at_fpir`` is taken over.
        """
        most = self.most_chances
        return sum(count if most is None else min(count, most) for count in template_counts)


DEFAULT_FUSION = Fusion.MEAN
"""Chosen on LFW (docs/fusion.md): it misses fewer enrolled people than best-of at the same FPIR; quality weights added nothing."""


def quality_weight(detection: Detection) -> float:
    """Return the weight of a template, from the face it was made of: detector score times size, in [``MIN_WEIGHT``, 1].

    The size is the shorter side of the box over ``FULL_FACE_PX``, at most 1.
    """
    size = min(1.0, min(detection.width, detection.height) / FULL_FACE_PX)
    return max(MIN_WEIGHT, detection.score * size)


def fused_vector(vectors: NDArray[np.float32], weights: Sequence[float] | None = None) -> Vectors:
    """Return the unit vector of a weighted mean.

    Args:
        vectors: ``(N, D)`` of unit norm, N at least 1.
        weights: N positive numbers; None weights all the same.

    Returns:
        float32 ``(D,)``. Vectors that cancel each other out (a sum without direction) leave the one of the largest weight, the
        first of several.

    Raises:
        InputError: No vectors, or weights that are not as many positive numbers.
    """
    rows = np.asarray(vectors, dtype=np.float64)
    if rows.ndim != 2 or not len(rows):
        raise InputError(f"fusion needs at least one vector, shape (N, D), not {rows.shape}")
    shares = np.ones(len(rows)) if weights is None else np.asarray(weights, dtype=np.float64)
    if shares.shape != (len(rows),) or not (np.isfinite(shares).all() and (shares > 0).all()):
        raise InputError(f"{len(rows)} vectors need as many positive weights, not {shares.tolist()}")
    total = (shares / shares.sum()) @ rows
    if float(np.linalg.norm(total)) < MIN_NORM:
        return normalised(rows[int(shares.argmax())])
    return normalised(total)


def fused_vectors(identity_ids: NDArray[np.int64], vectors: Vectors) -> tuple[NDArray[np.int64], Vectors]:
    """Return ``fused_vector`` of many people at once, every template of equal weight.

    Args:
        identity_ids: ``(N,)``, whose each vector is.
        vectors: float32 ``(N, D)`` of unit norm.

    Returns:
        The ``P`` different ids, ascending, and float32 ``(P, D)`` of unit norm.
    """
    order = np.argsort(identity_ids, kind="stable")
    people, starts = np.unique(identity_ids[order], return_index=True)
    if not len(people):
        return people, vectors[:0]
    ordered = vectors[order].astype(np.float64)
    sums = np.add.reduceat(ordered, starts, axis=0)
    counts = np.diff(np.append(starts, len(order)))
    norms = np.linalg.norm(sums, axis=1)
    is_lost = norms < MIN_NORM * counts
    sums[is_lost], norms[is_lost] = ordered[starts[is_lost]], 1.0
    return people, normalised(sums / norms[:, None])


def fused_template(enrolled: Sequence[EnrolledTemplate], fusion: Fusion) -> Template:
    """Return the one template that stands for a person under ``MEAN`` or ``QUALITY``.

    Raises:
        InputError: No templates, or ``fusion`` is ``BEST``, which has no such template.
        IncompatibleTemplatesError: They come from different embedders.
    """
    if fusion is Fusion.BEST or not enrolled:
        raise InputError(f"{len(enrolled)} templates have no fused template under {fusion!s}")
    embedder_id = enrolled[0].template.embedder_id
    for one in enrolled:
        require_same_embedder(embedder_id, one.template.embedder_id)
    weights = [quality_weight(one.provenance.detection) for one in enrolled] if fusion is Fusion.QUALITY else None
    return Template(fused_vector(np.stack([one.template.vector for one in enrolled]), weights), embedder_id)


def fused_score(probe: Template, enrolled: Iterable[EnrolledTemplate], fusion: Fusion) -> float:
    """Return the score of a probe against a person, in [-1, 1].

    Raises:
        InputError: The person has no template.
        IncompatibleTemplatesError: A template comes from another embedder than the probe.
    """
    templates = tuple(enrolled)
    if not templates:
        raise InputError("a person without templates has no score")
    match fusion:
        case Fusion.BEST:
            return max(compare(probe, one.template) for one in templates)
        case Fusion.MEAN | Fusion.QUALITY:
            return compare(probe, fused_template(templates, fusion))
    assert_never(fusion)
