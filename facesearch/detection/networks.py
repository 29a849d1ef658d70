"""The three networks of the MTCNN cascade and their published weights.

The layers are those of Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", in
the sizes of the weights that the wheel of facenet-pytorch 2.5.3 carries. That package is never imported: only its weight files are
read, and torch only when a network has to be built. Nothing is trained here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesearch.detection.weights import ONET_DIGEST, PNET_DIGEST, RNET_DIGEST, read_weights
from facesearch.inference import NetworkSpec

if TYPE_CHECKING:
    import torch

PNET_STRIDE = 2
"""Pixels between two cells of the P-Net."""

PNET_CELL_PX = 12
"""Side of the square that one cell of the P-Net looks at, in pixels."""

RNET_PX = 24
ONET_PX = 48

PNET_LAYERS = "c1 m2 c2 c3"
RNET_LAYERS = "c1 m3 c2 m3 c3 d4"
ONET_LAYERS = "c1 m3 c2 m3 c3 m2 c4 d5"
"""Layers in order: ``c<n>`` convolution, ``d<n>`` dense, each followed by its PReLU; ``m<size>`` max pooling of stride 2 that keeps
a last, partly covered window. For the first dense layer maps are flattened with the channel fastest, then the row, then the column.
"""

PNET_HEADS = ("conv4_1", "conv4_2")
RNET_HEADS = ("dense5_1", "dense5_2")
ONET_HEADS = ("dense6_1", "dense6_2", "dense6_3")
"""Layers without PReLU after the last: two logits (not a face, face), the box's corrections, the landmarks."""


def network_specs(folder: Path | None = None) -> tuple[NetworkSpec, NetworkSpec, NetworkSpec]:
    """Return how to build the P-, R- and O-Net.

    All three take float32 RGB of shape ``(N, H, W, 3)`` in [0, 255]. The P-Net takes any H and W of at least 12; the R-Net takes
    24×24 and the O-Net 48×48. Outputs, the face score in [0, 1] first, the box's corrections in shares of its size second:

    * P-Net: ``(N, h, w)``, ``(N, 4, h, w)`` with one cell every two pixels;
    * R-Net: ``(N,)``, ``(N, 4)``;
    * O-Net: ``(N,)``, ``(N, 4)``, and the landmarks ``(N, 10)``, five x then five y in shares of the box's size.

    Args:
        folder: Where pnet.pt, rnet.pt and onet.pt are; None is the installed facenet-pytorch. Read only when a network is built.
    """
    return (
        NetworkSpec(
            "mtcnn-p",
            PNET_DIGEST,
            partial(_built, folder, "pnet.pt", PNET_DIGEST, PNET_LAYERS, PNET_HEADS),
            (1, 64, 64, 3),
            dynamic_axes=(0, 1, 2),
        ),
        NetworkSpec(
            "mtcnn-r",
            RNET_DIGEST,
            partial(_built, folder, "rnet.pt", RNET_DIGEST, RNET_LAYERS, RNET_HEADS),
            (2, RNET_PX, RNET_PX, 3),
        ),
        NetworkSpec(
            "mtcnn-o",
            ONET_DIGEST,
            partial(_built, folder, "onet.pt", ONET_DIGEST, ONET_LAYERS, ONET_HEADS),
            (2, ONET_PX, ONET_PX, 3),
        ),
    )


def _stack(tensors: dict[str, torch.Tensor], layout: str) -> torch.nn.Sequential:
    """Return layers with their weights.

    Args:
        tensors: Weights by name, ``conv1.weight``, ``prelu1.weight``, ``dense4.weight``, …
        layout: See ``RNET_LAYERS``.
    """
    from torch import nn

    layers: list[nn.Module] = []
    for step in layout.split():
        kind, number = step[0], step[1:]
        if kind == "m":
            layers.append(nn.MaxPool2d(int(number), 2, ceil_mode=True))
        else:
            name = {"c": "conv", "d": "dense"}[kind] + number
            if tensors[f"{name}.weight"].ndim == 2:
                layers.append(_flatten())
            layers += [_linear(tensors, name), _prelu(tensors[f"prelu{number}.weight"])]
    return nn.Sequential(*layers)


def _linear(tensors: dict[str, torch.Tensor], name: str) -> torch.nn.Module:
    """Return the convolution or dense layer of a name, its sizes taken from its weights."""
    from torch import nn

    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    layer: nn.Module
    if weight.ndim == 4:
        layer = nn.Conv2d(weight.shape[1], weight.shape[0], (weight.shape[2], weight.shape[3]))
    else:
        layer = nn.Linear(weight.shape[1], weight.shape[0])
    layer.load_state_dict({"weight": weight, "bias": bias})
    return layer


def _prelu(slopes: torch.Tensor) -> torch.nn.Module:
    from torch import nn

    layer = nn.PReLU(len(slopes))
    layer.load_state_dict({"weight": slopes})
    return layer


def _flatten() -> torch.nn.Module:
    from torch import nn

    class FlattenColumnsFirst(nn.Module):
        """Flatten maps as the original Caffe models were trained: channel fastest, then row, then column."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.permute(0, 3, 2, 1).flatten(1)

    return FlattenColumnsFirst()


def _cascade_stage(trunk: torch.nn.Module, face: torch.nn.Module, heads: Sequence[torch.nn.Module]) -> torch.nn.Module:
    """Return a whole network: RGB in, face score and the heads' outputs out."""
    from torch import nn

    class Stage(nn.Module):
        """One network of the cascade."""

        def __init__(self) -> None:
            super().__init__()
            self.trunk, self.face, self.heads = trunk, face, nn.ModuleList(heads)

        def forward(self, rgb: torch.Tensor) -> tuple[torch.Tensor, ...]:
            # The weights were trained on (value − 127.5) / 128; done here so that it costs no pass over the pixels.
            x = self.trunk((rgb.permute(0, 3, 1, 2) - 127.5) * 0.0078125)
            return (self.face(x).softmax(dim=1)[:, 1], *(head(x) for head in self.heads))

    return Stage().eval()


def _built(folder: Path | None, name: str, digest: str, layers: str, heads: Sequence[str]) -> Any:
    """Return a network with its published weights, those of the file ``name``."""
    import torch

    tensors = {key: torch.from_numpy(array) for key, array in read_weights(folder, name, digest).items()}
    face, *others = (_linear(tensors, head) for head in heads)
    return _cascade_stage(_stack(tensors, layers), face, others)
