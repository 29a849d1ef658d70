"""A small network that stands for any other."""

from __future__ import annotations

import pytest

from facesearch.inference import NetworkSpec


def build_toy():
    """Return a seeded module with two outputs, the second of which would show float16 weights."""
    import torch
    from torch import nn

    class Toy(nn.Module):
        def __init__(self):
            super().__init__()
            self.trunk = nn.Sequential(nn.Conv2d(3, 6, 3), nn.PReLU(6), nn.MaxPool2d(2, 2, ceil_mode=True))
            self.head = nn.Conv2d(6, 4, 1)

        def forward(self, x):
            trunk = self.trunk(x)
            return self.head(trunk).mean(dim=(2, 3)), trunk

    generator_state = torch.random.get_rng_state()
    torch.manual_seed(8)
    module = Toy().eval()
    torch.random.set_rng_state(generator_state)
    return module


@pytest.fixture
def toy() -> NetworkSpec:
    return NetworkSpec("toy", "0123456789abcdef" * 4, build_toy, (1, 3, 20, 20), dynamic_axes=(0, 2, 3))


@pytest.fixture
def counted_toy(toy):
    """The toy network and the list of its builds."""
    builds: list[str] = []

    def build():
        builds.append("built")
        return build_toy()

    return NetworkSpec(toy.name, toy.digest, build, toy.example_shape, dynamic_axes=toy.dynamic_axes), builds
