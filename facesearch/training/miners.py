"""Which triplets (anchor, positive, negative) of a batch are learned from.

A miner chooses by squared distances and labels and computes no loss; its choice carries no gradient. Every triplet obeys the label
rule: anchor and positive are two crops of one person, the negative is of another.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import torch

from facesearch.core.errors import InputError

Miner = Literal["all", "semi-hard", "hard", "distance-weighted"]
MINERS: tuple[Miner, ...] = ("all", "semi-hard", "hard", "distance-weighted")

DISTANCE_CUTOFF = 0.5
"""Distances below this count as this: nearer negatives would get all the weight, and their gradients are noise (Wu et al. 2017)."""

NONZERO_CUTOFF = 1.4
"""Negatives farther than this are never drawn: they give no loss (their code's value)."""


class Triplets(NamedTuple):
    """Places in a batch, three tensors int64 ``(T,)``.

    Attributes:
        anchor: The crop compared.
        positive: Another of the same person.
        negative: One of somebody else.
    """

    anchor: torch.Tensor
    positive: torch.Tensor
    negative: torch.Tensor


def squared_distances(vectors: torch.Tensor) -> torch.Tensor:
    """Return ``|a − b|²`` of all unit vectors ``(B, D)``, ``(B, B)`` in [0, 4], differentiable."""
    return (2.0 - 2.0 * vectors @ vectors.T).clamp_min(0.0)


def mine(miner: Miner, distances: torch.Tensor, labels: torch.Tensor, *, margin: float, dim: int = 128, seed: int = 0) -> Triplets:
    """Return the triplets of a batch by the miner's rule.

    Args:
        miner: ``"all"``: every triplet there is. ``"semi-hard"``: for each anchor and positive the nearest negative that is farther
            than the positive, by less than the margin (Schroff, Kalenichenko & Philbin 2015); none where there is none.
            ``"hard"``: for each anchor its farthest positive and its nearest negative (batch hard, Hermans et al. 2017).
            ``"distance-weighted"``: for each anchor and positive a negative drawn so that its distance is spread evenly (Wu et al.
            2017).
        distances: Squared, ``(B, B)``.
        labels: Whole numbers ``(B,)``.
        margin: Of the loss, in squared distance.
        dim: Of the vectors; only distance-weighted mining asks.
        seed: Of the draw.

    Returns:
        At most B³ triplets in ascending order of anchor, then positive (then negative); empty where there are none.

    Raises:
        InputError: There is no miner of that name.
    """
    known = distances.detach()
    same = labels[:, None] == labels[None, :]
    positive = same & ~torch.eye(labels.numel(), dtype=torch.bool, device=labels.device)
    if miner == "all":
        return Triplets(*(positive[:, :, None] & ~same[:, None, :]).nonzero(as_tuple=True))
    if miner == "semi-hard":
        return _semi_hard(known, positive, ~same, margin)
    if miner == "hard":
        return _hard(known, positive, ~same)
    if miner == "distance-weighted":
        # On the CPU, where it is drawn as well: not every GPU counts in float64.
        return _distance_weighted(distance_weights(known.cpu(), ~same.cpu(), dim), positive, seed)
    raise InputError(f"a miner is one of {', '.join(MINERS)}, not {miner!r}")


def _semi_hard(distances: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor, margin: float) -> Triplets:
    """Return the semi-hard triplets."""
    anchors, positives = positive.nonzero(as_tuple=True)
    near = distances[anchors, positives][:, None]
    rows = distances[anchors]
    allowed = negative[anchors] & (rows > near) & (rows < near + margin)
    nearest = torch.where(allowed, rows, torch.inf)
    if nearest.shape[0] == 0:
        return Triplets(anchors, positives, anchors)
    found = allowed.any(dim=1)
    return Triplets(anchors[found], positives[found], nearest.argmin(dim=1)[found])


def _hard(distances: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> Triplets:
    """Return one triplet for each anchor that has both a positive and a negative."""
    able = (positive.any(dim=1) & negative.any(dim=1)).nonzero().flatten()
    farthest = torch.where(positive, distances, -torch.inf)[able].argmax(dim=1) if able.numel() else able
    nearest = torch.where(negative, distances, torch.inf)[able].argmin(dim=1) if able.numel() else able
    return Triplets(able, farthest, nearest)


def distance_weights(distances: torch.Tensor, negative: torch.Tensor, dim: int) -> torch.Tensor:
    """Return the chance of each negative to be drawn, ``(B, B)``, rows of sum 1 or, without a negative within reach, 0.

    Distances d of random points on a sphere of n dimensions have density d^(n−2)·(1 − d²/4)^((n−3)/2); the weight is its inverse
    (Wu, Manmatha, Smola & Krähenbühl 2017, section 4).

    Args:
        distances: Squared, ``(B, B)``.
        negative: Whether the column is of somebody else than the row, ``(B, B)``.
        dim: n, of the vectors.
    """
    clipped = distances.double().sqrt().clamp_min(DISTANCE_CUTOFF)
    log_weights = (2.0 - dim) * clipped.log() - (dim - 3.0) / 2.0 * (1.0 - 0.25 * clipped.square()).clamp_min(1e-8).log()
    drawable = negative & (clipped < NONZERO_CUTOFF)
    log_weights = torch.where(drawable, log_weights, -torch.inf)
    highest = log_weights.max(dim=1, keepdim=True).values
    weights = torch.exp(log_weights - torch.where(highest.isfinite(), highest, 0.0))
    total = weights.sum(dim=1, keepdim=True)
    return weights / torch.where(total > 0, total, 1.0)


def _distance_weighted(chances: torch.Tensor, positive: torch.Tensor, seed: int) -> Triplets:
    """Return one drawn triplet for each anchor and positive; none where no negative is within reach."""
    anchors, positives = positive.nonzero(as_tuple=True)
    weights = chances[anchors.to(chances.device)]
    found = weights.sum(dim=1) > 0
    anchors, positives, weights = anchors[found.to(anchors.device)], positives[found.to(anchors.device)], weights[found]
    if anchors.numel() == 0:
        return Triplets(anchors, positives, anchors)
    # Drawn on the CPU by a generator of its own: the same triplets on every device, and nobody else's random numbers move.
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(weights, 1, generator=generator).flatten()
    return Triplets(anchors, positives, drawn.to(anchors.device))
