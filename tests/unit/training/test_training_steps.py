"""What a step does to the weights, what a run begins and goes on with, and what network it writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from facesearch.core.errors import TrainingDivergedError
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import EmbeddingNetwork, build_network
from facesearch.embedding.prepared import Prepared
from facesearch.embedding.weights import save_network
from facesearch.training.checkpoint import read_checkpoint
from facesearch.training.crop_store import CropStore
from facesearch.training.loader import Batch
from facesearch.training.optimiser import rate_factor
from facesearch.training.run_folder import RunFolder
from facesearch.training.session import resume, train
from facesearch.training.trainer import NORM_BATCHES, Trainer
from facesearch.training.validation import embedded, validated
from tests.training_files import materials_of, small_plan, write_faces

SMALL = {"backbone": "mobilenet", "width": 0.125, "layer": "block3", "pooling": "mean", "augmentation": "none"}
LEAST_RATE = 1e-12
"""The lowest that a plan may say: what is trained stays where it began, within ``STAYS``."""
STAYS = 1e-6


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "store", (4, 4, 4, 3, 3, 2, 2, 4))


def parameters_of(network: nn.Module) -> torch.Tensor:
    """Return all weights in a row."""
    return torch.cat([one.detach().flatten() for one in network.parameters()]).clone()


def tensors_of(run: Path) -> Mapping[str, torch.Tensor]:
    return read_checkpoint(RunFolder(run).newest_checkpoint()).tensors


def slow_statistics(network: EmbeddingNetwork, prepared: nn.Module, batches: Sequence[Batch]) -> dict[str, torch.Tensor]:
    """Return the plain means over batches of what each norm sees, by the names that a file of weights has for them."""
    seen: dict[str, list[torch.Tensor]] = {}
    for name, norm in network.named_modules():
        if isinstance(norm, nn.BatchNorm2d):
            rows = seen.setdefault(name, [])
            norm.register_forward_pre_hook(lambda _norm, inputs, rows=rows: rows.append(inputs[0].transpose(0, 1).flatten(1)))
    network.train()
    with torch.no_grad():
        for batch in batches:
            prepared(torch.from_numpy(batch.pixels))
    found = {}
    for name, rows in seen.items():
        assert len(rows) == len(batches)
        found[f"{name}.running_mean"] = torch.stack([one.mean(dim=1) for one in rows]).mean(dim=0)
        found[f"{name}.running_var"] = torch.stack([one.var(dim=1) for one in rows]).mean(dim=0)
    return found


# A step


def test_the_rate_follows_the_schedule_and_is_what_the_log_says(faces: Path, tmp_path: Path) -> None:
    plan = small_plan(faces, steps=10, rate=0.01, warmup=0.3, schedule="cosine", **SMALL)
    materials = materials_of(plan, tmp_path / "run")
    trainer = Trainer(materials)
    loader = materials.make_loader(range(0))
    rates = []
    for step in range(10):
        trainer.step(loader.make(step))
        rates.append(trainer._optimiser.param_groups[0]["lr"])
    assert rates == pytest.approx([0.01 * rate_factor(step, 10, "cosine", 0.3) for step in range(10)])
    assert len(set(rates)) > 7
    (line,) = [line for line in RunFolder(tmp_path / "run").lines() if line["kind"] == "step"]
    assert line["rate"] == pytest.approx(rates[-1])


def test_no_step_is_longer_than_the_clipped_gradient(faces: Path, tmp_path: Path) -> None:
    moved = {}
    for clip in (1e-3, 1e9):
        plan = small_plan(
            faces, miner="all", optimiser="sgd", rate=1.0, warmup=0.0, schedule="constant", weight_decay=0.0, clip=clip, **SMALL
        )
        materials = materials_of(plan, tmp_path / str(clip))
        trainer = Trainer(materials)
        before = parameters_of(trainer.network)
        trainer.step(materials.make_loader(range(0)).make(0))
        moved[clip] = float((parameters_of(trainer.network) - before).norm())
    # Nesterov's first step counts the gradient once and its momentum's 0.9 beside it.
    assert moved[1e-3] == pytest.approx(1.9e-3, rel=0.01)
    assert moved[1e9] > 10 * moved[1e-3]


def test_a_gradient_that_is_no_number_under_a_good_loss_moves_nothing(faces: Path, tmp_path: Path) -> None:
    materials = materials_of(small_plan(faces, miner="all", **SMALL), tmp_path / "run")
    trainer = Trainer(materials)
    trainer.network.fc.bias.register_hook(lambda gradient: gradient * float("nan"))
    before = parameters_of(trainer.network)
    with pytest.raises(TrainingDivergedError, match=r"the loss is \d.* \(gradient nan\) at step 0"):
        trainer.step(materials.make_loader(range(0)).make(0))
    assert torch.equal(parameters_of(trainer.network), before)
    assert trainer.progress.step == 0


@pytest.mark.parametrize(("precision", "expected"), [("bf16", torch.bfloat16), ("f32", torch.float32)])
def test_layers_run_in_the_plans_precision_and_the_loss_in_float32(
    faces: Path, tmp_path: Path, precision: str, expected: torch.dtype
) -> None:
    materials = materials_of(small_plan(faces, precision=precision, **SMALL), tmp_path / "run")
    trainer = Trainer(materials)
    layers: list[torch.dtype] = []
    vectors: list[torch.dtype] = []
    for one in trainer.network.modules():
        if isinstance(one, nn.Conv2d | nn.Linear):
            one.register_forward_hook(lambda _module, _inputs, output: layers.append(output.dtype))
    materials.objective.register_forward_pre_hook(lambda _module, inputs: vectors.append(inputs[0].dtype))
    trainer.step(materials.make_loader(range(0)).make(0))
    assert len(layers) > 5
    assert set(layers) == {expected}
    assert vectors == [torch.float32]


# What a run begins and goes on with


def test_the_class_head_of_a_run_from_known_weights_begins_with_mean_directions(faces: Path, tmp_path: Path) -> None:
    torch.manual_seed(5)
    network = build_network(default_architecture("mobilenet", width=0.125, dim=16, layer="block3", pooling="mean"))
    save_network(network, tmp_path / "start.safetensors")
    plan = small_plan(
        faces, start=str(tmp_path / "start.safetensors"), backbone=None, dim=None, loss="arcface", steps=1, rate=LEAST_RATE
    )
    train(plan, tmp_path / "run")
    found = tensors_of(tmp_path / "run")["objective.head.weight"]
    assert found.shape == (8, 16)
    store = CropStore.open(faces)
    vectors = embedded(Prepared(network, network.architecture.preparation), store, device="cpu", bf16=False)
    for person in range(len(store.people)):
        mean = np.mean([vectors[row] for row in range(len(store)) if store.labels[row] == person], axis=0)
        np.testing.assert_allclose(found[person].numpy(), mean / np.linalg.norm(mean), atol=STAYS)


def test_steps_of_collapse_before_an_interruption_count(tmp_path: Path) -> None:
    store = write_faces(tmp_path / "same", (2, 2), alike=True)
    said: list[str] = []
    plan = small_plan(store, steps=50, people_per_batch=2, **SMALL)
    train(plan, tmp_path / "run", tell=said.append, until=30)
    assert not any(line.startswith("warning:") for line in said)
    resume(tmp_path / "run", tell=said.append)
    assert [line[:18] for line in said if line.startswith("warning:")] == ["warning: step 50: "]


# What a run writes


@pytest.mark.parametrize("is_validated", [True, False])
def test_the_network_written_has_the_averaged_weights_and_statistics_under_them(
    faces: Path, tmp_path: Path, is_validated: bool
) -> None:
    changes = {"validation": str(faces)} if is_validated else {}
    plan = small_plan(faces, steps=3, rate=0.01, warmup=0.0, ema=0.9, miner="all", validate_every=99, **SMALL, **changes)
    train(plan, tmp_path / "run")
    written = safetensors.torch.load_file(tmp_path / "run" / "best.safetensors")
    tensors = tensors_of(tmp_path / "run")
    materials = materials_of(plan, tmp_path / "other")
    network = Trainer(materials).network  # laid out in memory as the run's was: the same figures to the bit
    trained = [name for name, _ in network.named_parameters()]
    assert len(trained) > 15
    assert [name for name in trained if not torch.equal(written[name], tensors[f"average.{name}"])] == []
    assert not torch.equal(written["fc.weight"], tensors["network.fc.weight"])
    network.load_state_dict(written)
    prepared = Prepared(network, network.architecture.preparation)
    if is_validated:
        (line,) = [line for line in RunFolder(tmp_path / "run").lines() if line["kind"] == "validation"]
        store = CropStore.open(faces)
        found = validated(embedded(prepared, store, device="cpu", bf16=False), store)
        assert line["tar"] == found.as_dict()["tar"]
    loader = materials.make_loader(range(0))
    statistics = slow_statistics(network, prepared, [loader.make(step) for step in range(NORM_BATCHES)])
    assert len(statistics) == 2 * 7
    for name, expected in statistics.items():
        torch.testing.assert_close(written[name], expected, atol=1e-4, rtol=1e-3, msg=name)
