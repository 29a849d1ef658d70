"""PReLU whose slopes stay as they are, with a backward pass of its own.

torch's computes the slopes' gradients whether they are wanted or not, and both its kernels are slow in bfloat16 on processors:
together a third of a training step. It trains no slope; networks are exported as if nothing had been exchanged.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


class _Prelu(torch.autograd.Function):
    """``x + (slope − 1)·min(x, 0)``, in passes over the memory that vectorise in channels-last bfloat16."""

    @staticmethod
    def forward(context: Any, features: torch.Tensor, slopes: torch.Tensor) -> torch.Tensor:
        """Return the activation; in bfloat16 its rounding error is of the size of the features' own."""
        context.save_for_backward(features, slopes)
        return features.clamp_max(0).mul_(slopes - 1).add_(features)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Return the features' gradient: 1 where they are above 0, else the slope."""
        features, slopes = context.saved_tensors
        above = torch.ops.aten.threshold_backward(gradients[0], features, 0)
        return above.mul_(1 - slopes).addcmul_(gradients[0], slopes), None


class FrozenPReLU(nn.Module):
    """PReLU with fixed slopes.

    Args:
        slopes: One a channel, ``(C,)``, or one for all.
    """

    def __init__(self, slopes: torch.Tensor) -> None:
        super().__init__()
        # A parameter, so that files of weights hold it under the name that torch's PReLU gives it.
        self.weight = nn.Parameter(slopes.detach().clone(), requires_grad=False)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return the activation of maps ``(N, C, H, W)``."""
        slopes = self.weight.to(features.dtype).reshape(1, -1, 1, 1)
        activated: torch.Tensor = _Prelu.apply(features, slopes)
        return activated


def freeze_slopes(module: nn.Module) -> int:
    """Exchange every PReLU of a network, in place.

    Returns:
        How many there were.
    """
    n_found = 0
    for name, child in module.named_children():
        if isinstance(child, nn.PReLU):
            setattr(module, name, FrozenPReLU(child.weight))
            n_found += 1
        else:
            n_found += freeze_slopes(child)
    return n_found
