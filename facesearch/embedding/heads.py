"""Heads that turn a feature map into one vector: sum, mean, max, GeM, R-MAC and flattening.

They hold no linear layer: see ``facesearch.embedding.embedding_network``. Vectors are not normalised.
"""

from __future__ import annotations

import math

import torch
from torch import nn

from facesearch.core.errors import ModelDescriptionError

LEAST = 1e-6
"""Values below it count as this in GeM: roots of nothing have no slope."""

LEAST_NORM = 1e-4
"""Regions' maxima shorter than this are not brought to unit norm in R-MAC: the slope of a direction grows as 1/length."""

GEM_START = 3.0
"""Power that GeM starts with, as Radenović et al. found it."""

RMAC_SCALES = 3
RMAC_OVERLAP = 0.4
"""R-MAC's numbers of scales and the share by which neighbouring regions overlap (Tolias et al. 2016, section 3.2)."""


class Flatten(nn.Module):
    """Every value of the map in a row, channels first: as many weights follow as there are places, and the face must be aligned."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(N, C·H·W)`` of ``(N, C, H, W)``."""
        # The layout of channels-last maps is not that of the weights: reshape, which copies where it must.
        return features.reshape(len(features), -1)


class Mean(nn.Module):
    """The mean of each channel."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(N, C)``."""
        return features.mean(dim=(2, 3))


class Sum(nn.Module):
    """The sum of each channel: SPoC (Babenko & Lempitsky 2015, "Aggregating deep convolutional features for image retrieval").

    Without their prior for the middle of the picture: faces are aligned, so that the linear layer behind can weigh nothing better.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(N, C)``."""
        return features.sum(dim=(2, 3))


class Max(nn.Module):
    """The greatest value of each channel: MAC (Razavian et al. 2016; Tolias, Sicre & Jégou 2016)."""

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(N, C)``."""
        return features.amax(dim=(2, 3))


class Gem(nn.Module):
    """The generalised mean of each channel with a learnt power: GeM (Radenović, Tolias & Chum 2018, section 3.2).

    ``(mean(max(x, LEAST)^p))^(1/p)``: power 1 is the mean, infinity the maximum. Negative values count as nothing.
    """

    def __init__(self) -> None:
        super().__init__()
        self.power = nn.Parameter(torch.tensor(GEM_START))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(N, C)``."""
        # In float32 whatever the arithmetic around: the third power of bf16 values loses what the root should find.
        values = features.float().clamp_min(LEAST)
        # In shares of each channel's largest value: high powers of small numbers are 0, whose root has no slope, of large ones inf.
        highest = values.detach().amax(dim=(2, 3), keepdim=True)
        pooled: torch.Tensor = (values / highest).pow(self.power).mean(dim=(2, 3)).pow(1.0 / self.power)
        return pooled * highest.flatten(1)


class Rmac(nn.Module):
    """The sum of the directions of the maxima in overlapping squares: R-MAC (Tolias, Sicre & Jégou 2016, section 3.2).

    Regions at three scales as ``rmac_regions`` lays them; each region's maxima are brought to unit norm before they are summed.
    Whitening of the regions is left out: the linear layer behind follows the sum.
    """

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return shape ``(N, C)``."""
        # Channels last, the rows of a square before its columns: torch walks along memory and not across it (20 times faster
        # than the maxima of squares at 56×56 places), and squares beside each other share their rows.
        places = features.permute(0, 2, 3, 1).contiguous()
        rows: dict[tuple[int, int], torch.Tensor] = {}
        parts = []
        for top, left, side in rmac_regions(int(places.shape[1]), int(places.shape[2])):
            if (top, side) not in rows:
                rows[top, side] = places[:, top : top + side].amax(dim=1)
            parts.append(nn.functional.normalize(rows[top, side][:, left : left + side].amax(dim=1), dim=1, eps=LEAST_NORM))
        return torch.stack(parts).sum(dim=0)


def rmac_regions(height: int, width: int) -> tuple[tuple[int, int, int], ...]:
    """Return R-MAC's squares as ``(top, left, side)`` in places of the map.

    At scale ``l`` of 1 … 3 the side is ``2·min(height, width) / (l + 1)``, and along the shorter side there are ``l`` squares.
    Along the longer side there are as many more as bring neighbours' overlap nearest to 40 %. Squares without a side are left out.

    Args:
        height: Of the map, at least 1.
        width: Likewise.
    """
    short, long = min(height, width), max(height, width)
    spare = min(range(1, 7), key=lambda n: abs((short * short - short * (long - short) / n) / short**2 - RMAC_OVERLAP))
    n_more = spare if long > short else 0
    regions: list[tuple[int, int, int]] = []
    for scale in range(1, RMAC_SCALES + 1):
        side = math.floor(2 * short / (scale + 1))
        if side < 1:
            continue
        downwards = scale + (n_more if height > width else 0)
        sideways = scale + (n_more if width > height else 0)
        regions += [(top, left, side) for top in _places(height, side, downwards) for left in _places(width, side, sideways)]
    return tuple(dict.fromkeys(regions))


def _places(length: int, side: int, n: int) -> list[int]:
    """Return where ``n`` squares begin that are spread evenly over a length."""
    step = (length - side) / (n - 1) if n > 1 else 0.0
    return [math.floor(place * step) for place in range(n)]


_HEADS: dict[str, type[nn.Module]] = {"flatten": Flatten, "mean": Mean, "sum": Sum, "max": Max, "gem": Gem, "rmac": Rmac}


def build_pooling(name: str) -> nn.Module:
    """Return a head by name.

    Raises:
        ModelDescriptionError: There is none of that name.
    """
    if name not in _HEADS:
        raise ModelDescriptionError(f"pooling is one of {', '.join(_HEADS)}, not {name!r}", field="pooling")
    return _HEADS[name]()
