"""Architectures by name.

They come without weights: see ``facesearch.embedding.checkpoint``. Importing this imports no torch, building one does.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from facesearch.core.errors import CheckpointFormatError

if TYPE_CHECKING:
    import torch

NAMES = ("mobilenet", "inception-resnet-v1", "dlib-resnet-29")
"""Architectures that a model card may name by themselves, as their publishers made them."""

TRAINABLE = (*NAMES, "resnet-18", "resnet-50", "mobilenet-v3-small", "mobilenet-v3-large")
"""Backbones that an ``Architecture`` may be made of: those above and torchvision's."""


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
        dim: Length of the vectors; the other architectures than ``mobilenet`` have a length of their own.
        mean: Subtracted from each channel of a pixel, RGB, 0–255. Only ``mobilenet`` does that itself.
        scale: What the difference is divided by.

    Raises:
        CheckpointFormatError: There is none of that name.
    """
    check_backbone(name)
    if name == "inception-resnet-v1":
        # The architecture is facenet-pytorch's own class, which also brings the detector's weights: nothing to write again.
        from facenet_pytorch import InceptionResnetV1

        network: torch.nn.Module = InceptionResnetV1(pretrained=None, classify=False)
        return network.eval()
    if name == "dlib-resnet-29":
        from facesearch.embedding.backbones.dlib_resnet import DlibResNet

        return DlibResNet().eval()
    from facesearch.embedding.backbones.mobilenet import MobileNet

    return MobileNet(dim, mean, scale).eval()
