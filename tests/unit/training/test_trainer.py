"""A run: it learns, goes on exactly where it was interrupted, keeps what is frozen, and stops in words when something is wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import torchvision

from facesearch.core.errors import (
    CheckpointFormatError,
    CheckpointNotFoundError,
    CropStoreError,
    EngineError,
    FileWriteError,
    InputError,
    TrainingDivergedError,
    TrainingPlanError,
)
from facesearch.core.face import Alignment
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import build_network
from facesearch.embedding.weights import save_network
from facesearch.training import session
from facesearch.training.checkpoint import Checkpoint, checkpoints, read_checkpoint, write_checkpoint, write_whole
from facesearch.training.crop_store import CropStore
from facesearch.training.export import export_run, load_best
from facesearch.training.run_folder import RunFolder
from facesearch.training.session import resume, train
from tests.training_files import run_twice, small_plan, write_faces

NARROW = {"backbone": "mobilenet", "width": 0.125, "layer": "block7", "pooling": "flatten"}
COUNTS = (4, 4, 4, 3, 3, 2, 2, 4)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "store", COUNTS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights to begin with: a narrow mobilenet's, with PReLUs and norms."""
    torch.manual_seed(5)
    network = build_network(default_architecture("mobilenet", width=0.125, dim=16, has_norms=True, pooling="mean"))
    path = tmp_path_factory.mktemp("weights") / "narrow.safetensors"
    save_network(network, path)
    return path


def tensors_of(run: Path) -> dict[str, torch.Tensor]:
    return dict(read_checkpoint(RunFolder(run).newest_checkpoint()).tensors)


def weights_in(path: Path) -> dict[str, torch.Tensor]:
    return safetensors.torch.load_file(path)


def assert_same_bits(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    assert len(one) > 100
    different = [name for name in one if not torch.equal(one[name], other[name])]
    assert different == []


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": "triplet", "miner": "distance-weighted", "margin": 1.0},
        {"loss": "arcface", "class_share": 0.7},
        {"loss": "contrastive", "optimiser": "sgd", "rate": 0.01},
        {"loss": "cosface", "precision": "bf16"},
    ],
    ids=["triplet", "arcface-sampled", "contrastive-sgd", "cosface-bf16"],
)
def test_a_run_that_goes_on_is_bit_for_bit_the_run_that_was_not_interrupted(faces: Path, tmp_path: Path, changes) -> None:
    plan = small_plan(faces, steps=5, augmentation="strong", **changes)
    train(plan, tmp_path / "whole")
    train(plan, tmp_path / "parts", until=2)
    torch.manual_seed(12345)  # another process' random numbers
    assert resume(tmp_path / "parts", until=4).progress.step == 4
    assert resume(tmp_path / "parts").progress.step == 5
    assert_same_bits(tensors_of(tmp_path / "whole"), tensors_of(tmp_path / "parts"))
    assert (tmp_path / "whole" / "best.safetensors").read_bytes() == (tmp_path / "parts" / "best.safetensors").read_bytes()


def test_another_seed_is_another_run(faces: Path, tmp_path: Path) -> None:
    for seed in (0, 1):
        train(small_plan(faces, steps=1, seed=seed), tmp_path / str(seed))
    one, other = (tensors_of(tmp_path / str(seed))["network.fc.weight"] for seed in (0, 1))
    assert not torch.equal(one, other)


def test_it_learns_to_tell_people_apart_and_writes_a_page(faces: Path, tmp_path: Path) -> None:
    said: list[str] = []
    plan = small_plan(
        faces, steps=30, rate=2e-3, augmentation="none", validation=str(faces), validate_every=5, miner="all", ema=0.5, **NARROW
    )
    result = train(plan, tmp_path / "run", tell=said.append)
    lines = RunFolder(tmp_path / "run").lines()
    found = [line["tar"][-1]["tar"] for line in lines if line["kind"] == "validation"]
    steps = [line for line in lines if line["kind"] == "step"]
    assert (len(found), len(steps)) == (3, 3)
    assert steps[-1]["mated_d2"] < 0.3 * steps[-1]["non_mated_d2"]
    assert result.progress.best is not None
    assert result.progress.best > 0.99
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "TAR at FMR 0.01" in page
    assert "waiting for crops" in page
    assert "<svg" in page
    assert any("people take part" in line for line in said)
    assert (
        "warning: 26 photographs of 8 people are trained on and validated on: the figures are too good; leave these people out "
        in said[2]
    )
    assert "26 photographs of 8 people" in page
    assert list((tmp_path / "run" / "tensorboard").glob("events*"))


