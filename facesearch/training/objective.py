"""What a step makes smaller: the plan's loss on a batch's vectors, and the distance to teachers where there are any.

It draws no batch and moves no weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from facesearch.core.errors import InputError
from facesearch.training.class_head import MarginSoftmax
from facesearch.training.losses import LossValue, all_pairs_of, contrastive_loss, neighbour_pairs, triplet_loss
from facesearch.training.miners import mine, squared_distances
from facesearch.training.plan import TrainingPlan


@dataclass(frozen=True, slots=True, eq=False)
class Teacher:
    """An embedder that is learned from.

    Attributes:
        name: Its embedder id.
        network: Takes crops, uint8 ``(B, S, S, 3)``, returns vectors ``(B, dim)``; never trained.
        dim: Length of its vectors.
        licence: Of its weights.
    """

    name: str
    network: nn.Module
    dim: int
    licence: str = ""


class StepValue(NamedTuple):
    """What a step found.

    Attributes:
        loss: Scalar with a gradient: everything together.
        own: The loss on labels, with its counts; zero terms where only teachers are learned from.
        distillation: The distance to the teachers; 0 without any.
    """

    loss: torch.Tensor
    own: LossValue
    distillation: torch.Tensor


class Objective(nn.Module):
    """The plan's loss, with the layers that are thrown away after training.

    Args:
        plan: Says which.
        n_people: Of the training set.
        dim: Of the vectors.
        teachers: To be learned from beside the labels, or alone.

    Raises:
        InputError: There are too few people for the loss.
    """

    def __init__(self, plan: TrainingPlan, n_people: int, dim: int, teachers: Sequence[Teacher] = ()) -> None:
        super().__init__()
        self._plan, self._dim = plan, dim
        self._teachers = tuple(teachers)  # not registered: neither trained nor part of a checkpoint
        self.head: MarginSoftmax | None = None
        if plan.loss in ("arcface", "cosface"):
            self.head = MarginSoftmax(
                plan.loss,
                n_people,
                dim,
                scale=plan.scale,
                margin=plan.loss_margin,
                share=plan.class_share,
            )
        elif plan.loss != "distillation" and n_people < 2:
            raise InputError(f"telling people apart needs two of them, not {n_people}", n_people=n_people)
        # A teacher's vectors of another length are met through a linear layer (FitNets, Romero et al. 2015).
        self.projections = nn.ModuleList(
            nn.Identity() if teacher.dim == dim else nn.Linear(dim, teacher.dim, bias=False) for teacher in self._teachers
        )

    @property
    def margin(self) -> float | None:
        """The margin whose terms can vanish; None for losses without."""
        return self._plan.loss_margin if self._plan.loss in ("triplet", "contrastive") else None

    @property
    def miner(self) -> str | None:
        """What chooses triplets; None where none are learned from."""
        return self._plan.miner if self._plan.loss == "triplet" else None

    def forward(self, vectors: torch.Tensor, labels: torch.Tensor, pixels: torch.Tensor, step: int) -> StepValue:
        """Return a step's loss.

        Args:
            vectors: Unit, float32 ``(B, dim)``.
            labels: Numbers of the people ``(B,)``.
            pixels: The crops as they were embedded, uint8 ``(B, S, S, 3)``: teachers see what the student sees.
            step: From 0; random choices depend on it and the seed.
        """
        own = self._own(vectors, labels, self._plan.seed * 1_000_003 + step)
        distillation = self._distillation(vectors, pixels)
        return StepValue(own.loss + distillation, own, distillation.detach())

    def _own(self, vectors: torch.Tensor, labels: torch.Tensor, seed: int) -> LossValue:
        if self._plan.loss == "distillation":
            return LossValue(vectors.sum() * 0.0, 0, 0)
        if self.head is not None:
            found: LossValue = self.head(vectors, labels, seed)
            return found
        distances = squared_distances(vectors)
        margin = self._plan.loss_margin
        if self._plan.loss == "triplet":
            triplets = mine(self._plan.miner, distances, labels, margin=margin, dim=self._dim, seed=seed)
            return triplet_loss(distances, triplets, margin)
        pairs = neighbour_pairs(labels) if self._plan.drawn_by == "pairs" else all_pairs_of(labels)
        return contrastive_loss(distances, pairs, margin)

    def _distillation(self, vectors: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
        """Return the mean over teachers of both distances."""
        total = vectors.sum() * 0.0
        for teacher, projection in zip(self._teachers, self.projections, strict=True):
            with torch.no_grad(), torch.autocast(pixels.device.type, torch.bfloat16, enabled=self._plan.precision == "bf16"):
                taught = nn.functional.normalize(teacher.network(pixels).float(), dim=1)
            projected = nn.functional.normalize(projection(vectors).float(), dim=1)
            total = total + self._plan.teacher_weight * embedding_distance(projected, taught)
            total = total + self._plan.similarity_weight * similarity_distance(vectors, taught)
        return total / max(1, len(self._teachers))


class Learning(nn.Module):
    """Network and objective as one module: what torch wraps to share gradients among processes."""

    def __init__(self, network: nn.Module, objective: Objective) -> None:
        super().__init__()
        self.network, self.objective = network, objective

    def forward(
        self, pixels: torch.Tensor, labels: torch.Tensor, step: int, *, bf16: bool
    ) -> tuple[torch.Tensor, torch.Tensor, StepValue]:
        """Return the loss, the unit vectors and the counts."""
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=bf16):
            raw = self.network(pixels)
        # Distances of near vectors are differences of near numbers: float32 from here on.
        vectors = nn.functional.normalize(raw.float(), dim=1)
        value: StepValue = self.objective(vectors, labels, pixels, step)
        return value.loss, vectors, value


def embedding_distance(vectors: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Return the mean squared distance of unit vectors to a teacher's, in [0, 4]."""
    return (vectors - taught).square().sum(dim=1).mean()


def similarity_distance(vectors: torch.Tensor, taught: torch.Tensor) -> torch.Tensor:
    """Return the mean squared difference of the similarities within the batch (Tung & Mori 2019; relational, Park et al. 2019).

    It asks for no vectors of the same length: what is alike to the teacher shall be alike to the student. The diagonal is left out.
    """
    n = vectors.shape[0]
    differences = (vectors @ vectors.T - taught @ taught.T).square()
    return (differences.sum() - differences.diagonal().sum()) / max(1, n * (n - 1))
