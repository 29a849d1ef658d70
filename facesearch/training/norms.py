"""Statistics of batch norms made anew for the weights that are used: averaged weights never saw a batch.

Running statistics of training lag behind the weights (by hundreds of steps at MobileNetV3's momentum of 0.01) and are of the last
step's weights; a network measured with them can look collapsed although it has learned. It trains nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from facesearch.embedding.embedding_network import EmbeddingNetwork
from facesearch.training.distributed import ALONE, Group


@contextmanager
def fresh_statistics(
    network: EmbeddingNetwork, prepared: nn.Module, batches: Iterable[torch.Tensor], group: Group = ALONE
) -> Iterator[None]:
    """Let a network's norms have the statistics of some batches under its present weights, for a while.

    The mean of the batches' statistics, each weighing the same (Wu & Johnson 2021, "Rethinking 'batch' in BatchNorm", section 3).

    Args:
        network: Its norms; without any that is trained nothing happens.
        prepared: The network behind its preparation.
        batches: Crops, uint8 ``(B, S, S, 3)``, on its device; at least one, and as many in each process.
        group: Processes that take part, each with its own batches.
    """
    norms = network.trained_norms
    if not norms:
        yield
        return
    was_training = network.training
    kept = [({name: one.clone() for name, one in norm.state_dict().items()}, norm.momentum) for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean
        network.train()
        with torch.no_grad():
            for pixels in batches:
                prepared(pixels)
        group.average([one for norm in norms for one in (norm.running_mean, norm.running_var) if one is not None])
        network.train(was_training)
        yield
    finally:
        for norm, (state, momentum) in zip(norms, kept, strict=True):
            norm.load_state_dict(state)
            norm.momentum = momentum
        network.train(was_training)