def test_frozen_stages_and_slopes_keep_every_bit_and_the_rest_moves(faces: Path, weights: Path, tmp_path: Path) -> None:
    plan = small_plan(faces, start=str(weights), backbone=None, dim=None, freeze_until="block3", steps=2, loss="arcface", rate=0.01)
    train(plan, tmp_path / "run")
    before = weights_in(weights)
    after = weights_in(tmp_path / "run" / "best.safetensors")
    assert before.keys() == after.keys()
    frozen = [name for name in before if name.startswith(("stages.stem.", *(f"stages.block{n}." for n in (1, 2, 3))))]
    slopes = [name for name in before if "prelu" in name]
    assert len(frozen) > 30
    assert len(slopes) == 27
    for name in {*frozen, *slopes}:
        assert torch.equal(before[name], after[name]), name
    for name in ("stages.block4.depthwise.weight", "stages.block13.pointwise.weight", "fc.weight"):
        assert not torch.equal(before[name], after[name]), name


def test_a_fixed_extractor_trains_its_head_alone(faces: Path, weights: Path, tmp_path: Path) -> None:
    plan = small_plan(faces, start=str(weights), backbone=None, dim=8, freeze_until="all", steps=2, rate=0.01)
    train(plan, tmp_path / "run")
    before, after = weights_in(weights), weights_in(tmp_path / "run" / "best.safetensors")
    body = [name for name in before if name.startswith("stages.")]
    assert len(body) > 100
    assert all(torch.equal(before[name], after[name]) for name in body)
    assert after["fc.weight"].shape == (8, 128)


def test_a_run_is_told_by_what_it_learns_from(faces: Path, tmp_path: Path) -> None:
    """Curves of what is not there lie on zero: of teachers where there are none, of triplets where teachers alone are copied."""
    pages, lines = {}, {}
    for name, changes in {"triplets": {}, "teachers": {"loss": "distillation", "teachers": ("mobilenet-128",)}}.items():
        train(small_plan(faces, steps=11, people_per_batch=2, batch_size=4, **changes), tmp_path / name)
        pages[name] = (tmp_path / name / "report.html").read_text(encoding="utf-8")
        lines[name] = [line.keys() & {"distillation", "active"} for line in RunFolder(tmp_path / name).lines()]
    assert lines == {"triplets": [{"active"}] * 2, "teachers": [{"distillation"}] * 2}
    assert ("Active terms" in pages["triplets"], ">teachers<" in pages["triplets"]) == (True, False)
    assert ("Active terms" in pages["teachers"], ">teachers<" in pages["teachers"]) == (False, True)


def test_a_teacher_tells_of_one_person_too(tmp_path: Path) -> None:
    alone = write_faces(tmp_path / "alone", (6,))
    plan = small_plan(alone, loss="distillation", teachers=("mobilenet-128",), batch_size=3, steps=2)
    assert train(plan, tmp_path / "run").progress.step == 2


def test_a_teacher_is_learned_from_beside_the_labels(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, teachers=("mobilenet-128",), steps=1), tmp_path / "run")
    (line,) = [line for line in RunFolder(tmp_path / "run").lines() if line["kind"] == "step"]
    assert 1.0 < line["distillation"] < 3.0
    assert line["loss"] > line["distillation"]
    # Its vectors are longer: a linear layer lies between, and goes on with the run.
    objective = read_checkpoint(RunFolder(tmp_path / "run").newest_checkpoint()).part("objective")
    assert {name: tuple(tensor.shape) for name, tensor in objective.items()} == {"projections.0.weight": (128, 16)}


