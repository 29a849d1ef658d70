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
        values = pixels.to(self.mean.dtype)
        if self._is_standardised:
            centred = values - values.mean(dim=(1, 2, 3), keepdim=True)
            deviation = centred.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            least = (values.shape[1] * values.shape[2] * values.shape[3]) ** -0.5
            values = centred / deviation.clamp_min(least)
        else:
            values = (values - self.mean) / self.scale
        if self._is_bgr:
            values = values.flip(3)
        vectors: torch.Tensor = self.network(values.permute(0, 3, 1, 2) if self._is_nchw else values)
        return vectors
