"""A network behind what makes its input of RGB bytes, as one torch module.

What ``inference.graph_file`` does to graphs of other people's files, this does to networks of torch.
"""

from __future__ import annotations

import torch
from torch import nn

from facesearch.embedding.card import Preparation


class Prepared(nn.Module):
    """A network that takes crops as they are.

    Args:
        network: Takes prepared pixels.
        preparation: What is done to the crop's pixels.
        layout: ``"nchw"`` or ``"nhwc"``, as the network wants them.
    """

    def __init__(self, network: nn.Module, preparation: Preparation, layout: str = "nchw") -> None:
        super().__init__()
        self.network = network
        self._is_standardised = preparation.is_standardised
        self._is_bgr = preparation.is_bgr
        self._is_nchw = layout == "nchw"
        self.register_buffer("mean", torch.tensor(preparation.mean), persistent=False)
        self.register_buffer("scale", torch.tensor(preparation.scale), persistent=False)
        self.mean: torch.Tensor
        self.scale: torch.Tensor

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return the network's vectors.

        Args:
            pixels: RGB 0–255 of shape ``(N, S, S, 3)``, uint8 or float.
        """
        planes = prepared(pixels, self.mean, self.scale, is_bgr=self._is_bgr, is_standardised=self._is_standardised)
        vectors: torch.Tensor = self.network(planes if self._is_nchw else planes.permute(0, 2, 3, 1))
        return vectors


def prepared_planes(pixels: torch.Tensor, preparation: Preparation) -> torch.Tensor:
    """Return crops as a network wants them: float32 ``(N, 3, S, S)`` of RGB 0–255 of shape ``(N, S, S, 3)``."""
    mean, scale = (torch.tensor(one, device=pixels.device) for one in (preparation.mean, preparation.scale))
    return prepared(pixels, mean, scale, is_bgr=preparation.is_bgr, is_standardised=preparation.is_standardised)


def prepared(pixels: torch.Tensor, mean: torch.Tensor, scale: torch.Tensor, *, is_bgr: bool, is_standardised: bool) -> torch.Tensor:
    """Return what ``Preparation`` says of crops ``(N, S, S, 3)``, as planes ``(N, 3, S, S)``."""
    values = pixels.to(mean.dtype)
    if is_standardised:
        centred = values - values.mean(dim=(1, 2, 3), keepdim=True)
        deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
        least = (values.shape[1] * values.shape[2] * values.shape[3]) ** -0.5
        values = centred / deviation.clamp_min(least)
    else:
        values = (values - mean) / scale
    if is_bgr:
        values = values.flip(3)
    return values.permute(0, 3, 1, 2)
