"""What the cascade asks of its three networks, whoever computes them.

Two things answer: ``native_stages`` (the compiled library) and ``engine_stages`` (the networks of an engine). Which boxes are kept,
and how they are corrected, is the cascade's business and is written once, in ``cascade``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from facesearch.core.arrays import Pixels
from facesearch.detection.boxes import Boxes, Rule
from facesearch.detection.pyramid import Level

HIT = np.dtype([("photo", "i4"), ("level", "i4"), ("row", "i4"), ("col", "i4"), ("score", "f4"), ("correction", "f4", (4,))])
"""A cell of the P-Net that sees a face."""

Floats = NDArray[np.float32]


class Search(Protocol):
    """The networks over one list of photographs.

    Crops are int ``(N, 5)``: place of the photograph, then left, top, right and bottom in its pixels, inside it, right and bottom
    excluded, none empty; those of one photograph stand together.
    """

    def proposals(self, threshold: float) -> NDArray[Any]:
        """Return the P-Net's cells whose score reaches a threshold: ``HIT``, by photograph, level, row and column."""
        ...

    def refinements(self, crops: NDArray[np.int32]) -> tuple[Floats, Floats]:
        """Return what the R-Net says of each crop: scores ``(N,)`` and corrections ``(N, 4)``."""
        ...

    def outputs(self, crops: NDArray[np.int32]) -> tuple[Floats, Floats, Floats]:
        """Return what the O-Net says of each crop: scores, corrections and landmarks ``(N, 10)``, five x, then five y."""
        ...


class Stages(Protocol):
    """The three networks, loaded. Safe to use from several threads."""

    def search(self, photos: Sequence[Pixels], levels: Sequence[tuple[Level, ...]]) -> Search:
        """Return the networks over some photographs, each with the levels of its pyramid."""
        ...

    def suppress_within(self, keys: NDArray[np.int64], boxes: Boxes, scores: Floats, rule: Rule) -> NDArray[np.int64]:
        """Return the boxes that survive among those of the same key; see ``boxes.suppress_within``."""
        ...
