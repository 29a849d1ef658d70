"""What a step makes smaller, what moves the weights, and layers exchanged for speed."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import build_network
from facesearch.training.frozen_prelu import FrozenPReLU, freeze_slopes
from facesearch.training.miners import distance_weights, squared_distances
from facesearch.training.norms import fresh_statistics
from facesearch.training.objective import Objective, Teacher, embedding_distance, similarity_distance
from facesearch.training.optimiser import MovingAverage, build_optimiser, rate_factor, restore_state, set_rate, state_tensors
from facesearch.training.plan import TrainingPlan


def unit(n: int, dim: int, seed: int) -> torch.Tensor:
    return nn.functional.normalize(torch.randn(n, dim, generator=torch.Generator().manual_seed(seed)), dim=1)


class Fixed(nn.Module):
    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = vectors

    def forward(self, _pixels: torch.Tensor) -> torch.Tensor:
        return 3.0 * self.vectors


def test_distances_to_a_teacher_agree_with_slow_twins() -> None:
    mine, theirs = unit(7, 5, 1), unit(7, 5, 2)
    slow = np.mean([float(((mine[row] - theirs[row]) ** 2).sum()) for row in range(7)])
    assert float(embedding_distance(mine, theirs)) == pytest.approx(slow, abs=1e-5)
    longer = unit(7, 9, 3)
    terms = [
        (float(mine[one] @ mine[other]) - float(longer[one] @ longer[other])) ** 2
        for one in range(7)
        for other in range(7)
        if one != other
    ]
    assert len(terms) == 42
    assert float(similarity_distance(mine, longer)) == pytest.approx(np.mean(terms), abs=1e-5)
    assert float(similarity_distance(mine[:1], longer[:1])) == 0.0


def test_several_teachers_of_different_lengths_pull_at_once() -> None:
    teachers = (Teacher("one", Fixed(unit(6, 8, 4)), 8), Teacher("two", Fixed(unit(6, 12, 5)), 12))
    plan = TrainingPlan(crops="-", loss="distillation", teachers=("one", "two"), precision="f32")
    torch.manual_seed(0)
    objective = Objective(plan, 1, 8, teachers)
    assert {name for name, _ in objective.named_parameters()} == {"projections.1.weight"}
    free = nn.Parameter(torch.randn(6, 8, generator=torch.Generator().manual_seed(6)))
    optimiser = torch.optim.Adam([free, *objective.parameters()], lr=0.05)
    pixels, labels = torch.zeros(6, 4, 4, 3, dtype=torch.uint8), torch.zeros(6, dtype=torch.int64)
    losses = []
    for step in range(150):
        value = objective(nn.functional.normalize(free, dim=1), labels, pixels, step)
        optimiser.zero_grad()
        value.loss.backward()
        optimiser.step()
        losses.append(float(value.loss.detach()))
    assert losses[0] > 2.0
    assert losses[-1] < 0.2 * losses[0]
    assert value.own.n_terms == 0


def test_teachers_are_averaged_and_each_distance_has_its_own_weight() -> None:
    vectors, labels, pixels = unit(6, 8, 1), torch.zeros(6, dtype=torch.int64), torch.zeros(6, 4, 4, 3, dtype=torch.uint8)
    taught = [unit(6, 8, seed) for seed in (4, 5)]

    def loss(*rows: torch.Tensor) -> float:
        teachers = tuple(Teacher(str(place), Fixed(one), 8) for place, one in enumerate(rows))
        plan = TrainingPlan(
            crops="-", loss="distillation", teachers=("any",), teacher_weight=2.0, similarity_weight=3.0, precision="f32"
        )
        return float(Objective(plan, 1, 8, teachers)(vectors, labels, pixels, 0).loss)

    slow = [2.0 * float(embedding_distance(vectors, one)) + 3.0 * float(similarity_distance(vectors, one)) for one in taught]
    assert loss(taught[0]) == pytest.approx(slow[0], abs=1e-5)
    assert loss(*taught) == pytest.approx(sum(slow) / 2, abs=1e-5)
    assert loss(taught[0], taught[0]) == pytest.approx(slow[0], abs=1e-5)


@pytest.mark.parametrize("loss", ["arcface", "cosface"])
def test_the_class_head_is_what_the_plan_says(loss: str) -> None:
    plan = TrainingPlan(crops="-", loss=loss, margin=0.35, scale=20.0, class_share=0.25)
    head = Objective(plan, 12, 8).head
    assert head is not None
    assert (head.kind, head.margin, head.scale, head.share) == (loss, 0.35, 20.0, 0.25)
    assert head.weight.shape == (12, 8)


@pytest.mark.parametrize("changes", [{"loss": "triplet", "miner": "distance-weighted"}, {"loss": "cosface", "class_share": 0.3}])
def test_what_is_drawn_depends_on_the_seed_and_the_step(changes) -> None:
    vectors, labels = unit(12, 4, 3), torch.arange(12) // 3
    pixels = torch.zeros(12, 4, 4, 3, dtype=torch.uint8)

    def losses(seed: int) -> list[float]:
        torch.manual_seed(0)
        objective = Objective(TrainingPlan(crops="-", margin=1.0, seed=seed, **changes), 40, 4)
        return [float(objective(vectors, labels, pixels, step).loss.detach()) for step in range(6)]

    assert losses(0) == losses(0)
    assert len({*losses(0), *losses(1)}) == 12


def test_drawn_negatives_are_weighed_by_the_length_of_the_vectors() -> None:
    """In few dimensions far negatives are drawn as well; in many, the nearest of a batch nearly always is."""
    vectors, labels = unit(12, 6, 3), torch.arange(12) // 3
    distances = squared_distances(vectors)
    is_other = labels[:, None] != labels[None, :]
    margin = 4.0  # every triplet is active: the mean loss is that of all drawn
    expected = {}
    for dim in (6, 128):
        weights = distance_weights(distances, is_other, dim)
        terms = [
            float(distances[a, p] - (weights[a] * distances[a]).sum() + margin)
            for a, p in itertools.permutations(range(12), 2)
            if not is_other[a, p]
        ]
        assert len(terms) == 24
        expected[dim] = np.mean(terms)
    objective = Objective(TrainingPlan(crops="-", miner="distance-weighted", margin=margin), 4, 6)
    pixels = torch.zeros(12, 4, 4, 3, dtype=torch.uint8)
    found = np.mean([float(objective(vectors, labels, pixels, step).loss) for step in range(300)])
    assert found == pytest.approx(expected[6], abs=0.02)
    assert abs(expected[6] - expected[128]) > 0.2


@pytest.mark.parametrize(("sampler", "n_pairs"), [("pairs", 4), ("people", 8 * 7 // 2)])
def test_contrastive_pairs_are_those_the_sampler_laid_out(sampler: str, n_pairs: int) -> None:
    objective = Objective(TrainingPlan(crops="-", loss="contrastive", sampler=sampler), 3, 8)
    labels = torch.tensor([0, 0, 1, 2, 1, 1, 0, 2])
    value = objective(unit(8, 8, 1), labels, torch.zeros(8, 4, 4, 3, dtype=torch.uint8), 0)
    assert value.own.n_terms == n_pairs


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_frozen_prelu_is_torchs_with_its_slopes_kept(dtype: torch.dtype) -> None:
    torch.manual_seed(1)
    slopes = torch.tensor([0.25, -0.3, 1.4, 0.0])
    features = torch.randn(3, 4, 5, 6).to(dtype).to(memory_format=torch.channels_last)
    gradient = torch.randn(3, 4, 5, 6).to(dtype)
    one, other = features.clone().requires_grad_(), features.clone().requires_grad_()
    quick = FrozenPReLU(slopes)(one)
    slow = nn.functional.prelu(other, slopes.to(dtype))
    quick.backward(gradient)
    slow.backward(gradient)
    tolerance = 1e-6 if dtype == torch.float32 else 0.02  # one rounding of bfloat16 is 0.4 %
    torch.testing.assert_close(quick, slow, atol=tolerance, rtol=tolerance)
    torch.testing.assert_close(one.grad, other.grad, atol=tolerance, rtol=tolerance)
    assert quick.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(features, one.detach())  # nothing was overwritten


def test_slopes_are_exchanged_throughout_and_keep_their_names() -> None:
    network = build_network(default_architecture("mobilenet", width=0.125, dim=8, has_norms=True))
    before = network.state_dict()
    network.freeze_until("block2")
    assert freeze_slopes(network) == 27
    after = network.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert not any(one.requires_grad for name, one in network.named_parameters() if "prelu" in name)


def test_norms_have_the_statistics_of_the_present_weights_for_a_while() -> None:
    network = build_network(default_architecture("mobilenet", width=0.125, dim=8, has_norms=True, layer="block3", pooling="mean"))
    network.freeze_until("stem")
    network.train()
    norms = network.trained_norms
    assert len(norms) == 6  # those of the stem are frozen
    batches = [torch.randn(4, 3, 112, 112, generator=torch.Generator().manual_seed(seed)) for seed in (1, 2)]
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    seen: list[torch.Tensor] = []
    hook = norms[0].register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0].detach()))
    with fresh_statistics(network, network, batches):
        hook.remove()
        assert len(seen) == 2
        slow = torch.stack([one.mean(dim=(0, 2, 3)) for one in seen]).mean(dim=0)
        torch.testing.assert_close(norms[0].running_mean, slow, atol=1e-5, rtol=1e-4)
        spread = torch.stack([one.transpose(0, 1).flatten(1).var(dim=1) for one in seen]).mean(dim=0)
        torch.testing.assert_close(norms[0].running_var, spread, atol=1e-5, rtol=1e-3)
        assert torch.equal(network.state_dict()["stages.stem.norm.running_mean"], before["stages.stem.norm.running_mean"])
    after = network.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert all(norm.momentum == 0.1 for norm in norms)
    assert network.training


def test_rates_rise_in_a_line_and_fall_by_the_schedule() -> None:
    assert [rate_factor(step, 100, "constant", 0.1) for step in (0, 4, 9, 10, 99)] == [0.1, 0.5, 1.0, 1.0, 1.0]
    cosine = [rate_factor(step, 100, "cosine", 0.1) for step in range(100)]
    assert max(cosine) == cosine[9] == cosine[10] == 1.0
    assert all(one >= two for one, two in itertools.pairwise(cosine[10:]))
    assert cosine[55] == pytest.approx(0.01 + 0.99 / 2)
    assert 0.01 < cosine[99] < 0.012
    assert [round(rate_factor(step, 100, "step", 0.0), 6) for step in (0, 59, 60, 84, 85, 99)] == [1, 1, 0.1, 0.1, 0.01, 0.01]
    assert rate_factor(0, 1, "cosine", 0.0) == 1.0


def test_each_stage_has_its_rate_and_only_matrices_decay() -> None:
    network = build_network(default_architecture("mobilenet", width=0.125, dim=8, has_norms=True))
    network.freeze_until("block11")
    plan = TrainingPlan(crops="-", start="x", loss="arcface", stage_decay=0.5, head_rate=7.0, weight_decay=0.1)
    optimiser = build_optimiser(network, Objective(plan, 5, 8), plan)
    set_rate(optimiser, 0.01)
    names = {id(one): name for name, one in network.named_parameters()}
    found = {
        names.get(id(one), "classes"): (group["lr"], group["weight_decay"])
        for group in optimiser.param_groups
        for one in group["params"]
    }
    assert found["fc.weight"] == (0.01, 0.1)
    assert found["fc.bias"] == (0.01, 0.0)
    assert found["stages.block13.pointwise.weight"] == (0.005, 0.1)
    assert found["stages.block12.norm1.weight"] == (0.0025, 0.0)
    assert found["classes"] == (0.07, 0.1)
    assert {name.split(".")[1] for name in found if name.startswith("stages")} == {"block12", "block13"}


def test_an_optimiser_goes_on_with_what_it_remembered() -> None:
    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(3)
        network = nn.Linear(4, 3)
        return network, torch.optim.AdamW([{"params": [network.weight]}, {"params": [network.bias]}], lr=0.1)

    def step(network: nn.Module, optimiser: torch.optim.Optimizer, seed: int) -> None:
        optimiser.zero_grad()
        network(unit(5, 4, seed)).square().sum().backward()
        optimiser.step()

    (one, whole), (other, first) = fresh(), fresh()
    for seed in (1, 2, 3):
        step(one, whole, seed)
    step(other, first, 1)
    tensors = state_tensors(first)
    assert set(tensors) == {f"{place}.{name}" for place in (0, 1) for name in ("step", "exp_avg", "exp_avg_sq")}
    again, second = fresh()
    again.load_state_dict(other.state_dict())
    restore_state(second, tensors)
    for seed in (2, 3):
        step(again, second, seed)
    assert torch.equal(one.weight, again.weight)
    assert torch.equal(one.bias, again.bias)


def test_what_is_remembered_goes_where_the_parameter_is() -> None:
    """GeM's power is a number without places: its averages belong on the GPU like any, the count of steps alone does not."""
    power = nn.Parameter(torch.tensor(3.0, device="meta"))
    optimiser = torch.optim.AdamW([power])
    restore_state(optimiser, {f"0.{name}": torch.tensor(1.0) for name in ("step", "exp_avg", "exp_avg_sq")})
    found = {name: value.device.type for name, value in optimiser.state[power].items()}
    assert found == {"step": "cpu", "exp_avg": "meta", "exp_avg_sq": "meta"}


def test_the_moving_average_follows_and_is_applied_for_a_while() -> None:
    network = nn.Linear(2, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(0.0)
    average = MovingAverage(network, 0.9)
    expected = torch.zeros(1, 2)
    for step in range(60):
        with torch.no_grad():
            network.weight.fill_(float(step % 7))
        average.update(network, step)
        decay = min(0.9, (1 + step) / (10 + step))
        expected = decay * expected + (1 - decay) * float(step % 7)
    torch.testing.assert_close(average.tensors["weight"], expected)
    now = network.weight.detach().clone()
    with average.applied(network):
        assert torch.equal(network.weight, average.tensors["weight"])
    assert torch.equal(network.weight, now)
