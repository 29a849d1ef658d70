"""One run over several processes, GPUs or machines, as torch's own ``torchrun`` starts them; a single process is a group of one.

It trains nothing. Processes meet through gloo on processors and nccl on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from facesearch.core.errors import EngineError


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those of the run.

    Attributes:
        rank: Its number, from 0; the first writes files.
        world: How many there are.
        local_rank: Its number on this machine: which GPU is its own.
    """

    rank: int = 0
    world: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether it writes files and speaks."""
        return self.rank == 0

    def shared(self, value: Any) -> Any:
        """Return the first process' value in all of them; plain values only."""
        if self.world == 1:
            return value
        box = [value if self.is_first else None]
        torch.distributed.broadcast_object_list(box, src=0)
        return box[0]

    def share(self, n: int) -> range:
        """Return which of ``n`` things in a row are this process': parts of one length but for one, in the order of processes."""
        return range(n * self.rank // self.world, n * (self.rank + 1) // self.world)

    def gathered(self, part: NDArray[np.float32] | None) -> NDArray[np.float32]:
        """Return the rows of all processes, one process' behind another's, in each of them.

        Args:
            part: This process' rows; None where it has none.

        Raises:
            ValueError: No process has any.
        """
        parts: list[NDArray[np.float32] | None] = [part] * self.world
        if self.world > 1:
            torch.distributed.all_gather_object(parts, part)
        return np.concatenate([one for one in parts if one is not None])

    def average(self, tensors: Sequence[torch.Tensor]) -> None:
        """Give tensors, of one form in all processes, their mean over the processes, in place."""
        if self.world == 1 or not tensors:
            return
        flat = torch.cat([one.flatten() for one in tensors])
        torch.distributed.all_reduce(flat)  # a sum: gloo has no mean
        flat /= self.world
        for one, mean in zip(tensors, torch.split(flat, [one.numel() for one in tensors]), strict=True):
            one.copy_(mean.view_as(one))


ALONE = Group()
"""No other process takes part."""


@contextmanager
def process_group(device: str, environment: Mapping[str, str] | None = None) -> Iterator[Group]:
    """Join the processes of a run where ``torchrun`` started several, else be alone.

    Args:
        device: As ``device_of`` gives it.
        environment: Variables that ``torchrun`` sets; None for the process' own.
    """
    variables = os.environ if environment is None else environment
    world = int(variables.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group()
        return
    group = Group(int(variables["RANK"]), world, int(variables.get("LOCAL_RANK", "0")))
    backend = "nccl" if torch.device(device).type == "cuda" else "gloo"
    torch.distributed.init_process_group(backend, rank=group.rank, world_size=world)
    try:
        yield group
    finally:
        torch.distributed.destroy_process_group()


def devices_there() -> dict[str, int]:
    """Return how many devices of each kind torch sees."""
    n_gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return {"cpu": 1, "cuda": n_gpus, "mps": int(torch.backends.mps.is_available())}


def device_of(name: str, *, seen: Callable[[], Mapping[str, int]] = devices_there) -> str:
    """Return the device of a plan as torch takes it: ``auto`` becomes the best there is, anything else stays as it is.

    Args:
        name: ``auto``, or a device of torch's: ``cpu``, ``cuda``, ``cuda:1``, ``mps``.
        seen: Returns how many devices of each kind there are.

    Raises:
        EngineError: The device asked for is absent or unknown; says how many there are.
    """
    there = seen()
    if name == "auto":
        return "cuda" if there["cuda"] else "mps" if there["mps"] else "cpu"
    try:
        asked = torch.device(name)
    except RuntimeError:
        asked = None
    if asked is None or asked.type not in there:
        raise EngineError(f"a device is auto, cpu, cuda, cuda:<number> or mps, not {name!r}", device=name)
    n = there[asked.type]
    if not n:
        kinds = ", ".join(kind for kind, count in there.items() if count)
        raise EngineError(
            f"device {name} was asked for, torch {torch.__version__} finds none on this machine (there is {kinds}): "
            "take --device auto, or install torch for it",
            device=name,
        )
    if (asked.index or 0) >= n:
        last = f"{asked.type}:0" if n == 1 else f"{asked.type}:0 to {asked.type}:{n - 1}"
        raise EngineError(
            f"device {name} was asked for, torch {torch.__version__} sees {n} of that kind here, counted from 0: take {last}",
            device=name,
        )
    return name


def own_device(device: str, group: Group, *, seen: Callable[[], Mapping[str, int]] = devices_there) -> str:
    """Return the device of this process: of several on GPUs, each has the one of its number on this machine.

    Args:
        device: As ``device_of`` gives it.
        group: This process.
        seen: Returns how many devices of each kind there are.

    Raises:
        EngineError: One GPU was named for all of them, or there are fewer than processes.
    """
    if group.world == 1 or torch.device(device).type != "cuda":
        return device
    if ":" in device:
        raise EngineError(
            f"{group.world} processes cannot all train on {device}: say --device cuda, and each takes the GPU of its number",
            device=device,
        )
    n = seen()["cuda"]
    if group.local_rank >= n:
        raise EngineError(
            f"process {group.local_rank} of this machine finds no GPU of its number, torch sees {n}: start {n} at most "
            "(torchrun --nproc-per-node)",
            device=device,
        )
    return f"cuda:{group.local_rank}"
