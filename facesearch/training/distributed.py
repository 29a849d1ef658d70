"""One run over several processes, GPUs or machines, as torch's own ``torchrun`` starts them; a single process is a group of one.

It trains nothing. Processes meet through gloo on processors and nccl on GPUs.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from facesearch.core.errors import EngineError


@dataclass(frozen=True, slots=True)
class Group:
    """This process among those of the run.

    Attributes:
        rank: Its number, from 0; the first writes files and validates.
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


@contextmanager
def process_group(device: str, environment: Mapping[str, str] | None = None) -> Iterator[Group]:
    """Join the processes of a run where ``torchrun`` started several, else be alone.

    Args:
        device: ``cpu``, ``cuda`` or ``mps``.
        environment: Variables that ``torchrun`` sets; None for the process' own.
    """
    variables = os.environ if environment is None else environment
    world = int(variables.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Group()
        return
    group = Group(int(variables["RANK"]), world, int(variables.get("LOCAL_RANK", "0")))
    torch.distributed.init_process_group("nccl" if device == "cuda" else "gloo", rank=group.rank, world_size=world)
    try:
        yield group
    finally:
        torch.distributed.destroy_process_group()


def device_of(name: str) -> str:
    """Return the device of a plan: ``auto`` becomes the best there is.

    Raises:
        EngineError: The device asked for is absent or unknown.
    """
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return "cuda" if has["cuda"] else "mps" if has["mps"] else "cpu"
    kind = name.partition(":")[0]
    if kind not in has:
        raise EngineError(f"a device is auto, cpu, cuda or mps, not {name!r}", device=name)
    if not has[kind]:
        there = ", ".join(one for one, is_there in has.items() if is_there)
        raise EngineError(
            f"device {name} was asked for, torch {torch.__version__} finds none on this machine (there is {there}): "
            "take --device auto, or install torch for it",
            device=name,
        )
    return kind
