"""A way of spoiling a photograph, for measuring what an embedder stands.

It spoils nothing itself: the ways there are lie in ``facesearch.imaging.damage``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from facesearch.core.arrays import Pixels
from facesearch.core.face import Box

Spoil = Callable[[Pixels, Box, "np.random.Generator"], Pixels]
"""Takes an RGB photograph, the box of its face and a source of chance; returns the spoilt photograph."""


@dataclass(frozen=True, slots=True)
class Damage:
    """One way of spoiling a photograph.

    Attributes:
        name: Stable name, for example ``"jpeg-10"``.
        what: What is done, in a sentence.
        spoil: Does it; the same photograph, box and chance give the same pixels.
    """

    name: str
    what: str
    spoil: Spoil