def test_two_processes_train_as_one_would(faces: Path, tmp_path: Path) -> None:
    # A loss over crops is a mean of parts, so two halves of a batch move the weights as the whole does; norms would see their half.
    torch.manual_seed(2)
    network = build_network(default_architecture("mobilenet", width=0.125, dim=16, pooling="mean"))
    for one in network.modules():
        if isinstance(one, torch.nn.PReLU):
            # Straight: where a sum in another order comes out on the other side of 0, a gradient with a kink jumps.
            torch.nn.init.ones_(one.weight)
    start = tmp_path / "start.safetensors"
    save_network(network, start)
    plan = small_plan(
        faces,
        start=str(start),
        backbone=None,
        dim=None,
        loss="cosface",
        steps=3,
        augmentation="standard",
        optimiser="sgd",
        rate=0.05,
        validation=str(write_faces(tmp_path / "others", (3,) * 44)),
        validate_every=99,
    )
    train(plan, tmp_path / "one")
    program = tmp_path / "two.py"
    program.write_text(
        "import sys, json\nfrom pathlib import Path\nfrom facesearch.training.plan import parse_plan\n"
        "from facesearch.training.crop_store import CropStore\nfrom facesearch.training.session import train\n"
        "crops = CropStore.crops\n"
        "def told(store, rows):\n"
        "    if 'others' in str(store.folder):\n"
        "        sys.stdout.write(f'embeds {rows[0]} to {rows[-1]}\\n')\n"  # at once: both processes write into one pipe
        "    return crops(store, rows)\n"
        "CropStore.crops = told\n"
        "train(parse_plan(json.loads(sys.argv[1]), where='test'), Path(sys.argv[2]), tell=print)\n",
        encoding="utf-8",
    )
    told = run_twice(program, json.dumps(plan.as_dict()), str(tmp_path / "two"))
    one, two = tensors_of(tmp_path / "one"), tensors_of(tmp_path / "two")
    assert one.keys() == two.keys()
    moved = 0
    begun = network.state_dict()
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, atol=2e-5, rtol=1e-4, msg=name)
        if name.startswith("network."):
            moved += not torch.equal(tensor, begun[name.removeprefix("network.")])
    assert moved > 40
    # The people validated on are shared out too, at the beginning and at the end, and the figures are of all of them.
    parts = sorted(line for line in told.splitlines() if line.startswith("embeds"))
    assert parts == [*["embeds 0 to 127"] * 2, *["embeds 128 to 131"] * 2]
    assert [line["n_crops"] for line in RunFolder(tmp_path / "two").lines() if line["kind"] == "validation"] == [132, 132]
    best = [weights_in(tmp_path / name / "best.safetensors") for name in ("one", "two")]
    for name, tensor in best[0].items():
        torch.testing.assert_close(best[1][name], tensor, atol=2e-5, rtol=1e-4, msg=name)
    assert [line["kind"] for line in RunFolder(tmp_path / "two").lines()].count("step") == 1  # one process writes


def test_a_batch_that_cannot_be_divided_is_refused(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = session.open_data(small_plan(faces, people_per_batch=3))
    group = session.Group(0, 2)
    with pytest.raises(InputError, match="3 groups cannot be divided among 2"):
        session._materials(small_plan(faces), data, None, None, "cpu", group, teachers=(), tell=print)
    data = session.open_data(small_plan(faces, people_per_batch=2))
    with pytest.raises(
        InputError, match="of 2 people a batch each of 2 processes would have one and nobody to tell them from: take 4"
    ):
        session._materials(small_plan(faces, people_per_batch=2), data, None, None, "cpu", group, teachers=(), tell=print)


# Bad input


def test_a_loss_that_is_no_number_stops_with_step_rate_and_the_last_good_checkpoint(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=6), tmp_path / "run", until=2)
    path = RunFolder(tmp_path / "run").newest_checkpoint()
    good = read_checkpoint(path)
    poisoned = {name: tensor.clone() for name, tensor in good.tensors.items()}
    poisoned["network.fc.weight"][0, 0] = float("nan")
    write_checkpoint(path.parent, dataclasses.replace(good, tensors=poisoned))
    with pytest.raises(
        TrainingDivergedError, match=r"the loss is nan .* at step 2, at a rate of .*step-000000002.*--rate"
    ) as caught:
        resume(tmp_path / "run")
    assert caught.value.context["step"] == 2
    assert caught.value.context["checkpoint"] == str(path)


