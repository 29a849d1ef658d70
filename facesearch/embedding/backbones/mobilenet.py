"""MobileNet V1 for faces (Howard et al. 2017): stride-1 stem, PReLU, flattened head, batch norms folded away.

``MobileNet`` takes pixels as they are and returns unit vectors, so that normalisation and layout run inside the compiled graph. It
holds no weights of its own and cannot be trained from scratch as it stands: that needs batch norms, which blocks can be made with
(see ``stages``).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

CROP_PX = 112
"""Side of the crop the flattened head is made for."""

STEM_CHANNELS = 32
BLOCKS = (
    (64, 1),
    (128, 2),
    (128, 1),
    (256, 2),
    (256, 1),
    (512, 2),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (512, 1),
    (1024, 2),
    (1024, 1),
)
"""Output channels and stride of each depthwise-separable block."""


class Stem(nn.Module):
    """Convolution 3×3 and PReLU at full resolution.

    Args:
        channels: Of the features.
        has_norms: Whether a batch norm follows the convolution.
    """

    def __init__(self, channels: int = STEM_CHANNELS, *, has_norms: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1, bias=not has_norms)
        self.norm = _norm(channels, has_norms=has_norms)
        self.prelu = nn.PReLU(channels)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return features of shape ``(N, channels, H, W)``."""
        features: torch.Tensor = self.prelu(self.norm(self.conv(pixels)))
        return features


class Block(nn.Module):
    """Depthwise-separable convolution with a PReLU after each half.

    Args:
        in_channels: Of what it takes.
        out_channels: Of what it returns.
        stride: 1, or 2 to halve the size.
        has_norms: Whether a batch norm follows each convolution.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, *, has_norms: bool = False) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(in_channels, in_channels, 3, stride=stride, padding=1, groups=in_channels, bias=not has_norms)
        self.norm1 = _norm(in_channels, has_norms=has_norms)
        self.prelu1 = nn.PReLU(in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, 1, bias=not has_norms)
        self.norm2 = _norm(out_channels, has_norms=has_norms)
        self.prelu2 = nn.PReLU(out_channels)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features with the block's channels, halved in size at stride 2."""
        halfway = self.prelu1(self.norm1(self.depthwise(features)))
        deeper: torch.Tensor = self.prelu2(self.norm2(self.pointwise(halfway)))
        return deeper


def _norm(channels: int, *, has_norms: bool) -> nn.Module:
    return nn.BatchNorm2d(channels) if has_norms else nn.Identity()


class MobileNet(nn.Module):
    """The embedder's network: 0.57 GMAC a face and 9.6 M parameters at 128 dimensions.

    Args:
        dim: Length of the vectors.
        mean: Subtracted from each channel, RGB, 0–255.
        scale: What the difference is divided by.
    """

    def __init__(self, dim: int, mean: Sequence[float], scale: float) -> None:
        super().__init__()
        self.stem = Stem()
        blocks = []
        channels, side = STEM_CHANNELS, CROP_PX
        for out_channels, stride in BLOCKS:
            blocks.append(Block(channels, out_channels, stride))
            channels, side = out_channels, side // stride
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels * side * side, dim)
        # Constants of the graph, no part of a checkpoint.
        self.register_buffer("mean", torch.tensor(tuple(mean)).reshape(1, 3, 1, 1), persistent=False)
        self.mean: torch.Tensor
        self.scale = float(scale)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the vectors of aligned faces.

        Args:
            pixels: RGB 0–255 of shape ``(N, 112, 112, 3)``, uint8 or float.

        Returns:
            Shape ``(N, dim)``, unit L2 norm; zero where the network's output is.
        """
        planes = (pixels.permute(0, 3, 1, 2).to(self.mean.dtype) - self.mean) / self.scale
        features = self.blocks(self.stem(planes))
        return nn.functional.normalize(self.fc(torch.flatten(features, 1)), dim=1)
