"""The three networks of the MTCNN cascade and their published weights.

The layers are those of Zhang et al. 2016, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", in
the sizes of the weights that the wheel of facenet-pytorch 2.5.3 carries. That package is never imported: only its weight files are
read, and torch only when a network has to be built. Nothing is trained here.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from facesearch.core.errors import CheckpointDigestError, CheckpointNotFoundError
from facesearch.inference import NetworkSpec

if TYPE_CHECKING:
    import torch

WHEEL = "facenet-pytorch==2.5.3"
"""What carries the weights: MIT licence, converted by its author from the models of Zhang et al."""

PNET_DIGEST = "a2a71925e0b9996a42f63e47efc1ca19043e69558b5c523b978d611dfae49c8f"
RNET_DIGEST = "bbb937de72efc9ef83b186c49f5f558467a1d7e3453a8ece0d71a886633f6a86"
ONET_DIGEST = "165bfbe42940416ccfb977545cf0e976d5bf321f67083ae2aaaa5c764280118d"

PNET_STRIDE = 2
"""Pixels between two cells of the P-Net."""

PNET_CELL_PX = 12
"""Side of the square that one cell of the P-Net looks at, in pixels."""

RNET_PX = 24
ONET_PX = 48


def weights_folder() -> Path:
    """Return the folder with the published weights, found without importing the package that holds it.

    Raises:
        CheckpointNotFoundError: facenet-pytorch is not installed.
    """
    found = importlib.util.find_spec("facenet_pytorch")
    places = list(found.submodule_search_locations or ()) if found else []
    if not places:
        raise CheckpointNotFoundError(
            f"the detector's weights come with facenet-pytorch, which is not installed: pip install {WHEEL}"
        )
    return Path(places[0], "data")


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
        NetworkSpec("mtcnn-p", PNET_DIGEST, partial(_pnet, folder), (1, 64, 64, 3), dynamic_axes=(0, 1, 2)),
        NetworkSpec("mtcnn-r", RNET_DIGEST, partial(_rnet, folder), (2, RNET_PX, RNET_PX, 3)),
        NetworkSpec("mtcnn-o", ONET_DIGEST, partial(_onet, folder), (2, ONET_PX, ONET_PX, 3)),
    )


def _state(folder: Path | None, name: str, digest: str) -> dict[str, torch.Tensor]:
    """Return the tensors of a weight file after checking that it is the published one.

    Raises:
        CheckpointNotFoundError: There is no such file.
        CheckpointDigestError: It is another file.
    """
    import torch

    path = (folder if folder is not None else weights_folder()) / name
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise CheckpointNotFoundError(
            f"the detector's weights {path} cannot be read ({exc.strerror}): pip install --force-reinstall {WHEEL}", path=str(path)
        ) from exc
    found = hashlib.sha256(content).hexdigest()
    if found != digest:
        raise CheckpointDigestError(
            f"{path} has SHA-256 {found[:12]}…, the published weights have {digest[:12]}…: pip install --force-reinstall {WHEEL}",
            path=str(path),
            found=found,
            expected=digest,
        )
    tensors: dict[str, torch.Tensor] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return tensors


def _stack(tensors: dict[str, torch.Tensor], layout: str) -> torch.nn.Sequential:
    """Return layers with their weights.

    Args:
        tensors: Weights by name, ``conv1.weight``, ``prelu1.weight``, ``dense4.weight``, …
        layout: Layers in order: ``c<n>`` convolution, ``d<n>`` dense, each followed by its PReLU; ``m<size>`` max pooling of stride
            2 that keeps a last, partly covered window; ``f`` flattening.
    """
    from torch import nn

    layers: list[nn.Module] = []
    for step in layout.split():
        kind, number = step[0], step[1:]
        if kind == "m":
            layers.append(nn.MaxPool2d(int(number), 2, ceil_mode=True))
        elif kind == "f":
            layers.append(_flatten())
        else:
            name = {"c": "conv", "d": "dense"}[kind] + number
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


def _pnet(folder: Path | None) -> Any:
    tensors = _state(folder, "pnet.pt", PNET_DIGEST)
    return _cascade_stage(_stack(tensors, "c1 m2 c2 c3"), _linear(tensors, "conv4_1"), [_linear(tensors, "conv4_2")])


def _rnet(folder: Path | None) -> Any:
    tensors = _state(folder, "rnet.pt", RNET_DIGEST)
    return _cascade_stage(_stack(tensors, "c1 m3 c2 m3 c3 f d4"), _linear(tensors, "dense5_1"), [_linear(tensors, "dense5_2")])


def _onet(folder: Path | None) -> Any:
    tensors = _state(folder, "onet.pt", ONET_DIGEST)
    heads = [_linear(tensors, "dense6_2"), _linear(tensors, "dense6_3")]
    return _cascade_stage(_stack(tensors, "c1 m3 c2 m3 c3 m2 c4 f d5"), _linear(tensors, "dense6_1"), heads)