def test_a_loss_that_is_no_number_before_any_checkpoint_says_so(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingDivergedError, match="there is no checkpoint yet"):
        train(small_plan(faces, rate=100.0, warmup=0.0, steps=9, has_norms=False, **NARROW), tmp_path / "run")


def test_a_full_disk_in_the_middle_of_a_checkpoint_keeps_the_one_before(tmp_path: Path) -> None:
    architecture = default_architecture("mobilenet-v3-small")

    def checkpoint(step: int) -> Checkpoint:
        return Checkpoint(step, architecture, {"network.a": torch.full((1000,), float(step))}, {"progress": {}})

    first = write_checkpoint(tmp_path, checkpoint(1))

    def full(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(FileWriteError, match=r"No space left on device; the last good one is .*step-000000001.*resume"):
        write_checkpoint(tmp_path, checkpoint(2), write=full)
    assert list(tmp_path.iterdir()) == [first]
    assert read_checkpoint(first).step == 1
    for step in (3, 4, 5):
        write_checkpoint(tmp_path, checkpoint(step), write=write_whole)
    assert [path.name for path in checkpoints(tmp_path)] == ["step-000000004.safetensors", "step-000000005.safetensors"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_really_full_device_is_said_too(tmp_path: Path) -> None:
    checkpoint = Checkpoint(1, default_architecture("mobilenet-v3-small"), {"network.a": torch.zeros(9)}, {})
    with pytest.raises(FileWriteError, match=f"there is none yet. Make room, remove {tmp_path}, and begin again"):
        write_checkpoint(tmp_path / "of", checkpoint, write=lambda _path, content: write_whole(Path("/dev/full"), content))


def test_a_checkpoint_of_another_architecture_is_refused(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=1), tmp_path / "run")
    path = RunFolder(tmp_path / "run").newest_checkpoint()
    with pytest.raises(CheckpointFormatError, match=r"another architecture \(.*dim: 16, not 32"):
        read_checkpoint(path, expected=default_architecture("mobilenet-v3-small", dim=32))
    with pytest.raises(CheckpointFormatError, match="another architecture"):
        train(
            small_plan(faces, start=str(tmp_path / "run" / "best.safetensors"), backbone="resnet-18", dim=None), tmp_path / "other"
        )


@pytest.mark.parametrize("damage", ["cut", "other"])
def test_a_damaged_checkpoint_is_refused(faces: Path, tmp_path: Path, damage: str) -> None:
    train(small_plan(faces, steps=1), tmp_path / "run")
    path = RunFolder(tmp_path / "run").newest_checkpoint()
    path.write_bytes(path.read_bytes()[:-100] if damage == "cut" else b"no checkpoint")
    with pytest.raises(CheckpointFormatError, match="no checkpoint of training that can be read"):
        resume(tmp_path / "run")


def test_a_gpu_that_is_absent_is_said(faces: Path, tmp_path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(EngineError, match=r"device cuda was asked for, .* finds none on this machine \(there is cpu"):
        train(small_plan(faces, device="cuda"), tmp_path / "run")
    with pytest.raises(TrainingPlanError, match="device is auto, cpu, cuda, cuda:<number> or mps, not 'tpu'"):
        small_plan(faces, device="tpu")


@pytest.mark.parametrize(
    ("counts", "changes", "told"),
    [
        ((6,), {}, "1 people"),
        ((6,), {"loss": "arcface", "batch_size": 4}, "there are 1"),
        ((1, 1, 1, 1, 1), {}, "people with one photograph: 5"),
        ((3, 3, 3, 3, 3), {"held_out": 0.2}, "comparing needs two people"),
        ((3, 3, 3, 3), {"held_out": 0.1}, "there are 0 people, .* or set held_out to 0"),
    ],
    ids=["one-person", "one-class", "single-photographs", "one-to-validate-on", "nobody-to-validate-on"],
)
def test_too_few_people_are_said_before_anything_is_trained(tmp_path: Path, counts, changes, told: str) -> None:
    store = write_faces(tmp_path / "store", counts)
    with pytest.raises(InputError, match=told):
        train(small_plan(store, **changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_damaged_crop_is_named(tmp_path: Path) -> None:
    store = write_faces(tmp_path / "store", (4, 4, 4, 4))
    part = next(store.glob("crops-*.bin"))
    content = bytearray(part.read_bytes())
    content[5 * 112 * 112 * 3 + 17] ^= 1
    part.write_bytes(bytes(content))
    with pytest.raises(CropStoreError, match=r"P01/01\.jpg .* is damaged"):
        train(small_plan(store, photographs_per_person=4), tmp_path / "run")


def test_a_damaged_crop_among_those_validated_on_is_named(faces: Path, tmp_path: Path) -> None:
    store = write_faces(tmp_path / "others", (2, 2))
    part = next(store.glob("crops-*.bin"))
    content = bytearray(part.read_bytes())
    content[3 * 112 * 112 * 3 + 17] ^= 1
    part.write_bytes(bytes(content))
    with pytest.raises(CropStoreError, match=r"P01/01\.jpg .* is damaged"):
        train(small_plan(faces, steps=1, validation=str(store), **NARROW), tmp_path / "run")


def test_a_run_is_not_written_over_and_an_absent_one_is_said(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=1), tmp_path / "run")
    with pytest.raises(InputError, match="holds a run already"):
        train(small_plan(faces, steps=1), tmp_path / "run")
    with pytest.raises(CheckpointNotFoundError, match="is no run"):
        resume(tmp_path / "nowhere")
    with pytest.raises(TrainingPlanError, match="cannot change loss"):
        resume(tmp_path / "run", changes={"loss": "arcface"})


def test_crops_of_another_alignment_are_refused(faces: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingPlanError, match=r"wants crops aligned as .*150 px.* the store's are arcface-112 \(112 px\)"):
        train(small_plan(faces, backbone="dlib-resnet-29", dim=None), tmp_path / "run")


def test_crops_of_another_alignment_are_not_validated_on(faces: Path, tmp_path: Path) -> None:
    other = write_faces(tmp_path / "wide", (2, 2), alignment=Alignment("wide-160", 160, None, 32))
    with pytest.raises(
        TrainingPlanError, match=r"store and validated on wide wants .* arcface-112 .*store's are wide-160 \(160 px\)"
    ):
        train(small_plan(faces, validation=str(other)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_says_that_it_made_a_network_worse(faces: Path, tmp_path: Path) -> None:
    """At a rate that tears a good network apart the best validation is the best of bad ones."""
    begun = tmp_path / "begun"
    how = {"augmentation": "none", "validation": str(faces), "miner": "all", **NARROW}
    train(small_plan(faces, steps=30, rate=2e-3, ema=0.5, validate_every=15, **how), begun)
    said: list[str] = []
    start = {"start": str(begun / "best.safetensors"), **dict.fromkeys(("backbone", "dim", "width", "layer", "pooling"))}
    torn = {**how, **start, "loss": "arcface", "miner": "semi-hard"}  # a loss that always pulls
    worse = small_plan(faces, steps=4, ema=0.0, optimiser="sgd", rate=100.0, clip=1e6, **torn)
    result = train(worse, tmp_path / "worse", tell=said.append)
    assert result.progress.begun is not None
    assert result.progress.best is not None
    assert result.progress.best < result.progress.begun
    assert any(line.startswith("begun with: TAR") for line in said)
    told = f"below that of the network it began with, {100 * result.progress.begun:.2f} %"
    assert told in said[-1]
    assert told in (tmp_path / "worse" / "report.html").read_text(encoding="utf-8")
    lines = RunFolder(tmp_path / "worse").lines()
    assert next(line for line in lines if line["kind"] == "validation")["step"] == 0
    said.clear()
    train(small_plan(faces, steps=1, **{**how, **start}, rate=1e-12), tmp_path / "same", tell=said.append)
    assert not any("below that" in line for line in said)
    said.clear()
    train(small_plan(faces, steps=1, **{**how, **start, "dim": 8}), tmp_path / "new-head", tell=said.append)
    assert not any("begun with" in line for line in said)  # with a head of random weights there is nothing to compare


def damage(path: Path, name: str) -> None:
    """Turn one bit of a tensor in a file, and leave its text of the checksum as it is."""
    content = bytearray(path.read_bytes())
    begin = 8 + int.from_bytes(content[:8], "little")
    offset, _ = json.loads(content[8:begin])[name]["data_offsets"]
    content[begin + offset + 2] ^= 0x40
    path.write_bytes(content)


def test_a_damaged_network_is_neither_begun_with_nor_exported(faces: Path, weights: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(weights.read_bytes())
    damage(damaged, "stages.block3.conv2.weight" if "stages.block3.conv2.weight" in weights_in(weights) else "fc.weight")
    with pytest.raises(CheckpointFormatError, match=r"damaged.safetensors is damaged: its tensors have the checksum"):
        train(small_plan(faces, start=str(damaged), backbone=None, dim=None, steps=1), tmp_path / "run")
    train(small_plan(faces, steps=1, **NARROW), tmp_path / "run")
    damage(tmp_path / "run" / "best.safetensors", "fc.weight")
    with pytest.raises(CheckpointFormatError, match="is damaged"):
        export_run(tmp_path / "run", tmp_path / "out.safetensors", calibrate=faces)
    assert not (tmp_path / "out.safetensors").exists()


def test_a_folder_called_like_an_embedder_is_not_in_its_way(faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = small_plan(faces, start="mobilenet-128", backbone=None, dim=None, freeze_until="all", steps=2)
    train(plan, Path("mobilenet-128"), until=1)
    assert resume(Path("mobilenet-128")).progress.step == 2
    with pytest.raises(TrainingPlanError, match=r"start ./mobilenet-128 is a folder"):
        train(small_plan(faces, start="./mobilenet-128", backbone=None), tmp_path / "other")


def test_a_run_has_a_folder_of_its_own(faces: Path, tmp_path: Path) -> None:
    (tmp_path / "people" / "Ada").mkdir(parents=True)
    with pytest.raises(InputError, match=r"people holds Ada and is no run: name a new or empty folder"):
        train(small_plan(faces, steps=1), tmp_path / "people")
    assert [one.name for one in (tmp_path / "people").iterdir()] == ["Ada"]
    (tmp_path / "empty").mkdir()
    train(small_plan(faces, steps=1, **NARROW), tmp_path / "empty")
    with pytest.raises(InputError, match=r"holds a run already: facesearch train resume .*empty goes on"):
        train(small_plan(faces, steps=1), tmp_path / "empty")
    for one in checkpoints(tmp_path / "empty" / "checkpoints"):
        one.unlink()
    with RunFolder(tmp_path / "empty").held(), pytest.raises(InputError, match="another process trains in"):
        train(small_plan(faces, steps=1), tmp_path / "empty")  # no run that ended, though it has no checkpoint yet
    with pytest.raises(InputError, match="ended before its first checkpoint: remove it"):
        train(small_plan(faces, steps=1), tmp_path / "empty")
    with pytest.raises(FileWriteError, match="too long"):
        train(small_plan(faces, steps=1), tmp_path / ("long" * 100))


def test_a_start_with_folded_norms_keeps_them(faces: Path, tmp_path: Path) -> None:
    """As FaceNet's frozen graph has them: with statistics of a batch the network would be lost at the first step."""
    torch.manual_seed(4)
    network = build_network(default_architecture("mobilenet", width=0.125, dim=16, has_norms=True, layer="block5", pooling="mean"))
    norms = [one for one in network.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.running_var.fill_(1.0 - norm.eps)
        torch.nn.init.normal_(norm.bias)
    save_network(network, tmp_path / "start.safetensors")
    said: list[str] = []
    plan = small_plan(faces, start=str(tmp_path / "start.safetensors"), backbone=None, dim=None, steps=2, rate=1e-12)
    train(plan, tmp_path / "run", tell=said.append)
    assert any(f"{len(norms)} batch norms are folded" in line for line in said)
    begun, ended = network.state_dict(), weights_in(tmp_path / "run" / "best.safetensors")
    for name, tensor in ended.items():
        torch.testing.assert_close(tensor, begun[name], atol=1e-6, rtol=0.0, msg=name)
    assert load_best(RunFolder(tmp_path / "run")).n_folded_norms == len(norms)


def test_torchvisions_weights_are_begun_with_and_get_a_head(faces: Path, tmp_path: Path) -> None:
    torch.manual_seed(2)
    published = torchvision.models.mobilenet_v3_small(weights=None).state_dict()
    torch.save(published, tmp_path / "published.pth")
    said: list[str] = []
    train(
        small_plan(faces, start=str(tmp_path / "published.pth"), dim=None, steps=1, freeze_until="all"),
        tmp_path / "run",
        tell=said.append,
    )
    assert "published.pth (published.pth), with a new head of random weights: stages up to top stay" in said[1]
    trained = weights_in(tmp_path / "run" / "best.safetensors")
    assert trained["fc.weight"].shape == (128, 576)
    assert torch.equal(trained["stages.stem.0.weight"], published["features.0.0.weight"])


def test_what_a_run_goes_on_with_stays_and_is_told(faces: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    train(small_plan(faces, steps=4, **NARROW), run, until=1)
    assert resume(run, changes={"rate": 1e-5, "steps": 3}, until=2).n_steps == 3
    said: list[str] = []
    assert resume(run, tell=said.append).progress.step == 3
    assert "goes on from step 2" in said
    plan, _ = RunFolder(run).read()
    assert (plan.rate, plan.steps) == (1e-5, 3)
    changes = [line for line in RunFolder(run).lines() if line["kind"] == "change"]
    assert changes == [{"kind": "change", "step": 1, "plan": {"rate": 1e-5, "steps": 3}}]
    assert "changed after step" in (run / "report.html").read_text(encoding="utf-8")
    export_run(run, tmp_path / "mine.safetensors")
    card = json.loads((tmp_path / "mine.json").read_text(encoding="utf-8"))
    assert card["training"]["plan"]["rate"] == 1e-5
    assert card["training"]["plan_changes"] == [{"step": 1, "plan": {"rate": 1e-5, "steps": 3}}]
    assert resume(run, changes={"epochs": 2}, until=3).n_steps == 4  # instead of steps: two batches an epoch
    with pytest.raises(TrainingPlanError, match="has done 3 steps, more than the 2 that it would have"):
        resume(run, changes={"steps": 2})


@pytest.mark.parametrize("miner", ["semi-hard", "hard"])
def test_one_vector_for_everybody_is_said_whatever_the_miner_finds(tmp_path: Path, miner: str) -> None:
    """Of equal vectors no negative is farther than the positive: semi-hard mining finds nothing, and nothing is active."""
    store = write_faces(tmp_path / "same", (2, 2), alike=True)
    said: list[str] = []
    plan = small_plan(store, steps=52, people_per_batch=2, miner=miner, augmentation="none", **{**NARROW, "layer": "block3"})
    train(plan, tmp_path / "run", tell=said.append)
    warnings = [line for line in said if line.startswith("warning: step 50: ")]
    assert len(warnings) == 1
    assert "collapse: for 50 steps people lay 0.0000 apart" in warnings[0]


def test_early_stop_ends_a_run_that_gets_no_better(faces: Path, tmp_path: Path) -> None:
    said: list[str] = []
    plan = small_plan(faces, steps=30, rate=1e-12, validation=str(faces), validate_every=0.5, patience=2)
    result = train(plan, tmp_path / "run", tell=said.append)
    assert result.progress.is_over
    assert result.progress.step == 3
    assert any("no better figure in 2 validations" in line for line in said)
    assert resume(tmp_path / "run").progress.step == 3


def test_people_held_out_are_not_trained_on(faces: Path) -> None:
    data = session.open_data(small_plan(faces, held_out=0.25, people_per_batch=2))
    assert data.validation is not None
    assert session.overlap_of(data) is None
    assert len(data.validation.people) == 2
    assert set(data.validation.people).isdisjoint(data.training.people)
    assert len(data.training) + len(data.validation) == sum(COUNTS)
    assert len(data.training.people) + len(data.validation.people) == len(COUNTS)


def test_the_store_itself_says_what_was_trained_on(faces: Path) -> None:
    assert len(CropStore.open(faces)) == sum(COUNTS)
    assert np.bincount(CropStore.open(faces).labels).tolist() == list(COUNTS)
