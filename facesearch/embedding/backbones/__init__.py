"""Architectures by name.

They come without weights: see ``facesearch.embedding.checkpoint``. Importing this imports no torch, building one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from facesearch.core.errors import CheckpointFormatError

if TYPE_CHECKING:
    import torch

NAMES = ("mobilenet",)
"""Architectures that a model card may name."""


def check_backbone(name: str) -> str:
    """Return the name of an architecture.

    Raises:
        CheckpointFormatError: This release has none of that name.
    """
    if name not in NAMES:
        raise CheckpointFormatError(f"this release has no backbone {name!r}, only {', '.join(NAMES)}: update facesearch")
    return name


def build_backbone(name: str, dim: int, mean: Sequence[float], scale: float) -> torch.nn.Module:
    """Return an architecture without weights, in eval mode.

    Args:
        name: One of ``NAMES``.
        dim: Length of the vectors.
        mean: Subtracted from each channel of a pixel, RGB, 0–255.
        scale: What the difference is divided by.

    Raises:
        CheckpointFormatError: There is none of that name.
    """
    check_backbone(name)
    from facesearch.embedding.backbones.mobilenet import MobileNet

    return MobileNet(dim, mean, scale).eval()
