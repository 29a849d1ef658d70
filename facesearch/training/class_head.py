"""Margin softmax over the people of the training set: ArcFace and CosFace, with a sampled class head for many people.

The head is thrown away after training. It keeps one vector a person, so it suits people known beforehand.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from facesearch.core.errors import InputError
from facesearch.training.losses import LossValue

Kind = Literal["arcface", "cosface"]


class MarginSoftmax(nn.Module):
    """Cross entropy of scaled cosines to one vector a person, the own person's with a margin.

    ArcFace adds the margin to the angle (Deng et al. 2019), CosFace takes it from the cosine (Wang et al. 2018). With a sampled
    head a step looks at the batch's own people and a random share of the others (partial FC, An et al. 2021).

    Args:
        kind: ``"arcface"`` or ``"cosface"``.
        n_people: Classes, at least 2.
        dim: Of the vectors.
        scale: What cosines are multiplied by.
        margin: In radians (ArcFace) or as a cosine (CosFace).
        share: Of the people who are not in the batch, how many a step looks at beside the batch's own, in (0, 1]; 1 looks at all.

    Raises:
        InputError: A number is out of range.
    """

    def __init__(
        self, kind: Kind, n_people: int, dim: int, *, scale: float = 32.0, margin: float = 0.4, share: float = 1.0
    ) -> None:
        super().__init__()
        if n_people < 2:
            raise InputError(f"a loss over people needs two of them, not {n_people}: bring more, or distil from a teacher")
        if not (scale > 0 and 0.0 <= margin < math.pi / 2 and 0.0 < share <= 1.0):
            raise InputError(f"scale > 0, 0 ≤ margin < π/2 and 0 < share ≤ 1 are needed, not {scale}, {margin}, {share}")
        self.kind, self.scale, self.margin, self.share = kind, scale, margin, share
        self.weight = nn.Parameter(torch.empty(n_people, dim))
        nn.init.normal_(self.weight, std=0.01)

    def candidates(self, labels: torch.Tensor, seed: int) -> torch.Tensor:
        """Return the classes that a step looks at, ascending int64: those of the batch, and as many others as the share says."""
        own = torch.unique(labels)
        n_people = self.weight.shape[0]
        n_wanted = own.numel() + math.ceil(self.share * (n_people - own.numel()))
        if n_wanted >= n_people:
            return torch.arange(n_people, device=labels.device)
        # The batch's people rank first, the others at random: a draw without a copy of the list of the others.
        rank = torch.rand(n_people, generator=torch.Generator().manual_seed(seed)).to(labels.device)
        rank[own] = -1.0
        return rank.topk(n_wanted, largest=False).indices.sort().values

    def start_from(self, centres: torch.Tensor) -> None:
        """Begin with each person's mean vector instead of noise: nothing has to be unlearned first.

        Args:
            centres: ``(n_people, dim)``.
        """
        with torch.no_grad():
            self.weight.copy_(nn.functional.normalize(centres, dim=1))

    def forward(self, vectors: torch.Tensor, labels: torch.Tensor, seed: int = 0) -> LossValue:
        """Return the mean cross entropy.

        Args:
            vectors: Unit, ``(B, dim)``.
            labels: Number of each crop's person, from 0, ``(B,)``.
            seed: Of the sampled head.

        Returns:
            The loss; active are crops whose own person is not the first even without the margin.
        """
        chosen = self.candidates(labels, seed)
        weight = nn.functional.normalize(self.weight[chosen] if chosen.numel() < self.weight.shape[0] else self.weight, dim=1)
        cosines = vectors @ weight.T
        place = torch.searchsorted(chosen, labels)
        rows = torch.arange(labels.numel(), device=labels.device)
        own = cosines[rows, place]
        n_active = int((cosines.detach().argmax(dim=1) != place).sum())
        logits = cosines.index_put((rows, place), self.with_margin(own))
        return LossValue(nn.functional.cross_entropy(self.scale * logits, place), int(labels.numel()), n_active)

    def with_margin(self, own: torch.Tensor) -> torch.Tensor:
        """Return the cosines to the own person as the loss counts them."""
        if self.kind == "cosface":
            return own - self.margin
        # cos(θ + m), and beyond π − m, where that would turn up again, a line that keeps falling.
        sines = (1.0 - own.square()).clamp_min(1e-7).sqrt()
        turned = own * math.cos(self.margin) - sines * math.sin(self.margin)
        line = own - self.margin * math.sin(math.pi - self.margin)
        return torch.where(own > math.cos(math.pi - self.margin), turned, line)
