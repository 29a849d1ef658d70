"""A trainable network for faces: stages, a pooled layer, and a linear layer; what an ``Architecture`` describes.

It takes prepared pixels and returns vectors that are not normalised: ``Prepared`` puts bytes before it, the embedder normalises.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import nn

from facesearch.core.errors import ModelDescriptionError
from facesearch.embedding.architecture import Architecture
from facesearch.embedding.backbones.stages import Stages, build_stages
from facesearch.embedding.heads import build_pooling

HEAD = "head"
"""Name of what follows the stages: pooling and linear layer."""


class EmbeddingNetwork(nn.Module):
    """Stages, pooling and a linear layer.

    Args:
        architecture: What it is made of.
        stages: The backbone's stages, up to the layer that is pooled.

    Raises:
        ModelDescriptionError: Without a linear layer the pooled values are not ``dim`` many.
    """

    def __init__(self, architecture: Architecture, stages: Stages) -> None:
        super().__init__()
        self.architecture = architecture
        self._frozen: tuple[str, ...] = ()
        self._folded: list[nn.BatchNorm2d] = []
        self.stages = nn.ModuleDict(stages)
        self.pooling = build_pooling(architecture.pooling)
        n_pooled = self._n_pooled()
        if not architecture.is_projected and n_pooled != architecture.dim:
            raise ModelDescriptionError(
                f"{architecture.backbone} pooled by {architecture.pooling} gives {n_pooled} numbers, dim says {architecture.dim}",
                field="dim",
            )
        self.fc = nn.Linear(n_pooled, architecture.dim) if architecture.is_projected else nn.Identity()

    def _n_pooled(self) -> int:
        """Return how many numbers a pooled map has, by running an empty picture."""
        side = self.architecture.input_px
        was_training = self.training
        self.eval()
        with torch.no_grad():
            n_pooled = self.pooling(self.features(torch.zeros(1, 3, side, side))).shape[1]
        self.train(was_training)
        return int(n_pooled)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages in order, each also the name of a layer that can be pooled."""
        return tuple(self.stages)

    def forward(self, planes: torch.Tensor) -> torch.Tensor:
        """Return the vectors of prepared crops.

        Args:
            planes: Shape ``(N, 3, S, S)``, as the architecture's preparation makes them.

        Returns:
            Shape ``(N, dim)``, not normalised.
        """
        vectors: torch.Tensor = self.fc(self.pooling(self.features(planes)))
        return vectors

    def features(self, planes: torch.Tensor, layer: str | None = None) -> torch.Tensor:
        """Return a layer's feature map of prepared crops.

        Args:
            planes: Shape ``(N, 3, S, S)``.
            layer: One of ``stage_names``; None for the last.

        Returns:
            Shape ``(N, C, H, W)``.

        Raises:
            ModelDescriptionError: There is no such stage.
        """
        if layer is not None:
            self.require_stages((layer,))
        for name, features in self.all_features(planes):
            planes = features
            if name == layer:
                break
        return planes

    def all_features(self, planes: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield each stage's name and feature map, in order; a stage is run when it is asked for.

        Args:
            planes: Shape ``(N, 3, S, S)``.
        """
        for name, stage in self.stages.items():
            planes = stage(planes)
            yield name, planes

    def freeze_until(self, stage: str | None) -> None:
        """Keep the stages up to and including one as they are: no gradients, and batch norms in the mode of use.

        Args:
            stage: One of ``stage_names``, the last one to train the head alone; None to train everything.

        Raises:
            ModelDescriptionError: There is no such stage.
        """
        if stage is not None:
            self.require_stages((stage,))
        self._frozen = () if stage is None else self.stage_names[: self.stage_names.index(stage) + 1]
        for name, part in self.stages.items():
            for parameter in part.parameters():
                parameter.requires_grad_(name not in self._frozen)
        self.train(self.training)

    @property
    def frozen_stages(self) -> tuple[str, ...]:
        """The stages that are kept as they are, in order."""
        return self._frozen

    def train(self, mode: bool = True) -> EmbeddingNetwork:
        """Set the mode, of frozen stages and folded norms always that of use."""
        super().train(mode)
        for name in self._frozen:
            self.stages[name].eval()
        for norm in self._folded:
            norm.eval()
        return self

    def keep_folded_norms(self) -> int:
        """Find the batch norms whose statistics are folded away and keep them in the mode of use; return how many there are.

        Such a norm has mean 0 and variance 1 − ε (see ``frozen_inception``): it gives each channel an offset, which can be trained.
        With a batch's mean it would take away twice what is in the offset already, and the network would be lost.
        """
        self._folded = [one for one in self.modules() if isinstance(one, nn.BatchNorm2d) and _is_folded(one)]
        self.train(self.training)
        return len(self._folded)

    @property
    def n_folded_norms(self) -> int:
        """How many batch norms are folded, as the weights that were loaded say."""
        return len(self._folded)

    @property
    def trained_norms(self) -> list[nn.BatchNorm2d]:
        """The batch norms that have statistics of what is trained on: neither frozen nor folded."""
        kept = {id(module) for name in self._frozen for module in self.stages[name].modules()} | {id(one) for one in self._folded}
        return [one for one in self.modules() if isinstance(one, nn.BatchNorm2d) and id(one) not in kept]

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """Return the parameters that are trained, by stage in order and ``HEAD`` last; frozen stages are left out."""
        groups = {name: list(part.parameters()) for name, part in self.stages.items() if name not in self._frozen}
        groups[HEAD] = [*self.pooling.parameters(), *self.fc.parameters()]
        return {name: parameters for name, parameters in groups.items() if parameters}

    def require_stages(self, names: Iterable[str]) -> None:
        """Raise unless these are stages.

        Raises:
            ModelDescriptionError: One is not; lists those there are.
        """
        for name in names:
            if name not in self.stages:
                raise ModelDescriptionError(
                    f"{self.architecture.backbone} has no layer {name!r}, only {', '.join(self.stage_names)}", field="layer"
                )


def _is_folded(norm: nn.BatchNorm2d) -> bool:
    """Return whether a norm's statistics are those of none: mean 0 and variance 1 − ε to the bit, which no count gives."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        return False
    return not bool(mean.any()) and torch.equal(variance, torch.full_like(variance, 1.0 - norm.eps))


def build_network(architecture: Architecture) -> EmbeddingNetwork:
    """Return a network with random weights, drawn by torch's own generator: seed it for the same ones again.

    Raises:
        ModelDescriptionError: The backbone has no such layer, or ``dim`` does not fit.
    """
    return EmbeddingNetwork(architecture, build_stages(architecture))
