"""Which device a run trains on: what torch is told, and what is said where it is not there."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch

from facesearch.core.errors import EngineError
from facesearch.training.distributed import Group, device_of, own_device


def machine(*, gpus: int = 0, mps: int = 0) -> Callable[[], Mapping[str, int]]:
    """Return what a machine with so many devices tells."""
    return lambda: {"cpu": 1, "cuda": gpus, "mps": mps}


@pytest.mark.parametrize("name", ["cpu", "cuda", "cuda:0", "cuda:1", "mps", "mps:0"])
def test_a_device_reaches_torch_as_it_was_named(name: str) -> None:
    assert device_of(name, seen=machine(gpus=2, mps=1)) == name
    assert torch.device(name).type in ("cpu", "cuda", "mps")


@pytest.mark.parametrize(("gpus", "mps", "found"), [(2, 1, "cuda"), (0, 1, "mps"), (0, 0, "cpu")])
def test_auto_is_the_best_there_is(gpus: int, mps: int, found: str) -> None:
    assert device_of("auto", seen=machine(gpus=gpus, mps=mps)) == found


@pytest.mark.parametrize(
    ("name", "gpus", "told"),
    [
        ("cuda:2", 2, r"device cuda:2 was asked for, torch .* sees 2 of that kind here, counted from 0: take cuda:0 to cuda:1"),
        ("cuda:1", 1, r"sees 1 of that kind here, counted from 0: take cuda:0$"),
        ("cuda:1", 0, r"device cuda:1 was asked for, .* finds none on this machine \(there is cpu\)"),
        ("cpu:1", 0, "sees 1 of that kind here"),
        ("cuda:x", 2, "a device is auto, cpu, cuda, cuda:<number> or mps, not 'cuda:x'"),
        ("meta", 2, "not 'meta'"),
        ("", 2, "not ''"),
    ],
)
def test_a_device_that_is_not_there_is_told_with_how_many_there_are(name: str, gpus: int, told: str) -> None:
    with pytest.raises(EngineError, match=told):
        device_of(name, seen=machine(gpus=gpus))


def test_each_of_several_processes_has_the_gpu_of_its_number_on_its_machine() -> None:
    two = machine(gpus=2)
    assert own_device("cuda:1", Group(), seen=two) == "cuda:1"
    assert own_device("cuda", Group(), seen=two) == "cuda"
    assert own_device("cpu", Group(3, 4, 1), seen=two) == "cpu"
    assert own_device("cuda", Group(3, 4, 1), seen=two) == "cuda:1"
    with pytest.raises(EngineError, match="4 processes cannot all train on cuda:1: say --device cuda"):
        own_device("cuda:1", Group(3, 4, 1), seen=two)
    with pytest.raises(EngineError, match="process 2 of this machine finds no GPU of its number, torch sees 2: start 2 at most"):
        own_device("cuda", Group(2, 4, 2), seen=two)
