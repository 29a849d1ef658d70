"""What moves the weights: rates by stage, their course over a run, and the moving average of the weights.

It computes no gradient.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from facesearch.embedding.embedding_network import HEAD, EmbeddingNetwork
from facesearch.training.plan import Schedule, TrainingPlan

FLOOR = 0.01
"""Share of the highest rate that the cosine ends at."""

STEPS_DOWN = (0.6, 0.85)
"""Shares of a run after which the ``step`` schedule divides the rate by ten."""


def rate_factor(step: int, n_steps: int, schedule: Schedule, warmup: float) -> float:
    """Return what the highest rate is multiplied by at a step, in (0, 1]: a rise in a straight line, then the schedule.

    Args:
        step: From 0.
        n_steps: Of the whole run.
        schedule: How it falls.
        warmup: Share of the steps in which it rises.
    """
    n_rising = math.ceil(warmup * n_steps)
    if step < n_rising:
        return (step + 1) / n_rising
    done = (step - n_rising) / max(1, n_steps - n_rising)
    if schedule == "constant":
        return 1.0
    if schedule == "step":
        return float(0.1 ** sum(done >= share for share in STEPS_DOWN))
    return FLOOR + (1.0 - FLOOR) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))


def stage_rates(network: EmbeddingNetwork, decay: float) -> dict[str, float]:
    """Return what the rate of each stage is multiplied by: 1 for the head, ``decay`` once more for each stage before it.

    Discriminative rates (Howard & Ruder 2018): early stages see edges and shades that hold for other faces as well.
    """
    names = (*network.stage_names, HEAD)
    return {name: decay ** (len(names) - 1 - place) for place, name in enumerate(names)}


def build_optimiser(network: EmbeddingNetwork, objective: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    """Return an optimiser of what is trained, a group for each stage; each group's ``factor`` is its share of the rate.

    Matrices and kernels decay, biases, norms, slopes and powers do not: these have no scale that decay could keep small.
    """
    rates = stage_rates(network, plan.stage_decay)
    sources: list[tuple[Iterable[nn.Parameter], float]] = [
        (parameters, rates[name]) for name, parameters in network.parameter_groups().items()
    ]
    sources.append((objective.parameters(), plan.head_rate))
    groups: list[dict[str, Any]] = []
    for parameters, factor in sources:
        trained = [one for one in parameters if one.requires_grad]
        for decays in (True, False):
            chosen = [one for one in trained if (one.ndim > 1) == decays]
            if chosen:
                groups.append({"params": chosen, "factor": factor, "weight_decay": plan.weight_decay if decays else 0.0})
    if plan.optimiser == "sgd":
        return torch.optim.SGD(groups, lr=plan.rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=plan.rate)


def set_rate(optimiser: torch.optim.Optimizer, rate: float) -> None:
    """Give every group its share of a rate."""
    for group in optimiser.param_groups:
        group["lr"] = rate * group["factor"]


def state_tensors(optimiser: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """Return what an optimiser remembers, by parameter's place and name."""
    state: Mapping[int, Mapping[str, Any]] = optimiser.state_dict()["state"]
    return {
        f"{place}.{name}": value for place, one in state.items() for name, value in one.items() if isinstance(value, torch.Tensor)
    }


def restore_state(optimiser: torch.optim.Optimizer, tensors: Mapping[str, torch.Tensor]) -> None:
    """Give an optimiser back what ``state_tensors`` returned."""
    parameters = [one for group in optimiser.param_groups for one in group["params"]]
    for name, value in tensors.items():
        place, _, key = name.partition(".")
        parameter = parameters[int(place)]
        # In the parameter's own layout: sums over them then add up in the same order as before.
        kept = value.clone() if key == "step" else torch.empty_like(parameter).copy_(value)  # steps are counted on the CPU
        optimiser.state[parameter][key] = kept


class MovingAverage:
    """Exponential moving average of a network's weights (Polyak & Juditsky 1992, with a warm-up): steadier than the last step's.

    The statistics of norms are averaged alike: those of the last step are of other weights than the averaged ones.

    Args:
        network: Followed.
        decay: What is kept at a step, in [0, 1); less at the start, so that the first weights are forgotten.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.decay = decay
        # What is not trained needs no average.
        trained = {name for name, one in network.named_parameters() if one.requires_grad}
        self.tensors = {
            name: tensor.detach().clone()
            for name, tensor in network.state_dict().items()
            if name in trained or name.endswith(("running_mean", "running_var"))
        }

    def update(self, network: nn.Module, step: int) -> None:
        """Move the average towards the weights after a step, from 0."""
        share = 1.0 - min(self.decay, (1 + step) / (10 + step))
        current = network.state_dict()
        torch._foreach_lerp_(list(self.tensors.values()), [current[name] for name in self.tensors], share)

    @contextmanager
    def applied(self, network: nn.Module) -> Iterator[None]:
        """Let a network have the averaged weights for a while."""
        current = network.state_dict()
        kept = {name: current[name].clone() for name in self.tensors}
        try:
            with torch.no_grad():
                for name, tensor in self.tensors.items():
                    current[name].copy_(tensor)
            yield
        finally:
            with torch.no_grad():
                for name, tensor in kept.items():
                    current[name].copy_(tensor)
