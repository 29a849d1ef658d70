"""Backbones as a row of named stages, each taking the feature map of the one before: what layers are pooled and frozen by.

They come without weights, and heads of their own are left out: see ``facesearch.embedding.heads``. Nothing is downloaded.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from facesearch.core.errors import ModelDescriptionError
from facesearch.embedding.architecture import Architecture
from facesearch.embedding.backbones import build_backbone
from facesearch.embedding.backbones.mobilenet import BLOCKS, STEM_CHANNELS, Block, Stem

Stages = OrderedDict[str, nn.Module]


class _DlibStem(nn.Module):
    """What comes before dlib's first block: convolution 7×7, ReLU and a maximum over 3×3, at a quarter of the resolution."""

    def __init__(self, conv: nn.Module) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return features of shape ``(N, 32, 35, 35)``."""
        return nn.functional.max_pool2d(nn.functional.relu(self.conv(planes)), 3, 2)


def build_stages(architecture: Architecture) -> Stages:
    """Return a backbone's stages up to the layer that is pooled, with random weights.

    Raises:
        ModelDescriptionError: The backbone has no such layer; lists those it has.
    """
    stages = _all_stages(architecture)
    layer = architecture.layer
    if layer is None:
        return stages
    if layer not in stages:
        raise ModelDescriptionError(
            f"{architecture.backbone} has no layer {layer!r}, only {', '.join(stages)}", field="layer", layers=list(stages)
        )
    names = list(stages)
    return OrderedDict((name, stages[name]) for name in names[: names.index(layer) + 1])


def _all_stages(architecture: Architecture) -> Stages:
    backbone = architecture.backbone
    if backbone == "mobilenet":
        return _mobilenet(architecture.width, has_norms=architecture.has_norms)
    if backbone == "dlib-resnet-29":
        network = build_backbone(backbone, architecture.dim, (0.0,) * 3, 1.0)
        return OrderedDict([("stem", _DlibStem(network.stem)), *_numbered(network.blocks)])  # type: ignore[arg-type]
    if backbone == "inception-resnet-v1":
        return _inception(build_backbone(backbone, architecture.dim, (0.0,) * 3, 1.0))
    if backbone.startswith("resnet-"):
        return _resnet(backbone)
    return _mobilenet_v3(backbone)


def _mobilenet(width: float, *, has_norms: bool) -> Stages:
    """Return MobileNet V1's stages (Howard et al. 2017; ``width`` is their multiplier α)."""

    def scaled(n: int) -> int:
        return max(8, round(n * width / 8) * 8)

    channels = scaled(STEM_CHANNELS)
    stages: Stages = OrderedDict(stem=Stem(channels, has_norms=has_norms))
    for number, (out_channels, stride) in enumerate(BLOCKS, start=1):
        stages[f"block{number}"] = Block(channels, scaled(out_channels), stride, has_norms=has_norms)
        channels = scaled(out_channels)
    for module in (one for stage in stages.values() for one in stage.modules()):
        if isinstance(module, nn.Conv2d):
            # He et al. 2015, for the slope that a PReLU begins with; a depthwise layer's fan-out is its kernel.
            nn.init.kaiming_normal_(module.weight, a=0.25, mode="fan_in")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return stages


def _resnet(backbone: str) -> Stages:
    """Return torchvision's ResNet without its classifier (He et al. 2016)."""
    from torchvision.models import resnet18, resnet50

    network = resnet18(weights=None) if backbone == "resnet-18" else resnet50(weights=None)
    stem = nn.Sequential(OrderedDict(conv1=network.conv1, bn1=network.bn1, relu=network.relu, maxpool=network.maxpool))
    return OrderedDict([("stem", stem), *((name, getattr(network, name)) for name in ("layer1", "layer2", "layer3", "layer4"))])


def _mobilenet_v3(backbone: str) -> Stages:
    """Return torchvision's MobileNetV3 without its classifier (Howard et al. 2019)."""
    from torchvision.models import mobilenet_v3_large, mobilenet_v3_small

    network = mobilenet_v3_small(weights=None) if backbone == "mobilenet-v3-small" else mobilenet_v3_large(weights=None)
    parts = list(network.features)
    return OrderedDict([("stem", parts[0]), *_numbered(parts[1:-1]), ("top", parts[-1])])


def _inception(network: nn.Module) -> Stages:
    """Return facenet-pytorch's Inception-ResNet v1 without its linear layer and dropout (Szegedy et al. 2017)."""
    stem = ("conv2d_1a", "conv2d_2a", "conv2d_2b", "maxpool_3a", "conv2d_3b", "conv2d_4a", "conv2d_4b")
    stages: Stages = OrderedDict(stem=nn.Sequential(OrderedDict((name, getattr(network, name)) for name in stem)))
    for name in ("repeat_1", "mixed_6a", "repeat_2", "mixed_7a", "repeat_3", "block8"):
        stages[name] = getattr(network, name)
    return stages


def _numbered(parts: nn.Sequential | list[nn.Module]) -> list[tuple[str, nn.Module]]:
    return [(f"block{number}", part) for number, part in enumerate(parts, start=1)]
