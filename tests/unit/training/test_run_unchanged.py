"""A run that goes on, or is exported, is the run that began: crops, people, start and checkpoint are looked at again."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from facesearch.core.errors import CheckpointFormatError, InputError, TrainingPlanError
from facesearch.embedding.architecture import default_architecture
from facesearch.embedding.embedding_network import build_network
from facesearch.embedding.weights import LICENCE_KEY, save_network
from facesearch.training.checkpoint import read_checkpoint, write_checkpoint
from facesearch.training.cleaned_list import CleanedList, RowDecision, RowFinding
from facesearch.training.crop_store import CropStore
from facesearch.training.export import export_run, licence_of
from facesearch.training.run_folder import RunFolder
from facesearch.training.session import resume, train
from tests.training_files import small_plan, write_faces


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_faces(tmp_path_factory.mktemp("faces") / "store", (3,) * 8)


def cleaned_list(faces: Path, file: Path, decision: RowDecision, to: str | None = None) -> Path:
    """Write a list that decides about the first crop: the same number of crops and people remains where it is moved."""
    store = CropStore.open(faces)
    found = RowFinding(0, store.paths[0], store.people[0], decision, "a test", to)
    CleanedList(store.digest, "fake@000000000000", {}, (found,), ()).write(file)
    return file


def test_a_run_does_not_go_on_over_other_labels(faces: Path, tmp_path: Path) -> None:
    cleaned = cleaned_list(faces, tmp_path / "cleaned.json", RowDecision.FLAGGED)
    train(small_plan(faces, cleaned=str(cleaned), steps=2), tmp_path / "run", until=1)
    cleaned_list(faces, cleaned, RowDecision.MOVED, "P05")
    with pytest.raises(TrainingPlanError, match=r"the crops trained on .*: not what run run began with"):
        resume(tmp_path / "run")
    cleaned_list(faces, cleaned, RowDecision.FLAGGED)
    assert resume(tmp_path / "run").progress.step == 2


def test_thresholds_are_not_set_on_other_people_than_were_held_out(tmp_path: Path) -> None:
    store = write_faces(tmp_path / "store", (3,) * 12)
    train(small_plan(store, steps=1, held_out=0.4), tmp_path / "run")
    store.rename(tmp_path / "before")
    write_faces(tmp_path / "store", (3,) * 13)
    with pytest.raises(TrainingPlanError, match="the crops; the crops trained on"):
        export_run(tmp_path / "run", tmp_path / "a.safetensors")


def test_other_weights_under_the_same_name_are_another_start(faces: Path, tmp_path: Path) -> None:
    file = tmp_path / "start.safetensors"
    for seed in (0, 1):
        torch.manual_seed(seed)
        save_network(build_network(default_architecture("mobilenet-v3-small", dim=16)), file)
        if seed == 0:
            train(small_plan(faces, start=str(file), backbone=None, dim=None, steps=2), tmp_path / "run", until=1)
    with pytest.raises(TrainingPlanError, match="the weights that it began with"):
        resume(tmp_path / "run")


def test_one_process_trains_in_a_folder(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=2), tmp_path / "run", until=1)
    with RunFolder(tmp_path / "run").held(), pytest.raises(InputError, match="another process trains in"):
        resume(tmp_path / "run")
    assert resume(tmp_path / "run").progress.step == 2


def test_a_run_is_gone_on_with_and_exported_from_another_folder(
    faces: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(faces.parent)
    train(small_plan(Path(faces.name), steps=2, held_out=0.4), tmp_path / "run", until=1)
    monkeypatch.chdir(tmp_path)
    assert resume(tmp_path / "run").progress.step == 2
    assert export_run(tmp_path / "run", tmp_path / "a.safetensors").card.dim == 16


def test_a_flipped_byte_of_a_checkpoint_is_found_and_the_one_before_named(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=3), tmp_path / "run", until=1)
    resume(tmp_path / "run", until=2)
    path = RunFolder(tmp_path / "run").newest_checkpoint()
    content = bytearray(path.read_bytes())
    content[-1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointFormatError, match=r"checksum .*remove it to go on from step-000000001\.safetensors"):
        resume(tmp_path / "run")
    path.unlink()
    assert resume(tmp_path / "run").progress.step == 3


def test_a_checkpoint_that_lacks_something_is_refused(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=2), tmp_path / "run", until=1)
    folder = RunFolder(tmp_path / "run")
    whole = read_checkpoint(folder.newest_checkpoint())
    without = {name: tensor for name, tensor in whole.tensors.items() if name != "network.fc.weight"}
    write_checkpoint(folder.checkpoints, replace(whole, tensors=without))
    with pytest.raises(CheckpointFormatError, match=r"(?s)step 1 is of another run.*fc\.weight"):
        resume(tmp_path / "run")


def test_more_patience_lets_a_run_go_on_that_had_ended(faces: Path, tmp_path: Path) -> None:
    plan = small_plan(faces, validation=str(faces), validate_every=0.5, patience=1, steps=6, rate=1e-12, ema=0.0)
    assert train(plan, tmp_path / "run").progress.is_over
    assert resume(tmp_path / "run").progress.step < 6
    assert resume(tmp_path / "run", changes={"patience": 0}).progress.step == 6


def test_a_plan_that_json_cannot_hold_is_refused(faces: Path) -> None:
    with pytest.raises(TrainingPlanError, match="clip lies in"):
        small_plan(faces, clip=float("inf"))


@pytest.mark.parametrize(
    ("data", "start", "licence"),
    [
        ("CC0-1.0", "", "CC0-1.0"),
        ("CC0-1.0", "Apache-2.0", "Apache-2.0"),
        ("CC0-1.0", "CC-BY-NC-4.0", "CC-BY-NC-4.0"),
        ("not stated", "Apache-2.0", "not stated"),
        ("research only", "CC-BY-NC-4.0", "research only; CC-BY-NC-4.0"),
        ("not stated", "not stated", "not stated"),
    ],
)
def test_training_frees_no_weights_of_their_terms(data: str, start: str, licence: str) -> None:
    assert licence_of(data, start) == licence


def test_what_learned_from_a_teacher_of_other_terms_says_so(faces: Path, tmp_path: Path) -> None:
    train(small_plan(faces, steps=1, held_out=0.4, data_licence="research only"), tmp_path / "teacher")
    teacher = export_run(tmp_path / "teacher", tmp_path / "teacher.safetensors")
    plan = small_plan(
        faces,
        teachers=("mobilenet-128", str(teacher.card.weights_path)),
        steps=1,
        held_out=0.4,
        data_licence="CC0-1.0",
    )
    train(plan, tmp_path / "run")
    made = export_run(tmp_path / "run", tmp_path / "mine.safetensors")
    fields = json.loads(made.card_path.read_text(encoding="utf-8"))
    assert fields["licence"] == made.card.licence == "research only"
    assert fields["training"]["teacher_licences"] == ["Apache-2.0", "research only"]


def test_a_card_has_the_terms_of_the_start_and_names_no_folder(faces: Path, tmp_path: Path) -> None:
    start = tmp_path / "start.safetensors"
    network = build_network(default_architecture("mobilenet-v3-small", dim=16))
    save_network(network, start, metadata={LICENCE_KEY: "CC-BY-NC-4.0"})
    plan = small_plan(faces, start=str(start), backbone=None, dim=None, steps=1, held_out=0.4, data_licence="CC0-1.0")
    train(plan, tmp_path / "run")
    made = export_run(tmp_path / "run", tmp_path / "mine.safetensors")
    text = made.card_path.read_text(encoding="utf-8")
    assert json.loads(text)["licence"] == made.card.licence == "CC-BY-NC-4.0"
    assert json.loads(text)["training"]["plan"]["crops"] == faces.name
    assert str(tmp_path) not in text
    assert str(faces.parent) not in text
    assert str(tmp_path).encode() not in (tmp_path / "mine.safetensors").read_bytes()
