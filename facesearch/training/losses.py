"""Losses on a batch's unit vectors: contrastive on pairs, triplet, and what collapse looks like.

They choose no pairs or triplets (see ``samplers``, ``miners``); losses over classes are in ``class_head``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import torch

from facesearch.core.errors import InputError
from facesearch.training.miners import Triplets

MAX_MARGIN = 4.0
"""Largest squared distance of unit vectors: a larger margin can never be met."""


class LossValue(NamedTuple):
    """A loss with its counts.

    Attributes:
        loss: A scalar with a gradient, also where nothing was active (then zero).
        n_terms: Pairs, triplets or crops that were looked at.
        n_active: Those that gave a loss above zero.
    """

    loss: torch.Tensor
    n_terms: int
    n_active: int


def check_margin(margin: float) -> float:
    """Return a margin in squared distance; raises InputError outside (0, 4]."""
    if not 0.0 < margin <= MAX_MARGIN:
        raise InputError(f"a margin lies in (0, {MAX_MARGIN:g}], squared distances of unit vectors being at most 4, not {margin}")
    return margin


def triplet_loss(distances: torch.Tensor, triplets: Triplets, margin: float) -> LossValue:
    """Return ``max(0, d²(a, p) − d²(a, n) + margin)``, averaged over the triplets above zero (Schroff et al. 2015).

    Averaging over the active ones alone keeps the step as large when most triplets are met (Hermans et al. 2017, "batch all ≠ 0").

    Args:
        distances: Squared, ``(B, B)``, of unit vectors.
        triplets: Which to look at.
        margin: In squared distance, in (0, 4].
    """
    check_margin(margin)
    terms = torch.relu(distances[triplets.anchor, triplets.positive] - distances[triplets.anchor, triplets.negative] + margin)
    n_active = int((terms > 0).sum())
    return LossValue(terms.sum() / max(1, n_active), int(terms.numel()), n_active)


class Pairs(NamedTuple):
    """Places in a batch, three tensors ``(M,)``: one crop, the other, whether they are of one person."""

    one: torch.Tensor
    other: torch.Tensor
    is_mated: torch.Tensor


def all_pairs_of(labels: torch.Tensor) -> Pairs:
    """Return every pair of a batch once, ``one < other``."""
    one, other = torch.triu_indices(labels.numel(), labels.numel(), offset=1, device=labels.device)
    return Pairs(one, other, labels[one] == labels[other])


def neighbour_pairs(labels: torch.Tensor) -> Pairs:
    """Return the pairs (0, 1), (2, 3), … that ``PairSampler`` lays out."""
    one = torch.arange(0, labels.numel() - 1, 2, device=labels.device)
    return Pairs(one, one + 1, labels[one] == labels[one + 1])


def contrastive_loss(distances: torch.Tensor, pairs: Pairs, margin: float) -> LossValue:
    """Return ``d²`` of mated pairs and ``max(0, m − d)²`` of the others, m² = margin, each kind averaged (Hadsell et al. 2006).

    The kinds weigh the same whatever their numbers: of all pairs of a batch nearly all are non-mated.

    Args:
        distances: Squared, ``(B, B)``, of unit vectors.
        pairs: Which to look at.
        margin: Squared distance beyond which non-mated pairs are let be, in (0, 4].
    """
    check_margin(margin)
    squared = distances[pairs.one, pairs.other]
    mated = squared[pairs.is_mated]
    # The root's gradient at 0 is infinite, and two black crops are at 0.
    apart = torch.relu(margin**0.5 - squared[~pairs.is_mated].clamp_min(1e-12).sqrt())
    n_active = int((mated > 0).sum()) + int((apart > 0).sum())
    loss = mated.sum() / max(1, mated.numel()) + apart.square().sum() / max(1, apart.numel())
    return LossValue(loss, int(squared.numel()), n_active)


class Spread(NamedTuple):
    """How far apart a batch lies: mean squared distances of its mated and of its non-mated pairs; NaN where there is none."""

    mated: float
    non_mated: float


def spread_of(distances: torch.Tensor, labels: torch.Tensor) -> Spread:
    """Return the mean squared distances of a batch."""
    pairs = all_pairs_of(labels)
    found = distances.detach()[pairs.one, pairs.other]
    return Spread(float(found[pairs.is_mated].mean()), float(found[~pairs.is_mated].mean()))


class CollapseWatch:
    """Watches a run for the ends of learning: every vector the same, a loss that stays at its margin, nothing left to learn.

    Args:
        margin: Of the loss; None for a loss without one, which can neither stay at it nor vanish.
        miner: Of the triplets; None where none are mined.
        window: Steps that must agree before anything is said, at least 1.
    """

    COLLAPSED = 0.01
    """Mean squared distance of non-mated pairs below which all vectors are one: 2 is that of random directions."""

    VANISHED = 0.005
    """Share of active terms below which there is nothing to learn from."""

    AT_MARGIN = 0.02
    """Share of the margin within which a loss stands at it: that of people who are no farther apart than photographs of one."""

    TOLD_APART = 0.1
    """Share of the margin that non-mated pairs must lie beyond mated ones for a loss at the margin to be learning."""

    def __init__(self, margin: float | None, miner: str | None = None, window: int = 50) -> None:
        if window < 1:
            raise InputError(f"a window has at least one step, not {window}")
        self._margin, self._miner, self._window = margin, miner, window
        self._collapsed = self._stuck = self._vanished = 0

    def state(self) -> dict[str, int]:
        """Return what it counted, as plain values."""
        return {"collapsed": self._collapsed, "stuck": self._stuck, "vanished": self._vanished}

    def restore(self, state: Mapping[str, int]) -> None:
        """Go on counting from there."""
        self._collapsed, self._vanished = int(state["collapsed"]), int(state["vanished"])
        self._stuck = int(state.get("stuck", 0))

    def look(self, value: LossValue, loss: float, spread: Spread) -> str | None:
        """Return what is wrong and what to do, once in a window; None while learning goes on.

        Args:
            value: The step's loss with its counts.
            loss: The same as a number.
            spread: Of the batch.
        """
        self._collapsed = self._collapsed + 1 if spread.non_mated < self.COLLAPSED else 0
        is_at_margin = self._margin is not None and abs(loss - self._margin) <= self.AT_MARGIN * self._margin
        is_stuck = is_at_margin and spread.non_mated - spread.mated < self.TOLD_APART * (self._margin or 0.0)
        self._stuck = self._stuck + 1 if is_stuck else 0
        # Of equal vectors nothing is active either, and they have not learned all there is.
        idle = self._margin is not None and not self._collapsed and value.n_active < max(1.0, self.VANISHED * value.n_terms)
        self._vanished = self._vanished + 1 if idle else 0
        gentler = "a lower rate or a longer warm-up"
        if self._miner == "hard":
            gentler += ", and with miner semi-hard or distance-weighted instead of hard"
        if self._collapsed >= self._window:
            self._collapsed = self._stuck = 0
            at_margin = f", and the loss {loss:.3f} stands at its margin {self._margin:g}" if is_at_margin else ""
            unmined = f", and miner {self._miner} finds no triplet" if self._miner and not value.n_terms else ""
            return (
                f"collapse: for {self._window} steps people lay {spread.non_mated:.4f} apart (random directions: 2){at_margin}"
                f"{unmined}. Start again with {gentler}"
            )
        if self._stuck >= self._window:
            self._stuck = 0
            return (
                f"nothing learned: for {self._window} steps the loss stood at its margin (last {loss:.3f} at {self._margin:g}), "
                f"and photographs of two people lie {spread.non_mated:.3f} apart where those of one lie {spread.mated:.3f}. Should "
                f"that not end by itself, start again with {gentler}"
            )
        if self._vanished >= self._window:
            self._vanished = 0
            harder = "miner hard, " if self._miner not in (None, "hard") else ""
            return (
                f"nothing left to learn: for {self._window} steps fewer than {self.VANISHED:.1%} of the terms were active (last "
                f"{value.n_active}/{value.n_terms}). Take {harder}more people a batch, a larger margin, or stop here"
            )
        return None
