"""dlib's face network (King 2017, ``dnn_face_recognition_ex.cpp``): 29 convolutions in residual blocks, at 150 pixels.

It takes prepared pixels and returns unit vectors. dlib's affine layers are folded into the convolutions; see ``dlib_file``.
"""

from __future__ import annotations

import torch
from torch import nn

STEM_CHANNELS = 32
BLOCKS = (
    *((32, 1),) * 3,
    (64, 2),
    *((64, 1),) * 3,
    (128, 2),
    *((128, 1),) * 2,
    (256, 2),
    *((256, 1),) * 2,
    (256, 2),
)
"""Output channels and stride of each residual block."""

DIM = 128


class _Residual(nn.Module):
    """``ReLU(shortcut(x) + conv2(ReLU(conv1(x))))``; the shortcut has no weights: identity, or a mean over 2×2 at stride 2."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        # dlib pads a convolution only where its stride is 1.
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride=stride, padding=1 if stride == 1 else 0)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.stride = stride

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return features of the block's channels, halved in size at stride 2."""
        deeper = self.conv2(nn.functional.relu(self.conv1(features)))
        shortcut = features if self.stride == 1 else nn.functional.avg_pool2d(features, 2, 2)
        return nn.functional.relu(_padded(deeper, shortcut) + _padded(shortcut, deeper))


def _padded(features: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    """Return features as large as others at least: zeros at the right, at the bottom and in the channels (``add_prev``)."""
    channels, height, width = (max(0, there - here) for there, here in zip(other.shape[1:], features.shape[1:], strict=True))
    return nn.functional.pad(features, (0, width, 0, height, 0, channels)) if channels or height or width else features


class DlibResNet(nn.Module):
    """dlib's face network without weights."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, STEM_CHANNELS, 7, stride=2)
        blocks = []
        channels = STEM_CHANNELS
        for out_channels, stride in BLOCKS:
            blocks.append(_Residual(channels, out_channels, stride))
            channels = out_channels
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, DIM, bias=False)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the vectors of prepared crops.

        Args:
            planes: Shape ``(N, 3, 150, 150)``.

        Returns:
            Shape ``(N, 128)``, unit L2 norm.
        """
        features = self.blocks(nn.functional.max_pool2d(nn.functional.relu(self.stem(planes)), 3, 2))
        return nn.functional.normalize(self.fc(features.mean(dim=(2, 3))), dim=1)
