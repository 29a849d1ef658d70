"""Pooling heads against loops over places and regions."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from facesearch.core.errors import ModelDescriptionError
from facesearch.embedding.architecture import POOLINGS
from facesearch.embedding.heads import LEAST, build_pooling, rmac_regions

TOLERANCE = 1e-5

OBLONG_7_14 = (
    *((0, left, 7) for left in (0, 3, 7)),
    *((top, left, 4) for top in (0, 3) for left in (0, 3, 6, 10)),
    *((top, left, 3) for top in (0, 2, 4) for left in (0, 2, 5, 8, 11)),
)
"""Regions of a map of 7×14: with two squares more along the longer side neighbours overlap by a half, the nearest to 40 %."""


def maps(seed: int = 0, shape: tuple[int, ...] = (2, 5, 6, 4)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def places(one: np.ndarray) -> list[np.ndarray]:
    """Return the channels at each place of a map ``(C, H, W)``."""
    return [one[:, row, column] for row in range(one.shape[1]) for column in range(one.shape[2])]


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / math.sqrt(sum(value * value for value in vector))


def naive(name: str, one: np.ndarray) -> np.ndarray:
    columns = places(one.astype(np.float64))
    if name == "flatten":
        return np.array([one[c, r, k] for c in range(one.shape[0]) for r in range(one.shape[1]) for k in range(one.shape[2])])
    if name == "max":
        return np.array([max(column[c] for column in columns) for c in range(one.shape[0])])
    if name == "gem":
        cubes = sum(np.maximum(column, LEAST) ** 3 for column in columns) / len(columns)
        return cubes ** (1 / 3)
    if name == "rmac":
        total = np.zeros(one.shape[0])
        for top, left, side in rmac_regions(one.shape[1], one.shape[2]):
            region = one[:, top : top + side, left : left + side].astype(np.float64)
            total += unit(np.array([max(column[c] for column in places(region)) for c in range(one.shape[0])]))
        return total
    total = sum(columns)
    return total / len(columns) if name == "mean" else total


@pytest.mark.parametrize("name", POOLINGS)
def test_a_head_does_what_its_loop_does(name: str) -> None:
    features = maps()
    found = build_pooling(name)(features).detach().numpy()
    wanted = np.stack([naive(name, one) for one in features.numpy()])
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, atol=TOLERANCE)


@pytest.mark.parametrize("name", POOLINGS)
def test_channels_last_maps_are_pooled_alike(name: str) -> None:
    head, features = build_pooling(name), maps(1)
    np.testing.assert_allclose(
        head(features.contiguous(memory_format=torch.channels_last)).detach(), head(features).detach(), atol=TOLERANCE
    )


def test_regions_of_a_square_are_one_four_and_nine() -> None:
    regions = rmac_regions(7, 7)
    # Scales 1, 2, 3 of side 7, 4 and 3; neighbours at the floor of even steps.
    assert regions == (
        (0, 0, 7),
        *((top, left, 4) for top in (0, 3) for left in (0, 3)),
        *((top, left, 3) for top in (0, 2, 4) for left in (0, 2, 4)),
    )


def test_regions_of_an_oblong_are_more_along_the_longer_side() -> None:
    assert rmac_regions(7, 14) == OBLONG_7_14
    assert sorted(rmac_regions(14, 7)) == sorted((left, top, side) for top, left, side in OBLONG_7_14)
    # Overlaps of a third with three more and of a half with four: the third is nearer.
    assert [left for _, left, side in rmac_regions(3, 9) if side == 3] == [0, 2, 4, 6]


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 2), (3, 9), (9, 3), (14, 14)])
def test_regions_lie_inside_the_map(height: int, width: int) -> None:
    regions = rmac_regions(height, width)
    assert len(regions) >= 1
    for top, left, side in regions:
        assert side >= 1
        assert top >= 0
        assert left >= 0
        assert top + side <= height
        assert left + side <= width


def test_gem_of_coarse_numbers_is_computed_in_fine_ones() -> None:
    features = maps(4, (2, 5, 14, 14)).to(torch.bfloat16)
    found = build_pooling("gem")(features)
    assert found.dtype == torch.float32
    wanted = np.stack([naive("gem", one) for one in features.double().numpy()])
    np.testing.assert_allclose(found.detach(), wanted, rtol=TOLERANCE)  # third powers in bf16 are off by a hundredth


def test_gem_learns_its_power_and_ends_at_the_maximum() -> None:
    head = build_pooling("gem")
    head(maps(2).abs()).sum().backward()
    (power,) = head.parameters()
    assert power.grad is not None
    assert float(power.grad.abs()) > 0
    with torch.no_grad():
        power.fill_(50.0)
    features = maps(3).abs().clamp_max(1.0)
    np.testing.assert_allclose(head(features).detach(), features.amax(dim=(2, 3)), rtol=0.07)


@pytest.mark.parametrize("power", [3.0, 10.0, 30.0])
def test_gem_has_a_slope_at_any_power(power: float) -> None:
    """High powers of small numbers are 0 in float32, whose root has no slope; of large ones they are infinite."""
    head = build_pooling("gem")
    (learnt,) = head.parameters()
    learnt.data.fill_(power)
    values = torch.rand(1, 3, 4, 4, generator=torch.Generator().manual_seed(1)) * torch.tensor([0.0, 1e-3, 1e4]).view(1, 3, 1, 1)
    values.requires_grad_()
    pooled = head(values)
    exact = values.detach().double().clamp_min(1e-6).pow(power).mean(dim=(2, 3)).pow(1 / power)
    torch.testing.assert_close(pooled.detach().double(), exact, rtol=1e-5, atol=0.0)
    pooled.sum().backward()
    assert values.grad is not None
    assert learnt.grad is not None
    assert bool(values.grad.isfinite().all())
    assert bool(learnt.grad.isfinite())


def test_a_region_of_nothing_has_a_slope_with_an_end() -> None:
    values = torch.zeros(1, 3, 4, 4, requires_grad=True)
    build_pooling("rmac")(values).sum().backward()
    assert values.grad is not None
    assert float(values.grad.abs().max()) < 1e6


def test_an_unknown_head_is_refused() -> None:
    with pytest.raises(ModelDescriptionError, match=r"flatten.*not 'netvlad'"):
        build_pooling("netvlad")
